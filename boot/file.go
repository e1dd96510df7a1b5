package boot

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxText is more than any crypttab needs, in bytes; what is larger is taken
// for a mistake.
const maxText = 16 << 20

// readText reads a file that may be missing: nil is one that is not there.
func readText(path string) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &FileError{Path: path, Err: reason(err)}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, &FileError{Path: path, Err: reason(err)}
	}
	if !info.Mode().IsRegular() {
		return nil, &FileError{Path: path, Err: errors.New("it is no file")}
	}
	text, err := io.ReadAll(io.LimitReader(file, maxText+1))
	if err != nil {
		return nil, &FileError{Path: path, Err: reason(err)}
	}
	if len(text) > maxText {
		return nil, &FileError{Path: path, Err: errors.New("it is larger than 16 MiB")}
	}
	if text == nil {
		text = []byte{}
	}
	return text, nil
}

// pending is what the file that is to take another's place is called until
// then. One that a crash left behind is written over by the next.
const pending = ".vmmigrate-new"

// writeText replaces a file, or makes it with that mode: whoever looks sees all
// of the old one or all of the new, also after a power cut. Mode and owner stay
// as they were, and a symbolic link stays one. nil removes the file. It returns
// a *FileError.
func writeText(path string, text []byte, mode os.FileMode) error {
	path, err := target(path)
	if err == nil && text == nil {
		err = os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else if err == nil {
		err = replace(path, text, mode)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return &FileError{Path: path, Err: reason(err)}
	}
	return nil
}

// target is the file behind a path that may be a symbolic link, also to one
// that is not there yet.
func target(path string) (string, error) {
	const most = 40 // as many as the kernel follows (path_resolution(7))
	for range most {
		to, err := os.Readlink(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) {
			return path, nil
		}
		if err != nil {
			return path, err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return path, syscall.ELOOP
}

func replace(path string, text []byte, mode os.FileMode) (err error) {
	uid, gid := os.Geteuid(), os.Getegid()
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			return errors.New("it is no file")
		}
		mode = info.Mode().Perm()
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			uid, gid = int(stat.Uid), int(stat.Gid)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+pending)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(name))
		}
	}()
	_, err = io.Copy(file, bytes.NewReader(text))
	if err == nil && (uid != os.Geteuid() || gid != os.Getegid()) {
		err = file.Chown(uid, gid)
	}
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(name, path)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, unix.EINVAL) {
		err = nil // a file system that has no such thing
	}
	return errors.Join(err, folder.Close())
}

// reason is an error without the operation and path, which a *FileError says.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
