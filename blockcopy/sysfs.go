package blockcopy

import (
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Numbered is a Source or Target on a block device of the kernel's, or in a
// file on one. What the kernel says of that device then guides how it is used.
type Numbered interface {
	// Number is the device's, as in stat(2).
	Number() (major, minor uint32)
}

// sysfs is where the kernel's view of its devices is mounted: /sys, but in
// tests.
type sysfs string

// queue is what the kernel tells of how a device likes its I/O, in bytes
// (Documentation/ABI/stable/sysfs-block). What is 0 is not known.
type queue struct {
	// physical is what the device can write without reading first, and
	// optimal what it likes best: a whole stripe of a RAID.
	physical, optimal int64
	// transfer is the most bytes of one request; what is larger is split.
	transfer int64
	// requests is how many of them the device's queue holds.
	requests int64
	// rotational says that it has heads to move.
	rotational bool
}

// queueOf reads a device's limits. Those of a mapping come from what it stands
// on, except that it has no queue of its own: requests counts what waits below.
func (s sysfs) queueOf(d any) queue {
	folder := s.folder(d)
	if folder == "" {
		return queue{}
	}
	q := queue{
		physical:   readNumber(folder, "queue/physical_block_size"),
		optimal:    readNumber(folder, "queue/optimal_io_size"),
		transfer:   readNumber(folder, "queue/max_sectors_kb") << 10,
		rotational: readNumber(folder, "queue/rotational") == 1,
	}
	for _, below := range s.leaves(folder, 0) {
		if n := readNumber(below, "queue/nr_requests"); n > 0 && (q.requests == 0 || n < q.requests) {
			q.requests = n
		}
	}
	return q
}

// folder is the folder of a device, of the whole disk for a partition, or "".
func (s sysfs) folder(d any) string {
	n, ok := d.(Numbered)
	if !ok {
		return ""
	}
	major, minor := n.Number()
	folder, err := filepath.EvalSymlinks(filepath.Join(string(s), "dev/block", fmt.Sprintf("%d:%d", major, minor)))
	if err != nil {
		return "" // a network's or memory's filesystem stands on no device
	}
	if _, err := os.Stat(filepath.Join(folder, "partition")); err == nil {
		return filepath.Dir(folder)
	}
	return folder
}

// deepest ends the descent where a kernel tells of devices in a ring.
const deepest = 16

// leaves are the folders of the devices at the bottom of a stack of mappings.
func (s sysfs) leaves(folder string, depth int) []string {
	slaves, err := filepath.Glob(filepath.Join(folder, "slaves", "*"))
	if err != nil || len(slaves) == 0 || depth == deepest {
		return []string{folder}
	}
	var all []string
	for _, slave := range slaves {
		below, err := filepath.EvalSymlinks(slave)
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(below, "partition")); err == nil {
			below = filepath.Dir(below)
		}
		all = append(all, s.leaves(below, depth+1)...)
	}
	return all
}

// readNumber is the number in a file, 0 if there is none.
func readNumber(folder, name string) int64 {
	b, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// nodeOf is the NUMA node that a device hangs on, the first one's of several.
func (s sysfs) nodeOf(d any) (node int64, ok bool) {
	folder := s.folder(d)
	if folder == "" {
		return 0, false
	}
	for _, leaf := range s.leaves(folder, 0) {
		// A disk's own folder has no node; that of the bus's device above it
		// has (Documentation/ABI/testing/sysfs-bus-pci).
		for at := leaf; strings.HasPrefix(at, string(s)+"/"); at = filepath.Dir(at) {
			b, err := os.ReadFile(filepath.Join(at, "numa_node"))
			if err != nil {
				continue
			}
			// -1 says that it is no nearer to one than to another.
			if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 32); err == nil && n >= 0 {
				return n, true
			}
			break
		}
	}
	return 0, false
}

// near is the processors near the target, or the source if the target is near
// none: the target's have dm-crypt's work as well. It is nil where all are as
// near: on one node, that is on nearly every machine.
func (s sysfs) near(source, target any) *unix.CPUSet {
	nodes, err := filepath.Glob(filepath.Join(string(s), "devices/system/node/node[0-9]*"))
	if err != nil || len(nodes) < 2 {
		return nil
	}
	node, ok := s.nodeOf(target)
	if !ok {
		node, ok = s.nodeOf(source)
	}
	if !ok {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(string(s), "devices/system/node", fmt.Sprintf("node%d", node), "cpumap"))
	if err != nil {
		return nil
	}
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil
	}
	return among(parseMap(string(b)), &allowed)
}

// parseMap reads a bitmap as the kernel writes it, 32 bits a word in
// hexadecimal, the highest first (Documentation/core-api/printk-formats.rst,
// bitmaps). It returns the numbers of the bits that are set.
func parseMap(text string) []int {
	var set []int
	words := strings.Split(strings.TrimSpace(text), ",")
	for i, word := range words {
		bitsOf, err := strconv.ParseUint(word, 16, 32)
		if err != nil {
			return nil
		}
		for ; bitsOf != 0; bitsOf &= bitsOf - 1 {
			set = append(set, (len(words)-1-i)*32+bits.TrailingZeros64(bitsOf))
		}
	}
	return set
}

// among is those of wanted that are allowed, nil if there are none.
func among(wanted []int, allowed *unix.CPUSet) *unix.CPUSet {
	var set unix.CPUSet
	for _, processor := range wanted {
		if allowed.IsSet(processor) {
			set.Set(processor)
		}
	}
	if set.Count() == 0 {
		return nil
	}
	return &set
}
