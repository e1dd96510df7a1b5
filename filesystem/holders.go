package filesystem

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// maxHolders bounds the list: enough to see what is going on.
const maxHolders = 20

// holders say in words who uses the file system that is mounted at dir. It finds
// what this user may see; what it can't read it leaves out.
func (c *Client) holders(dir string) []string {
	var all []string
	mounts, _ := mountinfo.GetMounts(nil) // no list is none
	for _, m := range mounts {
		if m.Mountpoint != dir && below(m.Mountpoint, dir) {
			all = append(all, "a mount at "+m.Mountpoint)
		}
	}
	files, _ := filepath.Glob(filepath.Join(c.sys, "block/*/loop/backing_file")) // the pattern is well-formed
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && below(strings.TrimSpace(string(text)), dir) {
			all = append(all, "the loop device /dev/"+filepath.Base(filepath.Dir(filepath.Dir(file))))
		}
	}
	all = append(all, c.processes(dir)...)
	if len(all) > maxHolders {
		all = append(all[:maxHolders], fmt.Sprintf("%d more", len(all)-maxHolders))
	}
	return all
}

// processes are those that have a file below dir open or mapped, or are in a
// folder there. It goes by what the kernel calls the files, and never looks at
// them: on a file system that hangs that would not end.
func (c *Client) processes(dir string) []string {
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
		links := []string{filepath.Join(folder, "cwd"), filepath.Join(folder, "root"), filepath.Join(folder, "exe")}
		for _, sub := range []string{"fd", "map_files"} {
			files, _ := os.ReadDir(filepath.Join(folder, sub)) // a process that has ended holds nothing
			for _, file := range files {
				links = append(links, filepath.Join(folder, sub, file.Name()))
			}
		}
		if slices.ContainsFunc(links, func(link string) bool {
			target, err := os.Readlink(link)
			return err == nil && below(target, dir)
		}) {
			name, _ := os.ReadFile(filepath.Join(folder, "comm"))
			found = append(found, fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name))))
		}
	}
	return found
}
