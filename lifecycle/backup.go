package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Backup is a header backup: a file that cryptsetup wrote, and what was put
// beside it of where it came from.
type Backup = luks.Backup

// BesideError says that the file beside a header backup can't be understood.
type BesideError = luks.BesideError

// beside is the suffix of the file that says what a header backup is.
const beside = luks.Beside

// headersDir is where backups go that are sent nowhere else, and where it is
// noted what became of those that are.
func (m *Manager) headersDir() string { return filepath.Join(m.StateDir, "headers") }

// newestBackup is the newest header backup of a disk that is known of: made by
// `header backup`, or by the job. It is nil if there is none.
func (m *Manager) newestBackup(clone *Clone, disk *Disk) (*Backup, error) {
	var newest *Backup
	notes, err := filepath.Glob(filepath.Join(globEscape(m.headersDir()), "*"+beside))
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		text, err := os.ReadFile(note)
		if err != nil {
			continue // gone since, or not ours to read: it is one that is not known of
		}
		b, err := luks.ParseBackup(note, text)
		if err != nil || !strings.EqualFold(b.LUKS, disk.LUKS) {
			continue
		}
		if newest == nil || b.Made.After(newest.Made) {
			newest = &b
		}
	}
	if b := m.ofJob(clone, disk); b != nil && (newest == nil || b.Made.After(newest.Made)) {
		newest = b
	}
	if newest != nil {
		_, err := os.Stat(newest.File)
		newest.There = err == nil
	}
	return newest, nil
}

// ofJob is the header backup of a disk that its job made, or nil if it is not
// known of. Its note stays in the job's folder when the backup is moved away; an
// older vmmigrate has left none.
func (m *Manager) ofJob(clone *Clone, disk *Disk) *Backup {
	base := filepath.Join(m.StateDir, "jobs", clone.Origin.Job, disk.Target)
	file := base + ".luks-header"
	for _, note := range []string{base + luks.Note, file + beside} {
		text, err := os.ReadFile(note)
		if err != nil {
			continue
		}
		if b, err := luks.ParseBackup(note, text); err == nil && strings.EqualFold(b.LUKS, disk.LUKS) {
			b.File = file // the state directory may have another name by now
			return &b
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil
	}
	return &Backup{File: file, Bytes: info.Size(), Made: info.ModTime(), VM: clone.Name, Disk: disk.Target, Volume: disk.Volume(), LUKS: disk.LUKS}
}

// globEscape quotes what filepath.Glob would take for a pattern.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// publish gives a file that is on disk its name, which has to be free.
func publish(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// A file system without it, such as NFS: link(2) does not replace
		// either.
		if err = os.Link(from, to); err == nil {
			err = os.Remove(from)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return &luks.ExistsError{File: to}
	}
	if err != nil {
		return &fs.PathError{Op: "name", Path: to, Err: err}
	}
	return syncPath(filepath.Dir(to))
}

// writeFlushed writes a new file that its owner alone may read.
func writeFlushed(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(data); err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
