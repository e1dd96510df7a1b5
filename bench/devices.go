package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// devices are what is measured on.
type devices struct {
	// source and target are block devices, or files where there are no loop
	// devices. holed is a file on the same tmpfs, nine tenths of it holes.
	source, target, holed string
	kind                  string

	size   int64
	folder string
	undo   []func(context.Context) error
}

func makeDevices(ctx context.Context, o options) (*devices, error) {
	d := &devices{size: o.size, folder: o.folder}
	if err := d.make(ctx, o); err != nil {
		return nil, errors.Join(err, d.remove(context.WithoutCancel(ctx)))
	}
	return d, nil
}

func (d *devices) make(ctx context.Context, o options) error {
	folder, err := os.MkdirTemp(o.folder, "vmmigrate-bench-")
	if err != nil {
		return err
	}
	d.folder = folder
	d.later(func(context.Context) error { return os.RemoveAll(folder) })
	if o.folder == "" {
		files := int64(3)
		if o.images {
			files = 5 // the content and its image, too
		}
		room := fmt.Sprintf("size=%d,mode=0700", files*o.size+256<<20)
		if err := unix.Mount("vmmigrate-bench", folder, "tmpfs", 0, room); err != nil {
			return fmt.Errorf("mount a tmpfs for the benchmark (it must run as root): %w", err)
		}
		d.later(func(context.Context) error { return unix.Unmount(folder, 0) })
	}
	// A LUKS2 header takes 16 MiB in front of the payload.
	extra := int64(0)
	if o.crypt {
		extra = 16 << 20
	}
	source, target := filepath.Join(folder, "source"), filepath.Join(folder, "target")
	d.holed = filepath.Join(folder, "holed")
	if err := errors.Join(fill(source, o.size, 1), fill(target, o.size+extra, 1), fill(d.holed, o.size, 10)); err != nil {
		return err
	}
	d.kind = "loop devices on tmpfs"
	if o.folder != "" {
		d.kind = "loop devices on files in " + o.folder
	}
	d.source, err = d.loop(ctx, source)
	if err == nil {
		d.target, err = d.loop(ctx, target)
	}
	if err != nil && !o.crypt && o.rate == 0 {
		fmt.Fprintln(os.Stderr, "no loop devices, using plain files:", err)
		d.source, d.target, d.kind = source, target, "plain files (there are no loop devices here)"
		return nil
	}
	if err == nil && o.crypt {
		d.kind = "dm-crypt on " + d.kind
		err = d.crypt(ctx)
	}
	if err == nil && o.rate > 0 {
		d.kind += fmt.Sprintf(", each held to %d MB/s", o.rate/1e6)
		err = d.slow(o.rate)
	}
	return err
}

// domain writes a domain with the source as its disk, for virt-clone, and
// returns the file. libvirt's test driver takes it: it needs no daemon, and
// the copying is virt-clone's own.
func (d *devices) domain() (string, error) {
	path := filepath.Join(d.folder, "domain.xml")
	xml := `<domain type='test'><name>bench</name><memory>65536</memory><os><type>hvm</type></os><devices>` +
		`<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='` + d.source + `'/><target dev='vda' bus='virtio'/></disk>` +
		`</devices></domain>`
	return path, os.WriteFile(path, []byte(xml), 0o600)
}

func (d *devices) later(undo func(context.Context) error) { d.undo = append(d.undo, undo) }

// remove takes back what was made, last first.
func (d *devices) remove(ctx context.Context) error {
	var errs []error
	for i := len(d.undo) - 1; i >= 0; i-- {
		errs = append(errs, d.undo[i](ctx))
	}
	d.undo = nil
	return errors.Join(errs...)
}

// loop puts a free loop device on file.
func (d *devices) loop(ctx context.Context, file string) (string, error) {
	r, err := command.Local{}.Run(ctx, command.Cmd{Name: "losetup", Args: []string{"--find", "--show", file}})
	if err != nil {
		return "", err
	}
	device := strings.TrimSpace(string(r.Stdout))
	d.later(func(ctx context.Context) error {
		_, err := command.Local{}.Run(ctx, command.Cmd{Name: "losetup", Args: []string{"--detach", device}})
		return err
	})
	return device, nil
}

// crypt puts dm-crypt on the target, with a key that nobody keeps.
func (d *devices) crypt(ctx context.Context) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	name := "vmmigrate-bench-" + hex.EncodeToString(key[:4])
	on := d.target
	for _, args := range [][]string{
		{
			"luksFormat", "--batch-mode", "--type", "luks2", "--key-file=-", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
			"--cipher", "aes-xts-plain64", "--key-size", "512", "--sector-size", "512", on,
		},
		{"open", "--key-file=-", on, name},
	} {
		if _, err := (command.Local{}).Run(ctx, command.Cmd{Name: "cryptsetup", Args: args, Stdin: key[4:]}); err != nil {
			return err
		}
	}
	d.target = "/dev/mapper/" + name
	d.later(func(ctx context.Context) error {
		_, err := command.Local{}.Run(ctx, command.Cmd{Name: "cryptsetup", Args: []string{"close", name}})
		return err
	})
	return nil
}

// fill makes a file of size bytes, of which every nth 256 KiB is random and
// the rest, if any, holes.
func fill(path string, size int64, nth int64) error {
	const block = 256 << 10
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	b := make([]byte, block)
	for at := int64(0); at < size && err == nil; at += nth * block {
		_, _ = rand.Read(b) // it never fails
		_, err = f.WriteAt(b[:min(block, size-at)], at)
	}
	return errors.Join(err, f.Truncate(size), f.Close())
}

// scribble fills the target with bytes that are in no source, as a fresh
// dm-crypt device is.
func (d *devices) scribble() error {
	f, err := os.OpenFile(d.target, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = 0xa5
	}
	for at := int64(0); at < d.size && err == nil; at += int64(len(b)) {
		_, err = f.WriteAt(b[:min(int64(len(b)), d.size-at)], at)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// equal compares two files up to the end of the first.
func equal(a, b string) (bool, error) {
	var files [2]*os.File
	for i, path := range []string{a, b} {
		f, err := os.Open(path)
		if err != nil {
			return false, err
		}
		defer func() { _ = f.Close() }() // only read
		files[i] = f
	}
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(files[0], x)
		if err == io.EOF {
			return true, nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return false, err
		}
		if _, err := io.ReadFull(files[1], y[:n]); err != nil {
			return false, err
		}
		if string(x[:n]) != string(y[:n]) {
			return false, nil
		}
	}
}
