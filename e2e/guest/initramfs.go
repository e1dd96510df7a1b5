package guest

import (
	"bytes"
	_ "embed" // for init.sh
	"fmt"
	"os"
	"path/filepath"
)

//go:embed init.sh
var initScript []byte

// modules are what the guest needs to see its disks, in the order in which
// init.sh loads them. The cloud kernel has ext4 built in.
var modules = []string{
	"virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_legacy_dev",
	"virtio/virtio_pci_modern_dev", "virtio/virtio_pci", "block/virtio_blk",
	// These for its power button.
	"acpi/button", "input/evdev",
}

// applets are the names under which init.sh calls busybox.
var applets = []string{"sh", "mount", "insmod", "cat", "head", "sha256sum", "poweroff"}

// initramfs returns busybox, init.sh and the kernel's modules as an archive in
// the kernel's format (Documentation/driver-api/early-userspace/buffer-format.rst).
// It is not compressed: unpacking would take the guest longer than reading.
func initramfs(k kernel) ([]byte, error) {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, err
	}
	var a archive
	for _, folder := range []string{"bin", "dev", "proc", "sys", "root", "modules"} {
		a.add(folder, 0o040755, nil)
	}
	a.add("bin/busybox", 0o100755, busybox)
	for _, applet := range applets {
		a.add("bin/"+applet, 0o120777, []byte("busybox"))
	}
	a.add("init", 0o100755, initScript)
	for _, name := range modules {
		module, err := os.ReadFile(filepath.Join(k.modules, "kernel/drivers", name+".ko"))
		if err != nil {
			return nil, err
		}
		a.add("modules/"+filepath.Base(name)+".ko", 0o100644, module)
	}
	a.add("TRAILER!!!", 0, nil)
	return a.Bytes(), nil
}

// archive is a cpio archive of the "newc" kind. Every owner is root and every
// time 0, so that the same files give the same bytes.
type archive struct {
	bytes.Buffer
	files int
}

func (a *archive) add(name string, mode int, data []byte) {
	a.files++
	// ino, mode, uid, gid, nlink, mtime, filesize, dev (2), rdev (2), namesize, check
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.files, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}
