package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is a lock that is held. It ends with Release or with the process.
type Lock struct {
	path string
	file *os.File
}

// Acquire takes the lock file at path, whose folder exists, without waiting.
// what says what it is a lock on, for the *LockedError that it returns when
// another process holds it. Other errors are *WriteError.
func Acquire(path, what string) (*Lock, error) {
	lock, err := acquire(path, what)
	for range 3 {
		var locked *LockedError
		if !errors.As(err, &locked) {
			break
		}
		// Held looks by taking the lock for an instant; a real holder is
		// still there after this.
		time.Sleep(20 * time.Millisecond)
		lock, err = acquire(path, what)
	}
	return lock, err
}

func acquire(path, what string) (*Lock, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, &WriteError{Path: path, Err: err}
		}
		// Go opens with O_CLOEXEC, so no child holds the lock for longer, save
		// one that was given File.
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			pid := readPID(file)
			_ = file.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, &LockedError{Path: path, What: what, PID: pid, Left: pid != 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH)}
			}
			return nil, &WriteError{Path: path, Err: fmt.Errorf("lock: %w", err)}
		}
		// Release removes the file while it holds the lock. If that happened
		// between our open and our lock, we hold a file that nobody else
		// will find: begin again.
		if !samefile(file, path) {
			_ = file.Close()
			continue
		}
		if err := writePID(file); err != nil {
			_ = file.Close()
			return nil, &WriteError{Path: path, Err: err}
		}
		return &Lock{path: path, file: file}, nil
	}
}

// Held says whether a process holds the lock file at path, and which, as far
// as it wrote it.
func Held(path string) (pid int, held bool) {
	file, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return readPID(file), true
	}
	return 0, false
}

// File is the open lock file. A program that inherits it holds the lock too,
// until it ends.
func (l *Lock) File() *os.File { return l.file }

// Release gives the lock up and removes its file.
func (l *Lock) Release() error {
	err := os.Remove(l.path)
	if closeErr := l.file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return &WriteError{Path: filepath.Clean(l.path), Err: err}
	}
	return nil
}

func samefile(file *os.File, path string) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(held, named)
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPID(file *os.File) int {
	data, err := io.ReadAll(io.NewSectionReader(file, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}

// SweepLocks removes the lock files in dir that no process holds: what a kill
// left of processes that can no longer remove them.
func SweepLocks(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the locks: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		file, err := os.Open(path)
		if err != nil {
			continue // its holder has just removed it
		}
		// As in Release, it goes while we hold it, so that whoever opened it
		// meanwhile begins again.
		if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && samefile(file, path) {
			err = os.Remove(path)
		}
		_ = file.Close()
		if err != nil {
			return &WriteError{Path: path, Err: err}
		}
	}
	return nil
}
