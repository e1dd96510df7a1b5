package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// firmware gives the clone copies of its own of the UEFI variables and the
// TPM's state.
type firmware struct{}

var _ Step = firmware{}

func (firmware) Name() StepName { return Firmware }

// Check goes by the record: a half-written copy looks like a whole one.
func (firmware) Check(_ context.Context, job *Job, _ *DiskPlan) (Standing, error) {
	if !job.isDone(stepKey{step: Firmware}) {
		return Absent, nil
	}
	for _, file := range job.Plan.Firmware.Files {
		there, err := exists(file.To)
		if err != nil || !there {
			return Absent, err
		}
	}
	return Present, nil
}

func (f firmware) Do(ctx context.Context, job *Job, _ *DiskPlan, _ Standing) error {
	if len(job.Plan.Firmware.Files) == 0 {
		return nil
	}
	for _, file := range job.Plan.Firmware.Files {
		if err := f.refuseForeign(job, file); err != nil {
			return err
		}
	}
	// The note comes before the first copy and after the last look, so that
	// what stands there from now on is known to be the job's.
	if err := job.note(Firmware, nil, job.Plan.Firmware.Files); err != nil {
		return err
	}
	for _, file := range job.Plan.Firmware.Files {
		if err := removeState(file.To); err != nil {
			return err
		}
		if err := copyState(ctx, file.From, file.To); err != nil {
			return fmt.Errorf("copy the %s: %w", file.What, err)
		}
	}
	return nil
}

// refuseForeign refuses to replace what was there before the job came here.
func (firmware) refuseForeign(job *Job, file FirmwareFile) error {
	if _, noted := job.notes[stepKey{step: Firmware}]; noted {
		return nil
	}
	there, err := exists(file.To)
	if err != nil || !there {
		return err
	}
	return &ConflictError{What: fmt.Sprintf("the %s %s", file.What, file.To), Reason: "it was there before"}
}

// Undo removes the copies, if the job came to make them.
func (firmware) Undo(_ context.Context, job *Job, _ *DiskPlan) error {
	if _, noted := job.notes[stepKey{step: Firmware}]; !noted {
		return nil
	}
	var errs []error
	for _, file := range job.Plan.Firmware.Files {
		errs = append(errs, removeState(file.To))
	}
	return errors.Join(errs...)
}

func removeState(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove firmware state: %w", err)
	}
	return nil
}

// copyState copies a file, or a folder of files, with owners and modes, and
// returns when it is on disk. Anything but files and folders is refused.
func copyState(ctx context.Context, from, to string) error {
	type folder struct {
		path string
		info fs.FileInfo
	}
	var folders []folder
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		switch {
		case info.IsDir():
			folders = append(folders, folder{target, info})
			return os.Mkdir(target, 0o700)
		case info.Mode().IsRegular():
			if err := copyFile(path, target); err != nil {
				return err
			}
		case info.Mode()&fs.ModeSocket != 0:
			return nil // a socket that swtpm left; it makes its own
		default:
			return &fs.PathError{Op: "copy", Path: path, Err: errors.New("is neither a file nor a folder")}
		}
		return likeOriginal(target, info)
	})
	if err != nil {
		return err
	}
	// A folder comes after what is in it: its mode may forbid to write there,
	// and it is flushed with all its names.
	for _, made := range slices.Backward(folders) {
		if err := likeOriginal(made.path, made.info); err != nil {
			return err
		}
	}
	return syncPath(filepath.Dir(to))
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(target, source); err == nil {
		err = target.Sync()
	}
	if closeErr := target.Close(); err == nil {
		err = closeErr
	}
	return err
}

// likeOriginal gives target the owner and mode of the original, owner first:
// chown(2) clears the set-id bits.
func likeOriginal(target string, info fs.FileInfo) error {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(target, int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	if err := os.Chmod(target, info.Mode().Perm()); err != nil {
		return err
	}
	return syncPath(target)
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	err = file.Sync()
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}
