package luks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Client makes, opens and closes LUKS volumes with cryptsetup's commands.
type Client struct {
	run command.Runner
	// sys and proc are where sysfs and procfs are mounted.
	sys, proc string
	// size is a device's size in bytes.
	size func(device string) (int64, error)
	// number is the device number of the block device at path, as "254:3".
	number func(path string) (string, bool)
	// wait lets time pass, or returns the context's error.
	wait func(ctx context.Context, d time.Duration) error
}

// New is a Client that runs cryptsetup and dmsetup through runner.
func New(runner command.Runner) *Client {
	return &Client{run: runner, sys: "/sys", proc: "/proc", size: seekEnd, number: deviceNumber, wait: sleep}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// seekEnd is the size of a device or file. The device is opened for reading
// alone: closing one that was open for writing makes udev scan it.
func seekEnd(device string) (int64, error) {
	f, err := os.Open(device)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, &NotFoundError{Kind: "device", Name: device}
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Seek(0, io.SeekEnd)
}

// DeviceSize is the size of a device in bytes. It returns a *NotFoundError
// when there is no such device.
func (c *Client) DeviceSize(ctx context.Context, device string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return c.size(device)
}

// OpenOptions are how a volume is opened (cryptsetup-open(8)).
type OpenOptions struct {
	// ReadOnly makes a mapping that can't be written.
	ReadOnly bool
	// AllowDiscards passes discards on, which shows a thief of the disk
	// which blocks are in use.
	AllowDiscards bool
	// Persistent writes the flags given here into a LUKS2 header, so that
	// every later open has them too.
	Persistent bool
	// Header is the file that the header is in, where it is not on the device.
	Header string
	// The rest tune dm-crypt (--perf-no_read_workqueue and so on).
	NoReadWorkqueue, NoWriteWorkqueue, SameCPUCrypt, SubmitFromCryptCPUs bool
}

func (o OpenOptions) args() []string {
	args := []string{"open", "--type", "luks", "--batch-mode"}
	for _, flag := range []struct {
		set  bool
		name string
	}{
		{o.ReadOnly, "--readonly"},
		{o.AllowDiscards, "--allow-discards"},
		{o.Persistent, "--persistent"},
		{o.NoReadWorkqueue, "--perf-no_read_workqueue"},
		{o.NoWriteWorkqueue, "--perf-no_write_workqueue"},
		{o.SameCPUCrypt, "--perf-same_cpu_crypt"},
		{o.SubmitFromCryptCPUs, "--perf-submit_from_crypt_cpus"},
	} {
		if flag.set {
			args = append(args, flag.name)
		}
	}
	if o.Header != "" {
		args = append(args, "--header="+o.Header)
	}
	return args
}

// Open opens the volume on device as /dev/mapper/MAPPER. It returns a
// *NameError, *WrongKeyError, *ExistsError when the name is taken, *InUseError
// when the device is (a second mapping of it would corrupt it), *NotLUKSError
// or *NotFoundError, which is of the kind "header file" where that is missing;
// there is no new mapping then.
func (c *Client) Open(ctx context.Context, device, mapper string, key Key, options OpenOptions) error {
	if err := errors.Join(ValidMapper(mapper), checkLength(key.Len())); err != nil {
		return err
	}
	if err := missingHeader(options.Header); err != nil {
		return err
	}
	_, err := c.run.Run(ctx, OpenCommand(device, mapper, key, options))
	return c.withHolders(ofHeader(recognise(err, device, mapper), options.Header))
}

// TestKey returns nil when key unlocks the volume on device, and a
// *WrongKeyError when it does not; also *NotLUKSError and *NotFoundError.
// It opens nothing, and may be used while the volume is open.
func (c *Client) TestKey(ctx context.Context, device string, key Key) error {
	if err := checkLength(key.Len()); err != nil {
		return err
	}
	_, err := c.run.Run(ctx, keyed([]string{"open", "--test-passphrase", "--type", "luks", "--batch-mode"}, key, device))
	return recognise(err, device, "")
}

// IsLUKS says whether device bears a LUKS header of either type. It returns a
// *NotFoundError when there is no such device.
func (c *Client) IsLUKS(ctx context.Context, device string) (bool, error) {
	_, err := c.run.Run(ctx, command.Cmd{Name: "cryptsetup", Args: []string{"isLuks", "--", device}, ReadOnly: true})
	if err == nil {
		return true, nil
	}
	var said *command.Error
	// It says no by exit code 1 and not a word.
	if errors.As(err, &said) && said.ExitCode == wrongParameters && said.Stderr == "" {
		return false, nil
	}
	return false, recognise(err, device, "")
}

// HeaderBackup writes the volume's header to file, which must not exist yet
// and which only its owner may read. It returns an *ExistsError, *NotLUKSError
// or *NotFoundError.
func (c *Client) HeaderBackup(ctx context.Context, device, file string) error {
	// cryptsetup refuses too, but words of its that name the file are no
	// safe ground to tell one failure from another.
	if _, err := os.Lstat(file); err == nil {
		return &ExistsError{File: file}
	}
	if _, err := c.run.Run(ctx, HeaderBackupCommand(device, file)); err != nil {
		return recognise(err, device, "")
	}
	if err := os.Chmod(file, 0o600); err != nil {
		return fmt.Errorf("keep the header backup from others: %w", err)
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// tries and firstPause bound Close: it waits 0.1, 0.2, 0.4, 0.8 and 1.6
// seconds between six tries, beside cryptsetup's own 5 seconds at each.
const (
	tries      = 6
	firstPause = 100 * time.Millisecond
)

// Close closes a mapping, and is content when there is none. Just after a
// write udev has the device open to look at it, so Close lets udev settle and
// tries again for a few seconds; it returns a *BusyError, naming who holds the
// mapping, when it is still open then. The mapping is as it was in that case.
func (c *Client) Close(ctx context.Context, mapper string) error {
	pause := firstPause
	for try := 1; ; try++ {
		mapping, err := c.Mapping(ctx, mapper)
		var missing *NotFoundError
		if errors.As(err, &missing) {
			return nil
		}
		if err != nil {
			return err
		}
		if mapping.Target != "crypt" {
			return fmt.Errorf("%q is a device-mapper device of the kind %q and no LUKS mapping, so it is not ours to close", mapper, mapping.Target)
		}
		if mapping.OpenCount == 0 {
			_, err := c.run.Run(ctx, CloseCommand(mapper))
			err = recognise(err, mapping.Device, mapper)
			var busy *BusyError
			if err == nil || errors.As(err, &missing) {
				return nil
			}
			if !errors.As(err, &busy) {
				return err
			}
		}
		if try == tries {
			return &BusyError{Mapper: mapper, Holders: c.holders(mapping.number)}
		}
		c.settle(ctx)
		if err := c.wait(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

// settle waits for udev to have handled what it was told. Where there is no
// udev, or it is stuck, the pauses of Close have to do.
func (c *Client) settle(ctx context.Context) {
	_, _ = c.run.Run(ctx, command.Cmd{Name: "udevadm", Args: []string{"settle", "--timeout=5"}, ReadOnly: true, Timeout: 10 * time.Second})
}
