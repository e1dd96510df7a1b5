package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// SaveOptions say where header backups go.
type SaveOptions struct {
	// Out is a folder that is there, or the new file for the only disk; "" is
	// the state directory.
	Out string
	// Disk is the target of the only disk meant, or "" for all.
	Disk string
}

// OutError says that a backup can't be written to where it was sent.
type OutError struct {
	Out, Reason string
	// Disks are the targets, where one of them has to be named.
	Disks []string
}

func (e *OutError) Error() string { return fmt.Sprintf("can't write to %s: %s", e.Out, e.Reason) }

// NoDiskError says that a clone has no encrypted disk of that target.
type NoDiskError struct {
	Clone, Disk string
	// Known are the targets it has.
	Known []string
}

func (e *NoDiskError) Error() string {
	return fmt.Sprintf("%q has no encrypted disk %q: it has %s", e.Clone, e.Disk, strings.Join(e.Known, ", "))
}

// SaveHeaders backs up the LUKS headers of a clone's disks. It returns what it
// made, an *OutError, *NoDiskError, *luks.ExistsError, or why a disk's header
// can't be read. Locked or not makes no difference.
func (m *Manager) SaveHeaders(ctx context.Context, name string, options SaveOptions) ([]Backup, error) {
	clone, err := m.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := m.look(ctx, clone, true); err != nil {
		return nil, err
	}
	disks, err := clone.chosen(options.Disk)
	if err != nil {
		return nil, err
	}
	paths, err := m.backupPaths(clone, disks, options.Out)
	if err != nil {
		return nil, err
	}
	for _, disk := range disks {
		if disk.Header == nil {
			return nil, disk.Problem
		}
	}
	var made []Backup
	for i, disk := range disks {
		backup, err := m.saveHeader(ctx, clone, disk, paths[i])
		if err != nil {
			return made, err
		}
		made = append(made, backup)
	}
	return made, nil
}

// chosen are the disk of that target, or all.
func (c *Clone) chosen(target string) ([]*Disk, error) {
	var disks []*Disk
	var known []string
	for i := range c.Disks {
		known = append(known, c.Disks[i].Target)
		if target == "" || c.Disks[i].Target == target {
			disks = append(disks, &c.Disks[i])
		}
	}
	if len(disks) == 0 {
		return nil, &NoDiskError{Clone: c.Name, Disk: target, Known: known}
	}
	return disks, nil
}

// backupPaths are the files for the disks' headers.
func (m *Manager) backupPaths(clone *Clone, disks []*Disk, out string) ([]string, error) {
	dir := out
	switch info, err := os.Stat(out); {
	case out == "":
		dir = m.headersDir()
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	case err == nil && info.IsDir():
	case len(disks) > 1:
		bad := &OutError{Out: out, Reason: fmt.Sprintf("%q has %d encrypted disks, and each needs a file", clone.Name, len(disks))}
		for _, disk := range disks {
			bad.Disks = append(bad.Disks, disk.Target)
		}
		return nil, bad
	case strings.ContainsAny(filepath.Base(out), "\n\\"):
		return nil, &OutError{Out: out, Reason: "sha256sum writes such a name in a way of its own"}
	default:
		absolute, err := filepath.Abs(out)
		return []string{absolute}, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, disk := range disks {
		paths = append(paths, filepath.Join(dir, fileName(clone, disk, m.Now().UTC().Format("20060102T150405Z"))))
	}
	return paths, nil
}

// fileName is a backup's, with nothing in it that a file's name can't have.
func fileName(clone *Clone, disk *Disk, stamp string) string {
	return fmt.Sprintf("%s-%s-%s.luks-header", lvm.Sanitise(clone.Name), lvm.Sanitise(disk.Target), stamp)
}

// saveHeader writes one header to path and what it is beside it. Neither has
// its name before both are whole and on disk.
func (m *Manager) saveHeader(ctx context.Context, clone *Clone, disk *Disk, path string) (Backup, error) {
	for _, taken := range []string{path, path + beside} {
		if _, err := os.Lstat(taken); err == nil {
			return Backup{}, &luks.ExistsError{File: taken}
		}
	}
	folder, err := os.MkdirTemp(filepath.Dir(path), ".luks-header-")
	if err != nil {
		return Backup{}, &OutError{Out: path, Reason: reason(err)}
	}
	defer os.RemoveAll(folder)
	draft := filepath.Join(folder, "header")
	backup, err := m.draft(ctx, clone, disk, draft)
	if err != nil {
		return Backup{}, err
	}
	backup.File, backup.There = path, true
	if err := writeFlushed(draft+beside, backup.Text()); err != nil {
		return Backup{}, err
	}
	if err := errors.Join(publish(draft, path), publish(draft+beside, path+beside)); err != nil {
		return Backup{}, err
	}
	m.report(Event{Event: HeaderSaved, VM: clone.Name, Disk: disk.Target, Message: path})
	return backup, m.noteBackup(backup)
}

// draft has cryptsetup write the header to a file and reads that again.
func (m *Manager) draft(ctx context.Context, clone *Clone, disk *Disk, file string) (Backup, error) {
	if err := m.Encryption.HeaderBackup(ctx, disk.headerAt(), file); err != nil {
		return Backup{}, err
	}
	header, err := m.Encryption.Header(ctx, file)
	if err != nil {
		return Backup{}, fmt.Errorf("read the backup again: %w", err)
	}
	if !strings.EqualFold(header.UUID, disk.LUKS) || header.Offset != disk.Header.Offset {
		return Backup{}, fmt.Errorf("the backup of %s holds another header: %s", disk.Volume(), header.UUID)
	}
	digest, size, err := luks.DigestFile(file)
	return Backup{
		Bytes: size, SHA256: digest, Made: m.Now().UTC(), VM: clone.Name, Disk: disk.Target, Volume: disk.Volume(),
		LUKS: disk.LUKS, Type: header.Type, Offset: header.Offset, VolumeSize: disk.Below.Size,
	}, err
}

// noteBackup notes in the state directory where a backup went, so that status
// knows its age. One that lies there is its own note.
func (m *Manager) noteBackup(b Backup) error {
	dir := m.headersDir()
	if filepath.Dir(b.File) == dir || m.StateDir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	note := filepath.Join(dir, b.LUKS+"-"+b.Made.UTC().Format("20060102T150405Z")+beside)
	if err := os.Remove(note); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeFlushed(note, b.Text())
}

// reason is an error without the operation and path, which are said already.
func reason(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
