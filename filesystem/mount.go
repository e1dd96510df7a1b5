package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// MountSpec is a file system to mount.
type MountSpec struct {
	Device, Dir string
	Type        Type
	// Discard passes on at once that blocks are no longer used.
	Discard bool
}

// MakeDir makes a folder to mount on, for root alone, so that nobody puts
// anything in it while nothing is mounted; one that is there has to be empty and
// no symbolic link. It returns a *DirError.
func (*Client) MakeDir(_ context.Context, dir string) error {
	err := os.Mkdir(dir, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	folder, err := openDir(dir)
	if err != nil {
		return err
	}
	return folder.Close()
}

// openDir opens an empty folder that is no symbolic link.
func openDir(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return nil, &DirError{Dir: dir, Reason: "is no folder"}
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	folder := os.NewFile(uintptr(fd), dir)
	names, err := folder.Readdirnames(1)
	if len(names) > 0 {
		_ = folder.Close() // it was only read
		return nil, &DirError{Dir: dir, Reason: fmt.Sprintf("has something in it (%s)", names[0])}
	}
	if !errors.Is(err, io.EOF) {
		_ = folder.Close() // it was only read
		return nil, err
	}
	return folder, nil
}

// RemoveDir removes an empty folder, and is content where there is none. One that
// something is mounted on, or that has something in it, is an error.
func (*Client) RemoveDir(_ context.Context, dir string) error {
	err := unix.Rmdir(dir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: dir, Err: err}
	}
	return nil
}

// Mount mounts a file system on an empty folder, without devices, set-user-id
// programs or programs at all, and lets everybody pass through its root: QEMU
// runs as another user. It returns a *DirError or a *MountError.
func (c *Client) Mount(ctx context.Context, spec MountSpec) error {
	folder, err := openDir(spec.Dir)
	if err != nil {
		return err
	}
	defer folder.Close() // it was only looked at
	data := ""
	if spec.Discard {
		data = "discard"
	}
	// The folder that was looked at, by its descriptor: its name may lead
	// elsewhere by now.
	at := fmt.Sprintf("/proc/self/fd/%d", folder.Fd())
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME
	if err := unix.Mount(spec.Device, at, string(spec.Type), flags, data); err != nil {
		return &MountError{Device: spec.Device, Dir: spec.Dir, Type: spec.Type, Err: err}
	}
	if err := openUp(spec); err != nil {
		return errors.Join(err, c.Unmount(ctx, spec.Dir, spec.Device))
	}
	return nil
}

// openUp lets everybody pass through the root of what was mounted.
func openUp(spec MountSpec) error {
	root, err := os.OpenFile(spec.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer root.Close() // it was only looked at
	var stat, device unix.Stat_t
	if err := errors.Join(unix.Fstat(int(root.Fd()), &stat), unix.Stat(spec.Device, &device)); err != nil {
		return err
	}
	if stat.Dev != device.Rdev {
		return &DirError{Dir: spec.Dir, Reason: "was replaced by another folder meanwhile"}
	}
	return root.Chmod(0o711)
}

// Mounts are the folders that the file system of a device is mounted on, oldest
// first.
func (c *Client) Mounts(_ context.Context, device string) ([]string, error) {
	number, err := numberOf(device)
	if err != nil {
		return nil, err
	}
	all, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return !number.is(m), false })
	if err != nil {
		return nil, fmt.Errorf("read what is mounted: %w", err)
	}
	var dirs []string
	for _, m := range all {
		dirs = append(dirs, m.Mountpoint)
	}
	return dirs, nil
}

// number is a block device's.
type number struct{ major, minor uint32 }

func numberOf(device string) (number, error) {
	var stat unix.Stat_t
	if err := unix.Stat(device, &stat); err != nil {
		return number{}, &fs.PathError{Op: "stat", Path: device, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return number{}, &fs.PathError{Op: "look at", Path: device, Err: errors.New("it is no block device")}
	}
	return number{unix.Major(stat.Rdev), unix.Minor(stat.Rdev)}, nil
}

func (n number) is(m *mountinfo.Info) bool {
	return m.Major == int(n.major) && m.Minor == int(n.minor)
}

// Unmount unmounts the file system of a device from a folder. Where it is not
// mounted there, or is below another that was mounted over it, nothing is done. It
// returns a *BusyError.
func (c *Client) Unmount(_ context.Context, dir, device string) error {
	number, err := numberOf(device)
	if err != nil {
		return err
	}
	// The last is on top.
	all, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != dir, false })
	if err != nil {
		return fmt.Errorf("read what is mounted: %w", err)
	}
	if len(all) == 0 || !number.is(all[len(all)-1]) {
		return nil
	}
	err = unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		return &BusyError{Dir: dir, Holders: c.holders(dir)}
	}
	if err != nil {
		return &fs.PathError{Op: "unmount", Path: dir, Err: err}
	}
	return nil
}

// Free is how many bytes the file system at dir has, and how many of them are
// free.
func (*Client) Free(_ context.Context, dir string) (size, free int64, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(stat.Blocks) * stat.Bsize, int64(stat.Bavail) * stat.Bsize, nil
}

// below says whether a path is a folder or in it.
func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
