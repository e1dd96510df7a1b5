package filesystem

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Client makes file systems and mounts them on this machine.
type Client struct {
	run command.Runner
	// proc and sys are where procfs and sysfs are mounted.
	proc, sys string
}

// New returns a Client that runs programs with run.
func New(run command.Runner) *Client { return &Client{run: run, proc: "/proc", sys: "/sys"} }

// Spec is a file system to make.
type Spec struct {
	// Device is the block device, and Size its bytes.
	Device string
	Size   int64
	Type   Type
	// UUID is the one that it is to bear.
	UUID string
}

// MakeCommand is the mkfs for a file system (mke2fs(8), mkfs.xfs(8)). All of it is
// written at once: a device of dm-crypt reads as noise where nothing was. Nothing
// is kept for root, and there is an inode for each MiB, since it is to hold a few
// large files. No block is discarded: the device is new.
func MakeCommand(spec Spec) command.Cmd {
	log := journal(spec.Type, spec.Size)
	if spec.Type == XFS {
		return command.Cmd{Name: "mkfs.xfs", Args: []string{
			"-q", "-f", "-K", "-m", "crc=1,uuid=" + spec.UUID, "-l", fmt.Sprintf("size=%d", log), "--", spec.Device,
		}}
	}
	return command.Cmd{Name: "mkfs.ext4", Args: []string{
		"-q", "-F", "-U", spec.UUID, "-b", "4096", "-m", "0", "-I", "256", "-i", "1048576", "-J", fmt.Sprintf("size=%d", log/mib),
		"-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", "--", spec.Device,
	}}
}

// Make makes a file system, over whatever lies on the device.
func (c *Client) Make(ctx context.Context, spec Spec) error {
	if !Supported(spec.Type) {
		return fmt.Errorf("there is no mkfs for the file system %q", spec.Type)
	}
	_, err := c.run.Run(ctx, MakeCommand(spec))
	return err
}

// Identity is what lies on a device.
type Identity struct {
	// Type is libblkid's word for it, and "" where nothing is known; UUID is
	// the one it bears.
	Type, UUID string
}

// Is says whether it is the file system of that kind and UUID.
func (i Identity) Is(t Type, uuid string) bool {
	return i.Type == string(t) && strings.EqualFold(i.UUID, uuid)
}

// The exit codes of blkid (blkid(8)).
const (
	blkidNothing   = 2
	blkidAmbiguous = 8
)

// Identify looks at what lies on a device, which need not be anything. The error
// is fs.ErrNotExist where there is no such device.
func (c *Client) Identify(ctx context.Context, device string) (Identity, error) {
	if _, err := numberOf(device); err != nil {
		return Identity{}, err // blkid's exit code is the same as for a blank one
	}
	// -p looks at the device itself and not into a cache.
	result, err := c.run.Run(ctx, command.Cmd{Name: "blkid", Args: []string{"-p", "-o", "export", "--", device}, ReadOnly: true})
	var failed *command.Error
	if errors.As(err, &failed) && (failed.ExitCode == blkidNothing && failed.Stderr == "" || failed.ExitCode == blkidAmbiguous) {
		return Identity{}, nil
	}
	if err != nil {
		return Identity{}, err
	}
	var found Identity
	for line := range strings.Lines(string(result.Stdout)) {
		switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); key {
		case "TYPE":
			found.Type = value
		case "UUID":
			found.UUID = value
		}
	}
	return found, nil
}
