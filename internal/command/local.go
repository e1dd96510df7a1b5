package command

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// systemFolders are searched after PATH: lvm2 and cryptsetup live there, and
// `su` without a dash leaves a PATH without them.
var systemFolders = []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"}

// packages names the Debian package of each program vmmigrate runs.
var packages = map[string]string{
	"lvm": "lvm2", "vgs": "lvm2", "lvs": "lvm2", "pvs": "lvm2", "lvcreate": "lvm2", "lvremove": "lvm2", "lvchange": "lvm2", "vgchange": "lvm2",
	"cryptsetup": "cryptsetup-bin", "dmsetup": "dmsetup", "blkid": "util-linux", "lsblk": "util-linux", "losetup": "util-linux",
	"systemctl": "systemd", "systemd-cryptenroll": "systemd", "clevis": "clevis", "clevis-luks-bind": "clevis-luks", "udevadm": "udev", "qemu-img": "qemu-utils", "qemu-nbd": "qemu-utils", "virt-install": "virtinst",
}

// Local runs programs on this machine. Its zero value is ready to use.
type Local struct{}

var _ Runner = Local{}

// grace is how long a program may take to end after its context did, before
// it is killed, unless it says otherwise: cryptsetup removes a half-made mapping
// on SIGTERM.
const grace = 5 * time.Second

// Run implements Runner.
func (Local) Run(ctx context.Context, cmd Cmd) (Result, error) {
	path, err := find(cmd.Name)
	if err != nil {
		return Result{}, err
	}
	argv := append([]string{cmd.Name}, cmd.Args...)
	if cmd.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cmd.Timeout)
		defer cancel()
	}

	c := exec.CommandContext(ctx, path, cmd.Args...)
	c.Env = append(os.Environ(), append([]string{"LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1"}, cmd.Env...)...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	c.Stdin = bytes.NewReader(cmd.Stdin)
	// A Ctrl-C on the terminal is vmmigrate's to handle: in a group of its
	// own the program does not get it half-way through an act.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = cmp.Or(cmd.Grace, grace)

	feed, closeAll, err := pipes(c, cmd.Inputs)
	if err != nil {
		return Result{}, &Error{Argv: argv, ExitCode: -1, Err: err}
	}
	defer closeAll()
	for _, content := range cmd.Files {
		file, err := memoryFile(content)
		if err != nil {
			return Result{}, &Error{Argv: argv, ExitCode: -1, Err: err}
		}
		defer file.Close()
		c.ExtraFiles = append(c.ExtraFiles, file)
	}
	if cmd.Terminal {
		// In another group than the terminal's it would be stopped.
		c.SysProcAttr, c.Stdin, c.Stderr = nil, os.Stdin, io.MultiWriter(os.Stderr, &stderr)
	}
	if file := held(ctx, cmd); file != nil {
		hold(c, cmd, file)
	}
	if err := c.Start(); err != nil {
		return Result{}, &Error{Argv: argv, ExitCode: -1, Err: err}
	}
	fed := feed()
	err = c.Wait()
	closeAll()
	fed()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		// It exited 0 and left something running that holds its output,
		// such as a daemon it started; what it said itself is here.
		err = nil
	}
	if err == nil {
		return Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}, nil
	}

	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if ctx.Err() != nil {
		code, err = -1, context.Cause(ctx)
		if errors.Is(err, context.DeadlineExceeded) && cmd.Timeout > 0 {
			err = fmt.Errorf("no answer within %s: %w", cmd.Timeout, err)
		}
	}
	said := strings.TrimSpace(string(redact(stderr.Bytes(), slices.Concat([][]byte{cmd.Stdin}, cmd.Inputs, cmd.Files))))
	return Result{Stdout: stdout.Bytes(), Stderr: []byte(said)}, &Error{Argv: argv, ExitCode: code, Stderr: said, Err: err}
}

// pipes gives c one pipe an input, from fd 3 on. feed closes the child's ends
// and starts writing; what it returns waits for the writers.
func pipes(c *exec.Cmd, inputs [][]byte) (feed func() (wait func()), closeAll func(), err error) {
	var reads, writes []*os.File
	closeAll = func() {
		for _, f := range append(reads, writes...) {
			_ = f.Close() // a second close only says so
		}
	}
	for range inputs {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		reads, writes = append(reads, r), append(writes, w)
	}
	c.ExtraFiles = reads
	feed = func() func() {
		var group sync.WaitGroup
		for i, w := range writes {
			_ = reads[i].Close()
			group.Go(func() {
				// A program may exit without reading all it was given;
				// its exit code tells whether that matters.
				_, _ = w.Write(inputs[i])
				_ = w.Close()
			})
		}
		return group.Wait
	}
	return feed, closeAll, nil
}

// memoryFile is a file without a name, to be opened anew by way of /dev/fd: that
// begins at its start each time (memfd_create(2)).
func memoryFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), "input")
	// It is made for all to read and run, which programs that take keys from a
	// file complain of.
	err = file.Chmod(0o400)
	if err == nil {
		_, err = file.WriteAt(content, 0)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// redact blots out every secret of at least four bytes that text holds; a
// shorter one is no protection, and blotting single letters would leave an
// error that nobody can read. It makes no copy of a secret.
func redact(text []byte, secrets [][]byte) []byte {
	for _, secret := range secrets {
		for _, s := range [][]byte{secret, bytes.TrimRight(secret, "\r\n")} {
			if len(s) >= 4 {
				text = bytes.ReplaceAll(text, s, []byte("[redacted]"))
			}
		}
	}
	return text
}

func find(name string) (string, error) {
	if strings.ContainsRune(name, '/') {
		if _, err := os.Stat(name); err != nil {
			return "", &NotFoundError{Name: name}
		}
		return name, nil
	}
	if path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path) {
		return path, nil
	}
	for _, folder := range systemFolders {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path, nil
		}
	}
	return "", &NotFoundError{Name: name, Package: packages[name]}
}

// Installed returns a *NotFoundError if a program is not there to be run.
func Installed(name string) error {
	_, err := find(name)
	return err
}
