package succession

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// PlainFacts are what can be told of a plain disk by looking at it.
type PlainFacts struct {
	// Resolved is the path without symbolic links, and Key the same for two
	// paths that lead to the same disk.
	Resolved, Key string
	Block         bool
	// Size is in bytes; Inode and Links are a file's number and names.
	Size         int64
	Inode, Links uint64
	// FS is a file's filesystem, Holes how many of its bytes have no blocks, and
	// Free how many more the filesystem has room for.
	FS          string
	Holes, Free int64
	// Busy says that the kernel itself uses a block device.
	Busy bool
	// Discards says that a block device takes discards, or that blocks of a file
	// can be given back to its filesystem.
	Discards bool
	// Flash says that a disk below is none that rotates, or does not say so.
	Flash bool
}

// Host looks at this machine's disks.
type Host struct{}

// Look looks at the disk at path. The error is fs.ErrNotExist where there is
// none.
func (Host) Look(ctx context.Context, path string) (PlainFacts, error) {
	seen, err := migrate.Host{}.Inspect(ctx, path)
	if err != nil {
		return PlainFacts{}, err
	}
	facts := PlainFacts{Resolved: seen.Resolved, Key: seen.ID, Block: seen.Block, Size: seen.Size, Busy: seen.Busy}
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return facts, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if facts.Block {
		facts.Discards = discards(stat.Rdev)
	} else {
		facts.Inode, facts.Links = stat.Ino, uint64(stat.Nlink)
		facts.Holes = max(0, facts.Size-stat.Blocks*512)
		var f unix.Statfs_t
		if err := unix.Statfs(path, &f); err != nil {
			return facts, &fs.PathError{Op: "statfs", Path: path, Err: err}
		}
		facts.FS, facts.Free = filesystem(f.Type), int64(f.Bavail)*f.Bsize
		facts.Discards = slices.Contains([]string{"ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "tmpfs"}, facts.FS) // fallocate(2), FALLOC_FL_PUNCH_HOLE
	}
	bottom, err := migrate.Host{}.Physical(ctx, path)
	facts.Flash = err != nil || !slices.ContainsFunc(bottom, rotates)
	return facts, nil
}

// discards reads what the kernel says of a device (sysfs,
// queue/discard_max_bytes); a partition's queue is its disk's.
func discards(device uint64) bool {
	folder, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(device), unix.Minor(device)))
	if err != nil {
		return false
	}
	if _, err := os.Stat(filepath.Join(folder, "partition")); err == nil {
		folder = filepath.Dir(folder)
	}
	most, err := os.ReadFile(filepath.Join(folder, "queue/discard_max_bytes"))
	return err == nil && strings.TrimSpace(string(most)) != "0"
}

// rotates says of a device's number that it is a disk that says it rotates. A
// virtual disk often says so and lies on anything; it is believed.
func rotates(number string) bool {
	text, err := os.ReadFile(filepath.Join("/sys/dev/block", number, "queue/rotational"))
	return err == nil && strings.TrimSpace(string(text)) == "1"
}

// filesystem names those that matter here by their number (statfs(2)).
func filesystem(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case 0x2fc12fc1:
		return "zfs"
	case 0xca451a4e:
		return "bcachefs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	}
	return "another"
}

// kind says in words what a disk is.
func (d *Retiree) describe(facts PlainFacts, segments string, thin bool) string {
	switch {
	case thin:
		return "thin logical volume"
	case d.LV != "":
		return segments + " logical volume"
	case facts.Block:
		return "block device"
	}
	return "file on " + facts.FS
}

// limits says honestly what a method can't do on a disk of that kind. Each is a
// sentence without a full stop.
func limits(method Method, kind string, facts PlainFacts) []string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	overwrites := method != Discard
	if !overwrites {
		say("a discard tells the storage that the blocks are free; whether and when it erases them is its own affair, also where they read as zeros at once")
	}
	switch {
	case facts.Flash && overwrites:
		say("the disk below is an SSD, or does not say that it rotates: it writes to other cells than those that hold the old data, which stays in the flash until the drive erases it; the drive's own secure erase reaches all of it")
	case facts.Flash:
		say("an SSD keeps old data in spare cells for a while; the drive's own secure erase reaches all of it")
	case overwrites:
		say("sectors that the drive has replaced by spare ones are out of reach, and may still hold what they held")
	}
	switch {
	case kind == "thin logical volume":
		say("the volume is thin: blocks that it had and gave back are in the pool's free space, unwiped, and the pool's snapshots of before may share them")
	case strings.HasPrefix(kind, "raid") || strings.HasPrefix(kind, "mirror"):
		say("every leg of the RAID that works is written; legs that failed, were detached or replaced keep what they had")
	case strings.HasSuffix(kind, "logical volume"):
		say("where the volume lay before a pvmove, or before it was made smaller, is not reached")
	}
	if !facts.Block {
		switch facts.FS {
		case "btrfs", "zfs", "bcachefs", "f2fs", "overlayfs":
			say("the filesystem (%s) writes copies elsewhere and does not overwrite: the old blocks are only freed, and its snapshots keep them", facts.FS)
		case "xfs":
			say("if the file was ever cloned (cp --reflink), its clones keep the old blocks")
		case "nfs":
			say("the file is on a server, whose storage, snapshots and backups are not reached")
		default:
			say("the filesystem's journal, its free space and former places of the file are not reached")
		}
	}
	say("backups, snapshots of the storage below, the host's swap and what the guest sent elsewhere are not reached")
	return words
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
