package testhost

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// needs are programs that a host runs or its guest is built with, and the
// Debian packages that they come from. e2e/setup.sh installs these.
var needs = map[string]string{
	"linux.uml": "user-mode-linux", "modprobe": "kmod", "udevadm": "udev", "ip": "iproute2", "gcc": "gcc", "pgrep": "procps",
	"lvm": "lvm2", "thin_check": "thin-provisioning-tools", "cryptsetup": "cryptsetup-bin",
	"libvirtd": "libvirt-daemon-system", "virsh": "libvirt-clients", "qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils",
	"busybox": "busybox-static", "mke2fs": "e2fsprogs", "sfdisk": "fdisk", "grub-mkimage": "grub-common", "genisoimage": "genisoimage",
}

// MissingError says which Debian packages the machine lacks.
type MissingError struct{ Packages []string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("the test host needs Debian packages that are not installed: %s; install them with `e2e/setup.sh`", strings.Join(e.Packages, " "))
}

// CheckMachine returns a *MissingError if a program that hosts need is not
// installed.
func CheckMachine() error {
	var missing []string
	for program, pkg := range needs {
		_, err := exec.LookPath(program)
		if _, sbinErr := exec.LookPath("/usr/sbin/" + program); err != nil && sbinErr != nil && !slices.Contains(missing, pkg) {
			missing = append(missing, pkg)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return &MissingError{Packages: missing}
	}
	return nil
}
