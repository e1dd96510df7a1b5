package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// StateDirError says that the state directory, or a folder in it, is another's,
// or that others may write there: whoever can put a journal into it chooses
// what root does.
type StateDirError struct {
	// Dir is the folder, Owner its owner's number and Mode its permissions.
	Dir   string
	Owner int
	Mode  os.FileMode
	// User is the number of the user that this process runs as.
	User int
}

func (e *StateDirError) Error() string {
	if e.Owner != e.User {
		return fmt.Sprintf("the state directory %s belongs to the user %d and not to %d, who runs this", e.Dir, e.Owner, e.User)
	}
	return fmt.Sprintf("others may write into the state directory %s (mode %04o)", e.Dir, e.Mode.Perm())
}

// private returns a *StateDirError for a folder that is not this user's own. A
// group that is this process's own may write, as a umask of 002 has it.
func private(dir string) error {
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil {
		return &journal.WriteError{Path: dir, Err: err}
	}
	others := stat.Mode&0o002 != 0 || stat.Mode&0o020 != 0 && int(stat.Gid) != os.Getegid()
	if int(stat.Uid) != os.Geteuid() || others {
		return &StateDirError{Dir: dir, Owner: int(stat.Uid), Mode: os.FileMode(stat.Mode & 0o777), User: os.Geteuid()}
	}
	return nil
}

// Private returns a *StateDirError when the state directory, or a folder in it, is
// not this user's own. One that is not there yet is nobody's else.
func (s Store) Private() error {
	if there, err := exists(s.Dir); err != nil || !there {
		return err
	}
	if err := private(s.Dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := private(filepath.Join(s.Dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// madeMark is a file that lies in a state directory which prepare made: that one
// goes when all else in it has gone. One that somebody else made stays.
const madeMark = ".made-by-vmmigrate"

// makeDir makes the state directory where there is none.
func (s Store) makeDir() error {
	if err := makeFolders(filepath.Dir(s.Dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(s.Dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.Dir, madeMark), nil, 0o600)
	}
	if err == nil {
		err = syncPath(filepath.Dir(s.Dir))
	}
	if err != nil {
		return &journal.WriteError{Path: s.Dir, Err: err}
	}
	return nil
}

// makeFolders makes a folder, and those above it, where there is none, and
// returns once a power cut takes none of them away: a journal's records are
// flushed in vain where the name of a folder above them is not. The error is a
// *journal.WriteError.
func makeFolders(dir string, mode fs.FileMode) error {
	err := os.Mkdir(dir, mode)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		if err := makeFolders(filepath.Dir(dir), mode); err != nil {
			return err
		}
		err = os.Mkdir(dir, mode)
	}
	if err == nil {
		err = syncPath(filepath.Dir(dir))
	} else if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
		return nil // also where it can't be made, as on a read-only /
	}
	if err != nil {
		return &journal.WriteError{Path: dir, Err: err}
	}
	return nil
}

// removeDir removes the state directory if prepare made it and nothing but the
// mark is left in it.
func (s Store) removeDir() {
	entries, err := os.ReadDir(s.Dir)
	if err == nil && len(entries) == 1 && entries[0].Name() == madeMark && os.Remove(filepath.Join(s.Dir, madeMark)) == nil {
		_ = os.Remove(s.Dir) // not empty after all: another job has begun
	}
}
