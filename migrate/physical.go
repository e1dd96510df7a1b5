package migrate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Physical implements Devices: the numbers of the devices at the bottom of what
// the kernel shows in sysfs. A mapping stands on its slaves, a partition on its
// disk, a loop device and any file on what holds the file. Numbers that sysfs
// does not know, as of a network filesystem, stand for themselves.
func (Host) Physical(_ context.Context, path string) ([]string, error) {
	number, err := deviceOf(path)
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool)
	descend("/sys/dev/block", number, found, 0)
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

func descend(sys, number string, found map[string]bool, depth int) {
	folder, err := filepath.EvalSymlinks(filepath.Join(sys, number))
	if err != nil || depth == maxDepth {
		found[number] = true
		return
	}
	below := devicesBelow(folder, number)
	if len(below) == 0 {
		found[number] = true
	}
	for _, n := range below {
		descend(sys, n, found, depth+1)
	}
}

// devicesBelow are the devices that the one with that folder in sysfs stands on
// directly.
func devicesBelow(folder, number string) []string {
	below := slaves(folder)
	if _, err := os.Stat(filepath.Join(folder, "partition")); err == nil {
		below = append(below, readNumber(filepath.Dir(folder)))
	}
	if file, err := os.ReadFile(filepath.Join(folder, "loop", "backing_file")); err == nil {
		if on, err := deviceOf(strings.TrimSpace(string(file))); err == nil {
			below = append(below, on)
		}
	}
	return slices.DeleteFunc(below, func(n string) bool { return n == "" || n == number })
}

func slaves(folder string) []string {
	entries, err := os.ReadDir(filepath.Join(folder, "slaves"))
	if err != nil {
		return nil
	}
	var numbers []string
	for _, entry := range entries {
		numbers = append(numbers, readNumber(filepath.Join(folder, "slaves", entry.Name())))
	}
	return numbers
}

func readNumber(folder string) string {
	number, err := os.ReadFile(filepath.Join(folder, "dev"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(number))
}
