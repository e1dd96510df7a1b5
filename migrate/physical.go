package migrate

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Physical implements Devices: the numbers of the devices at the bottom of what
// the kernel shows in sysfs. A mapping stands on its slaves, a partition on its
// disk, a loop device and any file on what holds the file. Numbers that sysfs
// does not know, as of a network filesystem, stand for themselves.
func (h Host) Physical(_ context.Context, path string) ([]string, error) {
	number, err := deviceOf(path)
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool)
	h.descend(number, found, 0)
	var all []string
	for number := range found {
		all = append(all, number)
	}
	slices.Sort(all)
	return all, nil
}

// deviceOf is the number of a block device, or of the device that a file is on.
func deviceOf(path string) (string, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	number := stat.Dev
	if stat.Mode&unix.S_IFMT == unix.S_IFBLK {
		number = stat.Rdev
	}
	return fmt.Sprintf("%d:%d", unix.Major(number), unix.Minor(number)), nil
}

// maxDepth ends the descent where devices stand on each other in a ring, which
// no kernel builds but a loop device on its own file comes near to.
const maxDepth = 16

func (h Host) descend(number string, found map[string]bool, depth int) {
	device := h.device(number)
	if len(device.below) == 0 || depth == maxDepth {
		found[number] = true
		return
	}
	for _, n := range device.below {
		h.descend(n, found, depth+1)
	}
}

// sysDevice is what sysfs shows of a block device.
type sysDevice struct {
	// encrypts is true for a mapping of dm-crypt's: its UUID begins as
	// cryptsetup lets it, "CRYPT-".
	encrypts bool
	// below are the devices it stands on directly.
	below []string
}

// Seen is what sysfs showed of the devices under disks. Most of a host's images
// lie on one of them. The zero value has seen nothing yet.
type Seen struct {
	mu      sync.Mutex
	devices map[string]sysDevice
	bootID  string
}

// device looks at a device, by its number. One that sysfs does not know stands
// on nothing.
func (h Host) device(number string) sysDevice {
	if h.Seen == nil {
		return lookAtDevice(number)
	}
	h.Seen.mu.Lock()
	defer h.Seen.mu.Unlock()
	device, known := h.Seen.devices[number]
	if !known {
		if h.Seen.devices == nil {
			h.Seen.devices = make(map[string]sysDevice)
		}
		device = lookAtDevice(number)
		h.Seen.devices[number] = device
	}
	return device
}

// boot is the id of the running kernel's boot.
func (h Host) boot() (string, error) {
	if h.Seen == nil {
		return bootID()
	}
	h.Seen.mu.Lock()
	defer h.Seen.mu.Unlock()
	var err error
	if h.Seen.bootID == "" {
		h.Seen.bootID, err = bootID()
	}
	return h.Seen.bootID, err
}

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

func lookAtDevice(number string) sysDevice {
	var device sysDevice
	// A link, which the kernel follows; .. behind it is the disk of a partition.
	folder := "/sys/dev/block/" + number
	if uuid, err := os.ReadFile(folder + "/dm/uuid"); err == nil {
		device.encrypts = strings.HasPrefix(string(uuid), "CRYPT-")
		device.below = slaves(folder)
	} else if _, err := os.Stat(folder); err == nil {
		device.below = slaves(folder)
		if _, err := os.Stat(folder + "/partition"); err == nil {
			device.below = append(device.below, readNumber(folder+"/.."))
		}
		if file, err := os.ReadFile(folder + "/loop/backing_file"); err == nil {
			if on, err := deviceOf(strings.TrimSpace(string(file))); err == nil {
				device.below = append(device.below, on)
			}
		}
	}
	device.below = slices.DeleteFunc(device.below, func(n string) bool { return n == "" || n == number })
	return device
}

func slaves(folder string) []string {
	entries, err := os.ReadDir(folder + "/slaves")
	if err != nil {
		return nil
	}
	var numbers []string
	for _, entry := range entries {
		numbers = append(numbers, readNumber(folder+"/slaves/"+entry.Name()))
	}
	return numbers
}

func readNumber(folder string) string {
	number, err := os.ReadFile(folder + "/dev") // not Join, which takes the .. away
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(number))
}
