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
	"syscall"

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
	// A sweep of another process may come between the folder and its lock.
	for range 100 {
		path, err := os.MkdirTemp(base, prefix)
		if err != nil {
			return nil, fmt.Errorf("make a temporary folder: %w", err)
		}
		if lock := hold(path); lock != nil {
			return &Folder{Path: path, lock: lock}, nil
		}
	}
	return nil, fmt.Errorf("make a temporary folder: each one in %s was taken away at once", base)
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
		if lock := hold(path); lock != nil {
			_ = os.RemoveAll(path) // or the next one does
			_ = lock.Close()
		}
	}
}

// hold locks a folder of this user's own, and returns nil if it is another's,
// somebody holds it or it is gone by then.
func hold(path string) *os.File {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	folder := os.NewFile(uintptr(fd), path)
	there, err := folder.Stat()
	if err == nil {
		if stat, ok := there.Sys().(*syscall.Stat_t); !ok || int64(stat.Uid) != int64(os.Geteuid()) {
			err = os.ErrPermission
		}
	}
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}
	var now os.FileInfo
	if err == nil {
		now, err = os.Lstat(path)
	}
	if err != nil || !os.SameFile(there, now) {
		_ = folder.Close()
		return nil
	}
	return folder
}
