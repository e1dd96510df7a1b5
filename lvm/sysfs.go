package lvm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// activeOn says whether an active volume of the group stands directly on
// device: whether one of the device's holders is a device-mapper device whose
// UUID is "LVM-", the group's and the volume's (lvm2, build_dm_uuid).
func (c *Client) activeOn(device, vgUUID string) (bool, error) {
	major, minor, ok := c.numbers(device)
	if !ok {
		return false, &NotFoundError{Kind: "block device", Name: device}
	}
	pattern := filepath.Join(c.sys, "dev/block", fmt.Sprintf("%d:%d", major, minor), "holders", "*", "dm/uuid")
	files, err := filepath.Glob(pattern)
	if err != nil {
		return false, err
	}
	want := "LVM-" + strings.ReplaceAll(vgUUID, "-", "")
	return slices.ContainsFunc(files, func(file string) bool {
		// A holder that went away meanwhile holds nothing.
		uuid, err := os.ReadFile(file)
		return err == nil && strings.HasPrefix(string(uuid), want)
	}), nil
}

// maxDepth bounds a walk down a device's stack; real ones are a handful deep.
const maxDepth = 16

// sector is the smallest unit that a block device is addressed in, in bytes, or 0
// (kernel, Documentation/ABI/stable/sysfs-block, queue/logical_block_size). A
// partition has its disk's.
func (c *Client) sector(major, minor int) int64 {
	device := filepath.Join(c.sys, "dev/block", fmt.Sprintf("%d:%d", major, minor))
	if resolved, err := filepath.EvalSymlinks(device); err == nil {
		device = resolved
	}
	for _, folder := range []string{device, filepath.Dir(device)} {
		text, err := os.ReadFile(filepath.Join(folder, "queue/logical_block_size"))
		if err != nil {
			continue
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && size > 0 {
			return size
		}
	}
	return 0
}

// nested says whether the device of that number rests on a logical volume or,
// encrypted, on a loop device: then it is a guest's disk that was opened, and
// what LVM finds on it the guest's. LVM itself looks into no logical volume
// (lvm.conf(5), scan_lvs), but it does into a mapping on top of one.
func (c *Client) nested(major, minor int) bool {
	return c.rests(filepath.Join(c.sys, "dev/block", fmt.Sprintf("%d:%d", major, minor)), false, maxDepth)
}

func (c *Client) rests(device string, encrypted bool, depth int) bool {
	// What is no device-mapper device has no such file, and no UUID.
	uuid, _ := os.ReadFile(filepath.Join(device, "dm/uuid"))
	encrypted = encrypted || strings.HasPrefix(string(uuid), "CRYPT-")
	// The pattern is well-formed; a device without slaves is the last.
	slaves, _ := filepath.Glob(filepath.Join(device, "slaves", "*"))
	return depth > 0 && slices.ContainsFunc(slaves, func(slave string) bool {
		below, _ := os.ReadFile(filepath.Join(slave, "dm/uuid"))
		return strings.HasPrefix(string(below), "LVM-") ||
			encrypted && strings.HasPrefix(filepath.Base(slave), "loop") ||
			c.rests(slave, encrypted, depth-1)
	})
}
