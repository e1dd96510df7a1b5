// Package scratch makes folders for a moment, in the folder for temporary files,
// which nobody else can enter. One whose maker was killed is swept away by the
// next.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

const prefix = "vmmigrate-scratch-"

// ours is what os.MkdirTemp makes of prefix.
var ours = regexp.MustCompile(`^` + prefix + `[0-9]+$`)

// Folder is a folder that is locked, by flock(2), for as long as its maker lives.
type Folder struct {
	// Path is absolute, and at most 100 bytes with a name of six behind it: a
	// socket's path may have 107 (unix(7)).
	Path string

	lock *os.File
}

// Make makes a folder that the caller removes.
func Make() (*Folder, error) {
	base := base()
	sweep(base)
	var failed error
	// A sweep of another process may come between the folder and its lock.
	for range 100 {
		path, err := os.MkdirTemp(base, prefix)
		if err != nil {
			return nil, fmt.Errorf("make a temporary folder: %w", err)
		}
		lock, err := hold(path)
		if err == nil {
			return &Folder{Path: path, lock: lock}, nil
		}
		failed = err
		_ = os.Remove(path) // if the sweep has not
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return nil, fmt.Errorf("lock a temporary folder in %s: %w", base, failed)
}

// Remove removes the folder and what is in it.
func (f *Folder) Remove() error {
	err := os.RemoveAll(f.Path)
	return errors.Join(err, f.lock.Close())
}

// Sweep removes the folders of processes that were killed. What it can't remove
// stays for the next one.
func Sweep() { sweep(base()) }

func base() string {
	base := os.TempDir()
	if len(base) > 70 || !filepath.IsAbs(base) {
		base = "/tmp"
	}
	return base
}

func sweep(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return // and making one will say so
	}
	for _, entry := range entries {
		if !ours.MatchString(entry.Name()) {
			continue
		}
		path := filepath.Join(base, entry.Name())
		if lock, err := hold(path); err == nil {
			_ = os.RemoveAll(path) // or the next one does
			_ = lock.Close()
		}
	}
}

// hold locks a folder of this user's own. The error is unix.EWOULDBLOCK if somebody
// holds it, os.ErrNotExist if it is gone by then, and os.ErrPermission if it is
// another's.
func hold(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	folder := os.NewFile(uintptr(fd), path)
	if err := lock(folder); err != nil {
		_ = folder.Close()
		return nil, err
	}
	return folder, nil
}

func lock(folder *os.File) error {
	var opened, named unix.Stat_t
	if err := unix.Fstat(int(folder.Fd()), &opened); err != nil {
		return err
	}
	if int64(opened.Uid) != int64(os.Geteuid()) {
		return os.ErrPermission
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if err := unix.Lstat(folder.Name(), &named); err != nil {
		return err
	}
	if named.Dev != opened.Dev || named.Ino != opened.Ino {
		return os.ErrNotExist
	}
	return nil
}
