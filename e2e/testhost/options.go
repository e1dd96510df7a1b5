package testhost

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Options say what a host is like. The zero value is a host with 2 GiB of
// memory, no disk and no libvirtd.
type Options struct {
	// Memory is the host's, in bytes; 0 is 2 GiB. The machine gives only
	// what is used.
	Memory int64
	// Disks are /dev/ubda, /dev/ubdb and so on, in this order.
	Disks []Disk
	// Persist is the file of one more disk, made if it isn't there. It
	// holds /var/lib/vmmigrate, /etc/libvirt/qemu and /var/lib/libvirt,
	// which then outlive a power cut; all else that is written on the
	// host's root is gone with the host.
	Persist string
	// Systemd makes systemd the host's process 1, with no unit enabled but
	// those that the host's user enables; Stop then shuts down as a machine
	// does. With Persist its units, its journal and /etc/crypttab outlive the
	// host.
	Systemd bool
	// Programs are files of the machine that are to be found in the
	// host's PATH, under their base names. They have to be static, or
	// need only libraries that the machine has.
	Programs []string
	// Libvirt starts libvirtd, as StartLibvirt does.
	Libvirt bool
	// CacheDir keeps what is slow to make from one host to the next; ""
	// is the folder that DefaultCacheDir returns.
	CacheDir string
	// Log is told what the host does; nil is nobody.
	Log io.Writer
}

// Disk is one of a host's disks.
type Disk struct {
	// Path is its file. It may exist already, with what a host before
	// this one wrote. "" is a file that goes when the host does.
	Path string
	// Size is in bytes, a multiple of 512. 0 is the size that the file has.
	Size int64
	// Noise fills the first half GiB of a new file, but for its first MiB, with
	// random bytes, as on a disk that was used before. Otherwise, and behind
	// that, a new disk reads as zeros.
	Noise bool
}

// DefaultCacheDir returns $XDG_CACHE_HOME/vmmigrate, or .cache in the
// repository that holds the current folder, which git ignores.
func DefaultCacheDir() (string, error) {
	if dir := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "vmmigrate"), nil
	}
	root, err := Repository()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cache"), nil
}

// Repository returns the folder of the go.mod above the current folder.
func Repository() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod in %s nor above it: run this from vmmigrate's repository", start)
		}
	}
}
