package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Devices looks at the kernel's block devices; Host is the real one.
type Devices interface {
	// Exists says whether a path does.
	Exists(path string) (bool, error)
	// Size is the bytes of the device at path. The error is fs.ErrNotExist
	// where there is none.
	Size(path string) (int64, error)
	// Below are the device at path and all those it stands on, from the top
	// down. The error is fs.ErrNotExist where there is no such device.
	Below(ctx context.Context, path string) ([]Layer, error)
	// Read copies the first bytes of the device at path.
	Read(ctx context.Context, path string, bytes int64, to io.Writer) error
}

// Layer is one block device of a stack.
type Layer struct {
	// Name is its kernel's name, such as "dm-3", and DM its device-mapper
	// name, or "".
	Name, DM string
	// Discard is the most bytes that one discard may have; 0 is a device that
	// takes none (sysfs, queue/discard_max_bytes).
	Discard int64
}

// Pool says whether it is what a thin pool's volumes lie on (its device-mapper name
// ends so).
func (l Layer) Pool() bool { return strings.HasSuffix(l.DM, "-tpool") }

// Path is the device's path.
func (l Layer) Path() string {
	if l.DM != "" {
		return "/dev/mapper/" + l.DM
	}
	// sysfs writes a slash in a device's name as an exclamation mark.
	return "/dev/" + strings.ReplaceAll(l.Name, "!", "/")
}

// Host is this machine.
type Host struct {
	// Sys is where sysfs is mounted; "" is /sys.
	Sys string
	// Number is the number of the device at a path, as "254:3"; nil asks the
	// kernel.
	Number func(path string) (string, error)
}

var _ Devices = Host{}

// Exists implements Devices.
func (Host) Exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Size implements Devices.
func (Host) Size(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Seek(0, io.SeekEnd)
}

// maxLayers bounds the descent; no kernel builds that much.
const maxLayers = 64

// Below implements Devices.
func (h Host) Below(ctx context.Context, path string) ([]Layer, error) {
	number := h.Number
	if number == nil {
		number = deviceNumber
	}
	top, err := number(path)
	if err != nil {
		return nil, err
	}
	sys := h.Sys
	if sys == "" {
		sys = "/sys"
	}
	folder, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", top))
	if err != nil {
		return nil, err
	}
	var layers []Layer
	todo := []string{folder}
	seen := make(map[string]bool)
	for len(todo) > 0 && len(layers) < maxLayers {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		folder, todo = todo[0], todo[1:]
		if seen[folder] {
			continue
		}
		seen[folder] = true
		layer, below, err := readLayer(folder)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
		todo = append(todo, below...)
	}
	return layers, nil
}

// readLayer reads a device's folder in sysfs and finds those of the devices it
// stands on. A partition's queue is its disk's.
func readLayer(folder string) (Layer, []string, error) {
	layer := Layer{Name: filepath.Base(folder)}
	queue := filepath.Join(folder, "queue")
	var below []string
	if _, err := os.Stat(filepath.Join(folder, "partition")); err == nil {
		queue = filepath.Join(filepath.Dir(folder), "queue")
		below = append(below, filepath.Dir(folder))
	}
	if name, err := os.ReadFile(filepath.Join(folder, "dm/name")); err == nil {
		layer.DM = strings.TrimSpace(string(name))
	}
	text, err := os.ReadFile(filepath.Join(queue, "discard_max_bytes"))
	if err != nil {
		return layer, nil, err
	}
	if layer.Discard, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err != nil {
		return layer, nil, fmt.Errorf("sysfs says of %s that it discards at most %q bytes", layer.Name, text)
	}
	slaves, err := os.ReadDir(filepath.Join(folder, "slaves"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return layer, nil, err
	}
	for _, slave := range slaves {
		resolved, err := filepath.EvalSymlinks(filepath.Join(folder, "slaves", slave.Name()))
		if err != nil {
			return layer, nil, err
		}
		if aloof(resolved) {
			continue
		}
		below = append(below, resolved)
	}
	slices.Sort(below)
	return layer, below, nil
}

// aloofParts end the names of those parts of LVM's volumes that no discard of a
// volume's goes to: the metadata of a pool or cache, and the cache, which passes
// discards to what it is in front of (lvmthin(7), lvmcache(7)). lvm2 lets no volume
// of a user's have such a name.
var aloofParts = []string{"_tmeta", "_cmeta", "_cdata", "_cvol-cmeta", "_cvol-cdata"}

// aloof says whether the device with that folder in sysfs is such a part.
func aloof(folder string) bool {
	// What is no device-mapper device has neither.
	name, _ := os.ReadFile(filepath.Join(folder, "dm/name"))
	uuid, _ := os.ReadFile(filepath.Join(folder, "dm/uuid"))
	return strings.HasPrefix(string(uuid), "LVM-") &&
		slices.ContainsFunc(aloofParts, func(part string) bool { return strings.HasSuffix(strings.TrimSpace(string(name)), part) })
}

func deviceNumber(path string) (string, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return "", &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", &fs.PathError{Op: "look at", Path: path, Err: errors.New("it is no block device")}
	}
	return fmt.Sprintf("%d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev)), nil
}
