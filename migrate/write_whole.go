package migrate

import (
	"errors"
	"os"

	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// writeWhole writes a file of a job's folder, for its owner alone, and returns
// when its bytes are on disk; that its name is takes a flush of the folder. A crash
// leaves the file as it was, and what is half-written under one name that the next
// try takes again.
func writeWhole(path string, data []byte) error {
	part := path + ".part"
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return &journal.WriteError{Path: part, Err: err}
	}
	if _, err = file.Write(data); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return &journal.WriteError{Path: path, Err: err}
	}
	return nil
}
