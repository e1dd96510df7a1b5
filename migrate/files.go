package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FolderFacts is a folder in which files are to be made, as it was found.
type FolderFacts struct {
	// Device is the number of the file system that it is on, and Inode that of
	// its own.
	Device, Inode string
	// Free is how many bytes may still be used there.
	Free int64
	// System is the kind of file system, "" for a common one on disks.
	System string
	// Volatile is one in memory, and Network one on another host.
	Volatile, Network, ReadOnly bool
	// Shown is true where every file is to be seen by others than its owner,
	// whatever mode it is given, as on vfat that was not mounted with umask=077.
	Shown bool
	// Root is true for the file system that / is on.
	Root bool
	// Loose is true when others than root may write there.
	Loose bool
	// Has are the names that are taken.
	Has map[string]bool
	// Err is why it can't be looked at, nil if it can.
	Err error
}

// fileSystem is a kind of file system that is not one on this host's disks.
type fileSystem struct {
	name    string
	network bool
}

// fileSystems are those that statfs(2) tells by their numbers (linux/magic.h).
var fileSystems = map[int64]fileSystem{
	unix.TMPFS_MAGIC: {"tmpfs", false}, unix.RAMFS_MAGIC: {"ramfs", false},
	unix.NFS_SUPER_MAGIC: {"nfs", true}, unix.SMB_SUPER_MAGIC: {"smb", true}, unix.CIFS_SUPER_MAGIC: {"cifs", true},
	unix.SMB2_SUPER_MAGIC: {"smb2", true}, unix.CEPH_SUPER_MAGIC: {"ceph", true}, unix.AFS_SUPER_MAGIC: {"afs", true},
	unix.FUSE_SUPER_MAGIC: {"fuse", true}, unix.V9FS_MAGIC: {"9p", true},
}

var _ Files = Host{}

// Folder implements Files.
func (Host) Folder(_ context.Context, path string) (FolderFacts, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return FolderFacts{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return FolderFacts{}, errors.New("it is no folder")
	}
	var system unix.Statfs_t
	if err := unix.Statfs(path, &system); err != nil {
		return FolderFacts{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	var root unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return FolderFacts{}, &fs.PathError{Op: "stat", Path: "/", Err: err}
	}
	kind, special := fileSystems[int64(system.Type)&0xffffffff]
	folder := FolderFacts{
		Device: fmt.Sprintf("%d:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev)), Inode: fmt.Sprint(stat.Ino),
		Free: int64(system.Bavail) * system.Frsize, System: kind.name, Network: kind.network, Volatile: special && !kind.network,
		ReadOnly: system.Flags&unix.ST_RDONLY != 0, Root: root.Dev == stat.Dev,
		Shown: (system.Type == unix.MSDOS_SUPER_MAGIC || system.Type == unix.EXFAT_SUPER_MAGIC) && stat.Mode&0o077 != 0,
		Loose: stat.Uid != 0 || stat.Mode&0o022 != 0,
		Has:   make(map[string]bool),
	}
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		folder.Has[entry.Name()] = true
	}
	return folder, err
}

// Make implements Files.
func (Host) Make(_ context.Context, path string, size int64) (inode string, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, file.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err := forOwner(file); err != nil {
		return "", err
	}
	if err := unix.Fallocate(int(file.Fd()), 0, 0, size); err != nil {
		return "", &fs.PathError{Op: fmt.Sprintf("allocate %d bytes for", size), Path: path, Err: err}
	}
	if err := file.Sync(); err != nil {
		return "", err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return "", &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return fmt.Sprint(stat.Ino), syncPath(filepath.Dir(path))
}

// forOwner keeps a file from others. A umask can only have taken away. A file
// system without modes of its own, as vfat, shows what it was mounted with, and
// passes over any other without a word.
func forOwner(file *os.File) error {
	hidden := func() (bool, error) {
		info, err := file.Stat()
		return err == nil && info.Mode().Perm()&0o677 == 0o600, err
	}
	if done, err := hidden(); done || err != nil {
		return err
	}
	if err := file.Chmod(0o600); err != nil {
		return err
	}
	done, err := hidden()
	if err == nil && !done {
		err = &fs.PathError{Op: "keep from others", Path: file.Name(), Err: errors.New("its file system takes no mode; mount it with umask=077")}
	}
	return err
}

// Move implements Files.
func (Host) Move(_ context.Context, from, to string) error {
	if err := syncPath(from); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return syncPath(filepath.Dir(to))
}

// Remove implements Files.
func (Host) Remove(_ context.Context, path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}
