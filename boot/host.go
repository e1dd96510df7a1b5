package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Host is this machine.
type Host struct {
	// Run runs systemctl.
	Run command.Runner
	// Root is what all paths are below; "" is the machine's own.
	Root string
	// Sys is where sysfs is mounted, below Root too; "" is /sys.
	Sys string
}

// Crypttab is the path of the crypttab.
const Crypttab = "/etc/crypttab"

// unitFolders are where units may lie, the first of a name taking precedence,
// and written is the one that we write to (systemd.unit(5), "Unit File Load
// Path").
var unitFolders = []string{written, "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

const (
	written    = "/etc/systemd/system"
	dropInName = "vmmigrate.conf"
)

func (h *Host) path(parts ...string) string {
	return filepath.Join(append([]string{h.Root}, parts...)...)
}

// Ready returns a *NotBootedError, *NoUnitError or *command.NotFoundError when
// guests can't be unlocked in that way, or not started, by this host's systemd.
func (h *Host) Ready(method Method) error {
	if !h.booted() {
		return &NotBootedError{}
	}
	if !h.exists(unitFolders, Template) {
		return &NoUnitError{Unit: Template, Folders: unitFolders}
	}
	// Debian 12 has it in the package systemd; later it is one of its own.
	if !h.exists([]string{"/usr/lib/systemd", "/lib/systemd", "/usr/bin"}, "systemd-cryptsetup") {
		return &command.NotFoundError{Name: "systemd-cryptsetup", Package: "systemd-cryptsetup"}
	}
	if method != Tang {
		return nil
	}
	if !h.exists(unitFolders, clevisUnit) {
		return &command.NotFoundError{Name: clevisUnit, Package: "clevis-systemd"}
	}
	return nil
}

// booted is how sd_booted(3) says it.
func (h *Host) booted() bool {
	_, err := os.Stat(h.path("/run/systemd/system"))
	return err == nil
}

func (h *Host) exists(folders []string, name string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		_, err := os.Stat(h.path(folder, name))
		return err == nil
	})
}

// Lock keeps other vmmigrates from changing the same files until unlock is
// called. It waits for them.
func (h *Host) Lock(ctx context.Context) (unlock func(), err error) {
	folder, err := os.Open(h.path("/etc"))
	if err != nil {
		return nil, &FileError{Path: "/etc", Err: reason(err)}
	}
	for {
		err = unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = folder.Close() }, nil // which unlocks it
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = folder.Close()
			return nil, &FileError{Path: "/etc", Err: err}
		}
		select {
		case <-ctx.Done():
			_ = folder.Close()
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Records are what is set up on this host. A drop-in that can't be read is a
// *RecordError, beside the records that can.
func (h *Host) Records() ([]Record, error) {
	folders, err := os.ReadDir(h.path(written))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &FileError{Path: written, Err: reason(err)}
	}
	var all []Record
	var errs []error
	for _, folder := range folders {
		if !strings.HasPrefix(folder.Name(), guestPrefix) || !strings.HasSuffix(folder.Name(), service+".d") {
			continue
		}
		path := h.path(written, folder.Name(), dropInName)
		text, err := readText(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if text == nil {
			continue // a person's own drop-in for it
		}
		record, err := parseDropIn(path, text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, record)
	}
	return all, errors.Join(errs...)
}

// Save writes the record of a guest, and what ties its unit to those of its
// disks. It returns a *FileError.
func (h *Host) Save(r Record) error {
	text, err := r.dropIn()
	if err != nil {
		return err
	}
	return h.writeDropIn(r.Unit(), text)
}

// Forget removes what Save wrote.
func (h *Host) Forget(r Record) error { return h.writeDropIn(r.Unit(), nil) }

// lingers is where what is said of a unit holds until the next boot.
const lingers = "/run/systemd/system"

// Linger has a guest's unit that is active still stop its guest at shutdown,
// once its record is forgotten, until the next boot.
func (h *Host) Linger(r Record) error {
	folder := h.path(lingers, r.Unit()+".d")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return &FileError{Path: folder, Err: reason(err)}
	}
	return writeText(filepath.Join(folder, dropInName), append([]byte("# Written by `vmmigrate autostart disable`, for the guest runs on until the next boot.\n[Service]\n"), r.environment()...), 0o644)
}

// Order has a disk's mapping closed once nothing needs it, and before LVM goes
// down.
func (h *Host) Order(mapper string) error { return h.writeDropIn(CryptUnit(mapper), order) }

// Unorder removes what Order wrote.
func (h *Host) Unorder(mapper string) error { return h.writeDropIn(CryptUnit(mapper), nil) }

// Ordered says whether Order has been called for a mapping.
func (h *Host) Ordered(mapper string) bool {
	text, err := readText(h.path(written, CryptUnit(mapper)+".d", dropInName))
	return err == nil && bytes.Equal(text, order)
}

// writeDropIn writes a unit's drop-in, or removes it, and its folder with it
// unless that holds others'.
func (h *Host) writeDropIn(unit string, text []byte) error {
	folder := h.path(written, unit+".d")
	path := filepath.Join(folder, dropInName)
	if text != nil {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return &FileError{Path: folder, Err: reason(err)}
		}
		return writeText(path, text, 0o644)
	}
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := writeText(path, nil, 0); err != nil {
		return err
	}
	left := filepath.Join(folder, "."+dropInName+pending)
	if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &FileError{Path: left, Err: reason(err)}
	}
	if err := os.Remove(folder); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return &FileError{Path: folder, Err: reason(err)}
	}
	return syncFolder(h.path(written))
}

// ReadCrypttab is the crypttab's text, nil where there is none. It returns a
// *FileError.
func (h *Host) ReadCrypttab() ([]byte, error) { return readText(h.path(Crypttab)) }

// EditCrypttab replaces the crypttab by what edit makes of it, nil for none, and
// says whether that is something else. What it was is put into the folder
// copies before, and kept is where. It returns a *FileError.
func (h *Host) EditCrypttab(edit func(text []byte) []byte, copies string, now time.Time) (kept string, changed bool, err error) {
	path := h.path(Crypttab)
	before, err := readText(path)
	if err != nil {
		return "", false, err
	}
	after := edit(bytes.Clone(before))
	if bytes.Equal(before, after) && (before == nil) == (after == nil) {
		return "", false, nil
	}
	if before != nil {
		if kept, err = keepCopy(path, before, copies, now); err != nil {
			return "", false, err
		}
	}
	// An editor may have saved it meanwhile; what it saved must not be lost.
	if again, err := readText(path); err != nil || !bytes.Equal(again, before) {
		return "", false, errors.Join(&FileError{Path: path, Err: errors.New("it was changed just now by somebody else")}, err)
	}
	return kept, true, writeText(path, after, 0o644)
}

// keepCopy writes a copy of the crypttab, with its mode.
func keepCopy(path string, text []byte, folder string, now time.Time) (string, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", &FileError{Path: folder, Err: reason(err)}
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", &FileError{Path: path, Err: reason(err)}
	}
	stem := filepath.Join(folder, "crypttab-"+now.UTC().Format("20060102-150405"))
	for i := 1; ; i++ {
		name := stem
		if i > 1 {
			name = fmt.Sprintf("%s-%d", stem, i)
		}
		if _, err := os.Lstat(name); err == nil {
			continue
		}
		return name, writeText(name, text, info.Mode().Perm())
	}
}
