package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/image"
)

// DeviceFacts is what can be told of a disk by opening it read-only.
type DeviceFacts struct {
	// Path is as it was asked for, and Resolved without symbolic links.
	Path, Resolved string
	// Block is true for a block device, false for a regular file.
	Block bool
	// Size is in bytes, and LogicalBlock the smallest unit it is addressed in.
	Size         int64
	LogicalBlock int64
	// ID is the same for two paths that lead to the same disk.
	ID string
	// ModTime is a regular file's; zero for a device.
	ModTime time.Time
	// TableEnd is how many bytes its partition table claims, 0 without one.
	TableEnd int64
	// Writes is how many sectors of 512 bytes the kernel has written to the
	// device since it came to be, or -1 for a regular file; Boot names the
	// running kernel's boot, beyond which that count means nothing.
	Writes int64
	Boot   string
	// PhysicalVolume is true when the disk as a whole is an LVM physical
	// volume, as a guest's data disk may be.
	PhysicalVolume bool
	// Claims is the image format that its first bytes claim, or "": never a
	// reason to read it as one.
	Claims image.Format
	// LUKS is true when the disk as a whole begins with a LUKS header, and
	// Encrypted when all of it lies on a mapping of dm-crypt's.
	LUKS, Encrypted bool
	// Busy is true when the kernel itself holds the device: it is mounted,
	// or lies under another mapping.
	Busy bool
	// ReadOnly is true of a device that takes no writes.
	ReadOnly bool
}

// headBytes is how much of a disk's beginning is looked at: a GPT header is in
// the second of blocks of up to 4096 bytes.
const headBytes = 8192

// Host looks at this machine's disks and names. It changes nothing.
type Host struct {
	// Images are the programs that images are looked at with.
	Images image.Tools
	// Seen keeps what disks stand on, for a command that is over before that
	// changes; nil looks each time.
	Seen *Seen
}

var _ Devices = Host{}

// Inspect implements Devices. The error is fs.ErrNotExist, or what open(2) or
// the size said.
func (h Host) Inspect(_ context.Context, path string) (DeviceFacts, error) {
	facts := DeviceFacts{Path: path, LogicalBlock: 512, Writes: -1}
	// O_NONBLOCK: a FIFO in a disk's place must not make us wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return facts, err
	}
	defer file.Close()
	// The kernel knows what it opened (proc(5), /proc/pid/fd); to follow the
	// links ourselves takes a call for each part of the path.
	resolved, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return facts, err
	}
	facts.Resolved = resolved
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return facts, &os.PathError{Op: "stat", Path: resolved, Err: err}
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		facts.Block = true
		facts.ID = blockID(unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
		size, err := blockSize(file)
		if err != nil {
			return facts, &os.PathError{Op: "ask for the size of", Path: resolved, Err: err}
		}
		facts.Size = size
		if block, err := unix.IoctlGetInt(int(file.Fd()), unix.BLKSSZGET); err == nil {
			facts.LogicalBlock = int64(block)
		}
		if ro, err := unix.IoctlGetInt(int(file.Fd()), unix.BLKROGET); err == nil {
			facts.ReadOnly = ro != 0
		}
		facts.Busy = isBusy(resolved)
		facts.Writes, facts.Boot = h.writes(stat.Rdev)
	case unix.S_IFREG:
		facts.ID = fmt.Sprintf("file %d:%d %d", unix.Major(stat.Dev), unix.Minor(stat.Dev), stat.Ino)
		facts.Size = stat.Size
		facts.ModTime = time.Unix(stat.Mtim.Unix()).UTC()
	default:
		return facts, &os.PathError{Op: "open", Path: resolved, Err: errors.New("is neither a block device nor a regular file")}
	}
	on := stat.Dev
	if facts.Block {
		on = stat.Rdev
	}
	facts.Encrypted = h.encryptedBelow(fmt.Sprintf("%d:%d", unix.Major(on), unix.Minor(on)), 0)
	// All that is looked for is in the first blocks; one read fetches them.
	head := make([]byte, headBytes)
	n, _ := file.ReadAt(head, 0) // a shorter disk has fewer of them
	begin := bytes.NewReader(head[:n])
	facts.Claims = image.Claims(head[:n])
	facts.LUKS = isLUKS(begin)
	facts.PhysicalVolume = isPhysicalVolume(begin)
	facts.TableEnd = tableEnd(begin, facts.LogicalBlock)
	return facts, nil
}

// Chain implements Devices.
func (Host) Chain(_ context.Context, path string, format image.Format) (image.Chain, error) {
	return image.Inspect(path, format)
}

// CheckImage implements Devices.
func (h Host) CheckImage(ctx context.Context, chain image.Chain) error {
	return h.Images.Check(ctx, chain)
}

// NVRAMs implements Devices.
func (Host) NVRAMs(context.Context) ([]string, error) { return filepath.Glob(nvramDir + "/*") }

// MapperNames implements Devices: the names of all device-mapper devices, as
// the kernel shows them in sysfs.
func (Host) MapperNames(context.Context) ([]string, error) {
	paths, err := filepath.Glob("/sys/class/block/dm-*/dm/name")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, path := range paths {
		name, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // it went away meanwhile
		}
		if err != nil {
			return nil, err
		}
		names = append(names, strings.TrimSuffix(string(name), "\n"))
	}
	return names, nil
}

// Exists implements Devices.
func (Host) Exists(_ context.Context, path string) (bool, error) { return exists(path) }

// writes reads a device's count of written sectors, the seventh field of its
// statistics (kernel, Documentation/block/stat.rst), and the boot's id. The
// count is -1 where the kernel keeps none.
func (h Host) writes(device uint64) (sectors int64, boot string) {
	stat, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(device), unix.Minor(device)))
	fields := strings.Fields(string(stat))
	if err != nil || len(fields) < 7 {
		return -1, ""
	}
	sectors, err = strconv.ParseInt(fields[6], 10, 64)
	if err != nil {
		return -1, ""
	}
	if boot, err = h.boot(); err != nil {
		return -1, ""
	}
	return sectors, boot
}

// isBusy tries an exclusive open, which the kernel refuses for a block device
// that it uses itself (open(2), O_EXCL).
func isBusy(path string) bool {
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_EXCL, 0)
	if err != nil {
		return errors.Is(err, syscall.EBUSY)
	}
	_ = file.Close()
	return false
}

func blockSize(file *os.File) (int64, error) {
	// Seeking to the end asks the same as BLKGETSIZE64 and needs no unsafe.
	return file.Seek(0, 2)
}
