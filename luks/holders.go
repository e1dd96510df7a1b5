package luks

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxHolders bounds the list: enough to see what is going on.
const maxHolders = 20

// holders say in words who has the block device of that number ("254:3")
// open: devices on top, loop devices, mounts, swap and processes. It finds
// what this user may see; what it can't read it leaves out.
func (c *Client) holders(number string) []string {
	var all []string
	folder := filepath.Join(c.sys, "dev/block", number)
	entries, _ := os.ReadDir(filepath.Join(folder, "holders"))
	for _, entry := range entries {
		name := entry.Name()
		if text, err := os.ReadFile(filepath.Join(folder, "holders", name, "dm/name")); err == nil {
			name = strings.TrimSpace(string(text))
		}
		all = append(all, fmt.Sprintf("the device %s on top of it", name))
	}
	names := c.names(folder)
	all = append(all, c.loops(names)...)
	all = append(all, c.mounts(number)...)
	all = append(all, c.swaps(names)...)
	all = append(all, c.processes(number)...)
	if len(all) > maxHolders {
		all = append(all[:maxHolders], fmt.Sprintf("%d more", len(all)-maxHolders))
	}
	return all
}

// HoldersOf says in words who has the device or file at path open: see holders.
// The error is fs.ErrNotExist where there is neither.
func (c *Client) HoldersOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if number, ok := c.number(path); ok {
		return c.holders(number), nil
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	names := []string{path, resolved}
	all := c.loops(names)
	all = append(all, c.swaps(names)...)
	return append(all, c.openers(func(fd, target string) bool {
		if !strings.HasPrefix(target, "/") || filepath.Base(target) != filepath.Base(resolved) {
			return false
		}
		is, err := os.Stat(fd)
		return err == nil && os.SameFile(is, info)
	})...), nil
}

// names are the paths that a device's user may have opened it by.
func (c *Client) names(folder string) []string {
	var names []string
	if target, err := os.Readlink(folder); err == nil {
		names = append(names, "/dev/"+filepath.Base(target))
	}
	if text, err := os.ReadFile(filepath.Join(folder, "dm/name")); err == nil {
		names = append(names, "/dev/mapper/"+strings.TrimSpace(string(text)))
	}
	return names
}

// mounts reads /proc/self/mountinfo: the third field is the device's number
// and the fifth where it is mounted (proc(5)).
func (c *Client) mounts(number string) []string {
	f, err := os.Open(filepath.Join(c.proc, "self/mountinfo"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var found []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && fields[2] == number {
			found = append(found, "a mount at "+unescape(fields[4]))
		}
	}
	return found
}

// unescape undoes the octal escapes of mountinfo (proc(5)).
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

func (c *Client) swaps(names []string) []string {
	text, err := os.ReadFile(filepath.Join(c.proc, "swaps"))
	if err != nil {
		return nil
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && slices.Contains(names, fields[0]) {
			found = append(found, "swap on "+fields[0])
		}
	}
	return found
}

// processes looks through every process's open files for the device. It goes
// by the device's number, for a guest's QEMU runs with a /dev of its own.
func (c *Client) processes(number string) []string {
	return c.openers(func(fd, target string) bool {
		// A look at the link first: stat on a file of a network file
		// system that is gone would never come back.
		if !strings.HasPrefix(target, "/dev/") {
			return false
		}
		is, ok := c.number(fd)
		return ok && is == number
	})
}

// openers are the processes with an open file that is the one: fd is its path in
// /proc, and target what that links to.
func (c *Client) openers(is func(fd, target string) bool) []string {
	entries, err := os.ReadDir(c.proc)
	if err != nil {
		return nil
	}
	var found []string
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		folder := filepath.Join(c.proc, entry.Name())
		files, _ := os.ReadDir(filepath.Join(folder, "fd")) // a process that has ended holds nothing
		if slices.ContainsFunc(files, func(f os.DirEntry) bool {
			fd := filepath.Join(folder, "fd", f.Name())
			target, err := os.Readlink(fd)
			return err == nil && is(fd, target)
		}) {
			name, _ := os.ReadFile(filepath.Join(folder, "comm"))
			found = append(found, fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name))))
		}
	}
	return found
}

// withHolders adds to an *InUseError who uses the device.
func (c *Client) withHolders(err error) error {
	var used *InUseError
	if errors.As(err, &used) {
		if number, ok := c.number(used.Device); ok {
			used.Holders = c.holders(number)
		}
	}
	return err
}
