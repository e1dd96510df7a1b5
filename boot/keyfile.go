package boot

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Medium is what a key file lies on.
type Medium string

// The kinds of medium.
const (
	// Encrypted is a file system all of whose devices lie on dm-crypt.
	Encrypted Medium = "encrypted"
	// Plain is one with a device that does not: whoever has the disk has the
	// key as well.
	Plain Medium = "plain"
	// Removable is a plain one that can be taken out, such as a stick.
	Removable Medium = "removable"
	// Memory is gone after a reboot, and so is the key.
	Memory Medium = "memory"
	// Unclear is a file system of which it can't be told, such as one of the
	// network, an overlay or ZFS.
	Unclear Medium = "unclear"
)

// Place is where a key file lies.
type Place struct {
	// Path is absolute, and Mount the folder that its file system is mounted
	// at, of kind FS.
	Path, Mount, FS string
	Medium          Medium
	// Devices are the block devices that it lies on in the end, without a
	// dm-crypt between.
	Devices []string
}

// acceptable returns a *KeyFileError for a place that wants --force.
func (p Place) acceptable() error {
	reason := ""
	switch p.Medium {
	case Encrypted, Removable:
		return nil
	case Plain:
		reason = fmt.Sprintf("it lies unencrypted on %s (%s): whoever has that disk has the key of the guest's disks as well", strings.Join(p.Devices, ", "), p.Mount)
	case Memory:
		reason = fmt.Sprintf("it lies in memory (%s on %s), and is gone at the next boot", p.FS, p.Mount)
	default:
		reason = fmt.Sprintf("whether it is encrypted where it lies can't be told (%s on %s)", p.FS, p.Mount)
	}
	return &KeyFileError{Path: p.Path, Reason: reason, Forced: true}
}

// CheckKeyFile says where a key file lies. It returns a *KeyFileError where it
// is missing or no file, where others than root can read it or put another in
// its place, where the crypttab can't name it, and, unless forced, where it
// does not lie on an encrypted file system or a removable disk.
func (h *Host) CheckKeyFile(path string, force bool) (Place, error) {
	if err := ValidWord("key file", path); err != nil {
		return Place{}, err
	}
	bad := func(reason string, fix ...string) (Place, error) {
		return Place{}, &KeyFileError{Path: path, Reason: reason, Fix: fix}
	}
	if !filepath.IsAbs(path) {
		return bad("the path has to begin at the root of the file system, for it is read at boot")
	}
	info, err := os.Stat(h.path(path))
	if err != nil {
		return bad(reason(err).Error())
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return bad("it is no file")
	case info.Size() == 0:
		return bad("it is empty")
	case !ok || int(owner.Uid) != os.Geteuid() && owner.Uid != 0:
		return bad("it belongs to another user than root, who can read and change it", "chown", "root:root", path)
	case info.Mode().Perm()&0o077 != 0:
		return bad(fmt.Sprintf("others than root may read or change it (mode %04o)", info.Mode().Perm()), "chmod", "600", path)
	}
	if err := h.safeFolders(path); err != nil {
		return Place{}, err
	}
	place, err := h.place(path)
	if err != nil {
		place = Place{Path: path, FS: err.Error(), Mount: "/", Medium: Unclear}
	}
	if force {
		return place, nil
	}
	return place, place.acceptable()
}

// safeFolders returns a *KeyFileError where somebody else than root could put
// another file in the place of the one at path.
func (h *Host) safeFolders(path string) error {
	resolved, err := filepath.EvalSymlinks(h.path(path))
	if err != nil {
		return &KeyFileError{Path: path, Reason: reason(err).Error()}
	}
	for folder := filepath.Dir(resolved); ; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if err != nil {
			return &KeyFileError{Path: path, Reason: reason(err).Error()}
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		// In a folder such as /tmp only a file's owner may rename it.
		open := info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0
		if !ok || int(owner.Uid) != os.Geteuid() && owner.Uid != 0 || open {
			return &KeyFileError{Path: path, Reason: fmt.Sprintf("others than root can put another file in its place, for they may write to %s", folder)}
		}
		if folder == filepath.Dir(folder) || folder == filepath.Clean(h.Root) {
			return nil
		}
	}
}

// mount is one line of /proc/self/mountinfo (proc(5)).
type mount struct{ number, point, fs, source string }

// inMemory and opaque are file systems without a block device to look at.
var (
	inMemory = []string{"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}
	onDisk   = []string{"btrfs", "bcachefs"} // with a device number of their own
)

// place finds the file system that holds a path, and goes down its devices.
func (h *Host) place(path string) (Place, error) {
	m, err := h.mountOf(path)
	if err != nil {
		return Place{}, err
	}
	p := Place{Path: path, Mount: m.point, FS: m.fs, Medium: Unclear}
	if slices.Contains(inMemory, m.fs) {
		p.Medium = Memory
		return p, nil
	}
	number := m.number
	if slices.Contains(onDisk, m.fs) {
		// Of several devices it names one, and those beside it may be plain.
		var stat unix.Stat_t
		if err := unix.Stat(m.source, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFBLK {
			return p, nil
		}
		number = fmt.Sprintf("%d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
	}
	if strings.HasPrefix(number, "0:") {
		return p, nil
	}
	folder, err := filepath.EvalSymlinks(h.path(h.sys(), "dev/block", number))
	if err != nil {
		return p, nil //nolint:nilerr // a device that sysfs does not have tells nothing
	}
	w := walk{host: h, seen: make(map[string]bool)}
	if err := w.down(folder); err != nil {
		return Place{}, err
	}
	slices.Sort(w.plain)
	switch p.Devices = slices.Compact(w.plain); {
	case w.unclear:
	case len(w.plain) == 0:
		p.Medium = Encrypted
	case w.fixed:
		p.Medium = Plain
	default:
		p.Medium = Removable
	}
	return p, nil
}

func (h *Host) sys() string {
	if h.Sys != "" {
		return h.Sys
	}
	return "/sys"
}

// mountOf finds the mount that a path is in: of those over it the deepest, and
// of several at one point the last.
func (h *Host) mountOf(path string) (mount, error) {
	resolved, err := filepath.EvalSymlinks(h.path(path))
	if err != nil {
		return mount{}, err
	}
	resolved = strings.TrimPrefix(resolved, strings.TrimSuffix(filepath.Clean(h.Root), "/"))
	if h.Root == "" {
		resolved = filepath.Clean(resolved)
	}
	file, err := os.Open(h.path("/proc/self/mountinfo"))
	if err != nil {
		return mount{}, err
	}
	defer file.Close()
	var found *mount
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m, ok := parseMount(lines.Text())
		if ok && (m.point == "/" || resolved == m.point || strings.HasPrefix(resolved, m.point+"/")) && (found == nil || len(m.point) >= len(found.point)) {
			found = &m
		}
	}
	if err := lines.Err(); err != nil {
		return mount{}, err
	}
	if found == nil {
		return mount{}, errors.New("no mount holds it")
	}
	return *found, nil
}

// parseMount reads "36 35 98:0 /root /point options … - fs source options",
// where white space is written as \040 and its like.
func parseMount(line string) (mount, bool) {
	front, back, found := strings.Cut(line, " - ")
	a, b := strings.Fields(front), strings.Fields(back)
	if !found || len(a) < 5 || len(b) < 2 {
		return mount{}, false
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	return mount{number: a[2], point: unescape.Replace(a[4]), fs: b[0], source: unescape.Replace(b[1])}, true
}

// walk goes down the devices under one until there is a dm-crypt or nothing.
type walk struct {
	host *Host
	seen map[string]bool
	// plain are the lowest devices without a dm-crypt above them; fixed is
	// whether one of them can't be taken out, and unclear whether one stands
	// on something that can't be looked through.
	plain          []string
	fixed, unclear bool
}

func (w *walk) down(folder string) error {
	if w.seen[folder] {
		return nil
	}
	w.seen[folder] = true
	// Every dm-crypt device's UUID begins with CRYPT- (libcryptsetup's
	// DM_UUID_PREFIX), and dm-crypt is what bears it but for integrity, which
	// is called CRYPT-INTEGRITY-.
	if uuid := read(filepath.Join(folder, "dm/uuid")); strings.HasPrefix(uuid, "CRYPT-") && !strings.HasPrefix(uuid, "CRYPT-INTEGRITY-") && !strings.HasPrefix(uuid, "CRYPT-VERITY-") {
		return nil
	}
	if backing := read(filepath.Join(folder, "loop/backing_file")); backing != "" {
		below, err := w.host.place(backing)
		if err != nil {
			w.unclear = true
			return nil //nolint:nilerr // a file that is gone tells nothing
		}
		w.plain = append(w.plain, below.Devices...)
		w.fixed = w.fixed || below.Medium == Plain
		w.unclear = w.unclear || below.Medium == Unclear || below.Medium == Memory
		return nil
	}
	if _, err := os.Stat(filepath.Join(folder, "partition")); err == nil {
		return w.down(filepath.Dir(folder))
	}
	slaves, err := os.ReadDir(filepath.Join(folder, "slaves"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, slave := range slaves {
		below, err := filepath.EvalSymlinks(filepath.Join(folder, "slaves", slave.Name()))
		if err == nil {
			err = w.down(below)
		}
		if err != nil {
			return err
		}
	}
	if len(slaves) == 0 {
		w.plain = append(w.plain, "/dev/"+strings.ReplaceAll(filepath.Base(folder), "!", "/"))
		// A disk on USB says of itself that it is fixed.
		w.fixed = w.fixed || read(filepath.Join(folder, "removable")) != "1" && !strings.Contains(folder, "/usb")
	}
	return nil
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
