package boot

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// machine is a host below a folder: mounts and block devices.
type machine struct {
	*Host
	t *testing.T
}

func newMachine(t *testing.T, mountinfo string) machine {
	t.Helper()
	m := machine{&Host{Root: t.TempDir()}, t}
	write(t, m.path("/proc/self/mountinfo"), mountinfo, 0o444)
	write(t, m.path("/etc/key"), "key", 0o600)
	return m
}

// device makes a block device of that number; files are what its folder has.
func (m machine) device(number, folder string, files map[string]string, slaves ...string) {
	m.t.Helper()
	full := m.path("/sys/devices", folder)
	no(m.t, os.MkdirAll(full, 0o755))
	for name, text := range files {
		write(m.t, filepath.Join(full, name), text+"\n", 0o444)
	}
	for _, slave := range slaves {
		no(m.t, os.MkdirAll(filepath.Join(full, "slaves"), 0o755))
		no(m.t, os.Symlink(m.path("/sys/devices", slave), filepath.Join(full, "slaves", filepath.Base(slave))))
	}
	no(m.t, os.MkdirAll(m.path("/sys/dev/block"), 0o755))
	no(m.t, os.Symlink(full, m.path("/sys/dev/block", number)))
}

const crypt = "CRYPT-LUKS2-0b5a4f5e7f3b4f0e9d863a6f0c1b2d01-root"

func TestAKeyFileIsHeldToBeWhereItsFileSystemLies(t *testing.T) {
	for what, c := range map[string]struct {
		mountinfo string
		devices   func(m machine)
		medium    Medium
		on        []string
	}{
		"a partition": {"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n", func(m machine) {
			m.device("8:0", "pci/sda", map[string]string{"removable": "0"})
			m.device("8:1", "pci/sda/sda1", map[string]string{"partition": "1"})
		}, Plain, []string{"/dev/sda"}},
		"a volume on dm-crypt": {"1 0 254:1 / / rw - ext4 /dev/mapper/vg-root rw\n", func(m machine) {
			m.device("8:0", "pci/sda", map[string]string{"removable": "0"})
			m.device("254:0", "virtual/dm-0", map[string]string{"dm/uuid": crypt}, "pci/sda")
			m.device("254:1", "virtual/dm-1", map[string]string{"dm/uuid": "LVM-abc"}, "virtual/dm-0")
		}, Encrypted, nil},
		"a volume of which one disk is plain": {"1 0 254:1 / / rw - ext4 /dev/mapper/vg-root rw\n", func(m machine) {
			m.device("8:0", "pci/sda", map[string]string{"removable": "0"})
			m.device("8:16", "pci/sdb", map[string]string{"removable": "0"})
			m.device("254:0", "virtual/dm-0", map[string]string{"dm/uuid": crypt}, "pci/sda")
			m.device("254:1", "virtual/dm-1", map[string]string{"dm/uuid": "LVM-abc"}, "virtual/dm-0", "pci/sdb")
		}, Plain, []string{"/dev/sdb"}},
		"integrity alone": {"1 0 254:0 / / rw - ext4 /dev/mapper/x rw\n", func(m machine) {
			m.device("8:0", "pci/sda", map[string]string{"removable": "0"})
			m.device("254:0", "virtual/dm-0", map[string]string{"dm/uuid": "CRYPT-INTEGRITY-x"}, "pci/sda")
		}, Plain, []string{"/dev/sda"}},
		"a stick": {"1 0 0:20 / / rw - overlay overlay rw\n2 1 8:17 / /etc rw - vfat /dev/sdb1 rw\n", func(m machine) {
			m.device("8:16", "pci/usb1/sdb", map[string]string{"removable": "0"})
			m.device("8:17", "pci/usb1/sdb/sdb1", map[string]string{"partition": "1"})
		}, Removable, []string{"/dev/sdb"}},
		"memory":            {"1 0 0:20 / / rw - tmpfs tmpfs rw\n", func(machine) {}, Memory, nil},
		"an overlay":        {"1 0 0:20 / / rw - overlay overlay rw\n", func(machine) {}, Unclear, nil},
		"the network":       {"1 0 0:20 / / rw - nfs4 server:/x rw\n", func(machine) {}, Unclear, nil},
		"no mount":          {"", func(machine) {}, Unclear, nil},
		"an unknown device": {"1 0 9:9 / / rw - ext4 /dev/x rw\n", func(machine) {}, Unclear, nil},
		"a loop on a plain disk": {"1 0 8:0 / / rw - ext4 /dev/sda rw\n2 1 7:0 / /etc rw - ext4 /dev/loop0 rw\n", func(m machine) {
			m.device("8:0", "pci/sda", map[string]string{"removable": "0"})
			m.device("7:0", "virtual/loop0", map[string]string{"loop/backing_file": "/image"})
			write(m.t, m.path("/image"), "", 0o600)
		}, Plain, []string{"/dev/sda"}},
		"the later of two mounts in one place": {"1 0 8:0 / / rw - ext4 /dev/sda rw\n2 1 0:9 / /etc rw - nfs x rw\n3 1 0:8 / /etc rw - tmpfs x rw\n", func(machine) {}, Memory, nil},
	} {
		m := newMachine(t, c.mountinfo)
		c.devices(m)
		place, err := m.CheckKeyFile("/etc/key", true)
		if err != nil || place.Medium != c.medium || !slices.Equal(place.Devices, c.on) {
			t.Errorf("%s: %+v, %v", what, place, err)
		}
		_, err = m.CheckKeyFile("/etc/key", false)
		var bad *KeyFileError
		if fine := c.medium == Encrypted || c.medium == Removable; fine != (err == nil) || !fine && (!errors.As(err, &bad) || !bad.Forced) {
			t.Errorf("%s, not forced: %v", what, err)
		}
	}
}

func TestAKeyFileThatOthersReachIsRefusedForceOrNot(t *testing.T) {
	for what, break_ := range map[string]func(m machine){
		"missing":           func(m machine) { _ = os.Remove(m.path("/etc/key")) },
		"a folder":          func(m machine) { _ = os.Remove(m.path("/etc/key")); _ = os.Mkdir(m.path("/etc/key"), 0o700) },
		"empty":             func(m machine) { _ = os.Truncate(m.path("/etc/key"), 0) },
		"read by a group":   func(m machine) { _ = os.Chmod(m.path("/etc/key"), 0o640) },
		"written by all":    func(m machine) { _ = os.Chmod(m.path("/etc/key"), 0o602) },
		"in an open folder": func(m machine) { _ = os.Chmod(m.path("/etc"), 0o777) },
		"by a link into an open folder": func(m machine) {
			_ = os.Mkdir(m.path("/open"), 0o777)
			_ = os.Chmod(m.path("/open"), 0o777)
			_ = os.Rename(m.path("/etc/key"), m.path("/open/key"))
			_ = os.Symlink("../open/key", m.path("/etc/key"))
		},
	} {
		m := newMachine(t, "1 0 0:20 / / rw - tmpfs tmpfs rw\n")
		break_(m)
		var bad *KeyFileError
		if _, err := m.CheckKeyFile("/etc/key", true); !errors.As(err, &bad) || bad.Forced {
			t.Errorf("%s: %v", what, err)
		}
	}
	m := newMachine(t, "")
	var bad *KeyFileError
	if _, err := m.CheckKeyFile("key", true); !errors.As(err, &bad) {
		t.Error(err)
	}
	// In a folder such as /tmp only a file's owner may replace it.
	no(t, os.Chmod(m.path("/etc"), 0o777|os.ModeSticky))
	if _, err := m.CheckKeyFile("/etc/key", true); err != nil {
		t.Error(err)
	}
}
