package planfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ExistsError says that a file is there already.
type ExistsError struct{ File string }

func (e *ExistsError) Error() string { return fmt.Sprintf("%s exists already", e.File) }

// Save writes a plan file whole or not at all, and on disk when it returns. It
// returns an *ExistsError for a file that is there, unless replace is set.
func Save(name string, text []byte, replace bool) (err error) {
	dir := filepath.Dir(name)
	temp, err := os.CreateTemp(dir, ".vmmigrate-plan-*")
	if err != nil {
		return cause(err)
	}
	defer func() { _ = os.Remove(temp.Name()) }() // gone already where it was renamed
	if _, err := temp.Write(text); err != nil {
		_ = temp.Close()
		return cause(err)
	}
	if err := errors.Join(temp.Chmod(0o644), temp.Sync(), temp.Close()); err != nil {
		return cause(err)
	}
	if replace {
		err = os.Rename(temp.Name(), name)
	} else {
		// link(2) fails where the name is taken, in the same instant in
		// which it takes it.
		err = os.Link(temp.Name(), name)
	}
	if errors.Is(err, fs.ErrExist) {
		return &ExistsError{name}
	}
	if err != nil {
		return cause(err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		return cause(err)
	}
	defer folder.Close()
	return folder.Sync()
}

// cause is an error without the name of the temporary file.
func cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
