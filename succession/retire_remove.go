package succession

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// removeDisk removes the volume or file, if it still is the one that was wiped.
// This is the one thing that vmmigrate removes without having made it.
func (r *retiring) removeDisk(ctx context.Context, disk *Retiree) error {
	if r.Keep {
		r.said = "kept"
		return nil
	}
	kind, id, _ := strings.Cut(disk.ID, " ")
	r.said = disk.Path
	if kind == "lv" {
		return r.Volumes.RemoveExactly(ctx, disk.VG, disk.LV, id, disk.Size)
	}
	facts, err := r.Plain.Look(ctx, disk.Path)
	if isMissing(err) && disk.Resolved != "" {
		facts, err = r.Plain.Look(ctx, disk.Resolved) // its link alone may be gone
	}
	switch {
	case isMissing(err): // a crash came between the act and its record
	case err != nil:
		return err
	case facts.Block || facts.Size != disk.Size || fmt.Sprint(facts.Inode) != id:
		return fmt.Errorf("%s is another file by now, and stays", disk.Path)
	default:
		// The path may be a symbolic link: what was wiped is what it leads to.
		if err := removeFile(facts.Resolved); err != nil {
			return err
		}
	}
	return removeDangling(disk.Path)
}

// removeFile removes a file, and returns when that is on disk.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// removeDangling removes a symbolic link that leads nowhere.
func removeDangling(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return err
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err // it leads to something that came since
	}
	return removeFile(path)
}

// removed says whether a disk is gone: what its path named, and what that led to.
func (r *retiring) removed(disk *Retiree) (bool, error) {
	if r.Keep {
		return false, nil
	}
	if disk.LV != "" {
		return true, nil // LVM has said so
	}
	for _, path := range []string{disk.Path, disk.Resolved} {
		if path == "" {
			continue
		}
		if there, err := exists(path); err != nil || there {
			return false, err
		}
	}
	return true, nil
}
