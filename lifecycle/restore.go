package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Restore is a header about to be restored: both sides, for a person to see.
type Restore struct {
	Clone, Disk, Volume string
	// HeaderFile is the file that the header is in, or "" where it is on the volume.
	HeaderFile string
	// Live is the volume's header now, nil if it is damaged or gone.
	Live *luks.Header
	// File is the backup, Backup its header and Made what is known of it
	// besides, nil if nothing is.
	File   string
	Backup luks.Header
	Made   *Backup
	// Same is whether both are byte for byte the same: nothing is to be done.
	Same bool
}

// RestoreHeader overwrites the header of one of a clone's disks with a backup;
// which disk the backup says itself. confirm is shown both before anything is
// written, and an error of its ends it. What was there is kept in the state
// directory first; its path is returned, "" where nothing had to be done.
//
// It returns a *BackupError for a file that is damaged, a *ForeignError for
// one that does not fit, and a *VolumeError where the volume is not found. The
// volume may be open: its payload is not touched.
func (m *Manager) RestoreHeader(ctx context.Context, name, file string, confirm func(Restore) error) (kept string, err error) {
	clone, err := m.Find(ctx, name)
	if err != nil {
		return "", err
	}
	if err := m.look(ctx, clone, true); err != nil {
		return "", err
	}
	header, said, err := m.readBackup(ctx, file)
	if err != nil {
		return "", err
	}
	disk, err := clone.diskOf(file, header)
	if err != nil {
		return "", err
	}
	restore, err := m.restorable(ctx, clone, disk, file, header, said)
	if err != nil {
		return "", err
	}
	if restore.Same {
		m.report(Event{Event: Unchanged, VM: clone.Name, Disk: disk.Target, Message: "its header is byte for byte that of the backup"})
		return "", nil
	}
	if err := confirm(restore); err != nil {
		return "", err
	}
	if kept, err = m.keepHeader(ctx, clone, disk, file); err != nil {
		return "", fmt.Errorf("keep the present header, before anything is overwritten: %w", err)
	}
	if err := m.writeHeader(ctx, disk, file); err != nil {
		return kept, &RestoreError{Clone: clone.Name, Disk: disk.Target, Kept: kept, Err: err}
	}
	same, _, err := m.compare(ctx, disk, file)
	if err == nil && !same {
		err = errors.New("what was read back is not what was written")
	}
	if err != nil {
		return kept, &RestoreError{Clone: clone.Name, Disk: disk.Target, Kept: kept, Err: err}
	}
	m.report(Event{Event: HeaderRestored, VM: clone.Name, Disk: disk.Target, Message: disk.Volume() + " from " + file})
	m.tryBootKey(ctx, clone, []KeySlot{{Disk: disk.Target}}) // the keys are those of the backup's time
	return kept, nil
}

// RestoreError says that restoring a header failed once it had begun.
type RestoreError struct {
	Clone, Disk string
	// Kept is where what was there before is.
	Kept string
	Err  error
}

func (e *RestoreError) Error() string {
	return fmt.Sprintf("restore the header of disk %s of %q: %v", e.Disk, e.Clone, e.Err)
}

// Unwrap returns the cause.
func (e *RestoreError) Unwrap() error { return e.Err }

// restorable judges whether a backup may overwrite the disk's header.
func (m *Manager) restorable(ctx context.Context, clone *Clone, disk *Disk, file string, header luks.Header, said *Backup) (Restore, error) {
	restore := Restore{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), HeaderFile: disk.HeaderFile, Live: disk.Header, File: file, Backup: header, Made: said}
	var lost *HeaderLostError
	if disk.Header == nil && !errors.As(disk.Problem, &lost) && !disk.Found() {
		return restore, disk.Problem
	}
	var foreign *HeaderFileError
	if errors.As(disk.headerProblem, &foreign) {
		return restore, foreign // not ours to overwrite
	}
	unfit := func(format string, args ...any) (Restore, error) {
		return restore, &ForeignError{Clone: clone.Name, File: file, UUID: header.UUID, Reason: fmt.Sprintf(format, args...)}
	}
	switch live := disk.Header; {
	case live != nil && live.Type != header.Type:
		return unfit("it is a %s header and the volume is %s", header.Type, live.Type)
	case live != nil && live.KeySize != header.KeySize:
		return unfit("its volume key has %d bits and the volume's %d", header.KeySize, live.KeySize)
	case live != nil && live.Offset != header.Offset:
		return unfit("its payload begins at byte %d and the volume's at %d", header.Offset, live.Offset)
	case disk.Mapping != nil && disk.Mapping.Offset != header.Offset:
		return unfit("its payload begins at byte %d, and the volume is open with one that begins at %d", header.Offset, disk.Mapping.Offset)
	case said != nil && said.VolumeSize != disk.Below.Size:
		return unfit("it was made of a volume of %d bytes and %s has %d", said.VolumeSize, disk.Volume(), disk.Below.Size)
	case header.Offset >= disk.Below.Size:
		return unfit("its payload begins at byte %d, behind the end of %s", header.Offset, disk.Volume())
	}
	if disk.Header != nil {
		var err error
		restore.Same, _, err = m.compare(ctx, disk, file)
		return restore, err
	}
	return restore, nil
}

// keepHeader keeps what is about to be overwritten: as a header backup where
// it is a header, so that it can be restored in turn, or else as bytes.
func (m *Manager) keepHeader(ctx context.Context, clone *Clone, disk *Disk, file string) (string, error) {
	if err := os.MkdirAll(m.headersDir(), 0o700); err != nil {
		return "", err
	}
	stamp := m.Now().UTC().Format("20060102T150405.000000000Z") + "-before-restore"
	path := filepath.Join(m.headersDir(), fileName(clone, disk, stamp))
	if disk.Header != nil {
		backup, err := m.saveHeader(ctx, clone, disk, path)
		return backup.File, err
	}
	at, size, err := disk.damaged(file)
	if err != nil || at == "" {
		return "", err
	}
	path += ".raw"
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	if err = m.Devices.Read(ctx, at, size, out); err == nil {
		err = out.Sync()
	}
	return path, errors.Join(err, out.Close(), syncPath(filepath.Dir(path)))
}

// damaged is what a restore overwrites where that is no header, and how much of
// it: as much as the backup has, or all of a header's own file. That may not be
// there, and the path is "" then.
func (d *Disk) damaged(backup string) (path string, size int64, err error) {
	path = d.Below.Path
	if d.HeaderFile != "" {
		path, backup = d.HeaderFile, d.HeaderFile
	}
	info, err := os.Stat(backup)
	if errors.Is(err, os.ErrNotExist) && d.HeaderFile != "" {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	return path, info.Size(), nil
}

// writeHeader puts the header of a backup in its place: onto the volume, or into
// its file. That is replaced as a whole, for half a header is none: a backup is
// byte for byte what such a file holds.
func (m *Manager) writeHeader(ctx context.Context, disk *Disk, backup string) error {
	if disk.HeaderFile == "" {
		return m.Encryption.HeaderRestore(ctx, disk.Below.Path, backup)
	}
	to := disk.HeaderFile
	resolved, err := filepath.EvalSymlinks(to)
	gone := errors.Is(err, os.ErrNotExist)
	if err != nil && !gone {
		return err
	}
	if !gone {
		to = resolved
	}
	data, err := os.ReadFile(backup)
	if err != nil {
		return err
	}
	part := filepath.Join(filepath.Dir(to), ".vmmigrate-"+disk.LUKS+".part")
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // what was cut short
	}
	if err := writeFlushed(part, data); err != nil {
		return err
	}
	if info, err := os.Stat(part); err == nil && info.Mode().Perm()&0o077 != 0 {
		// To have it is worth more than to have it hidden.
		m.report(Event{Event: Warning, Disk: disk.Target, Message: to + " can be read by others: its file system takes no mode; mount it with umask=077"})
	}
	if gone {
		return publish(part, to)
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return syncPath(filepath.Dir(to))
}

// Read implements Devices.
func (Host) Read(ctx context.Context, path string, bytes int64, to io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err = io.CopyN(to, file, bytes)
	return err
}
