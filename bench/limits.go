package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Where control groups are mounted: version 1 has a folder for each
// controller, version 2 has one tree (Documentation/admin-guide/cgroup-v1/
// blkio-controller.rst and cgroup-v2.rst of the kernel).
const (
	groupsV1 = "/sys/fs/cgroup/blkio"
	groupsV2 = "/sys/fs/cgroup"
)

// slow holds the source's reads and the target's writes and reads to rate
// bytes a second, for this process and those it starts. Memory is faster than
// one processor can copy and hash; with slow devices it is they that limit, as
// they do on real hosts.
func (d *devices) slow(rate int64) error {
	source, err := number(d.source)
	if err != nil {
		return err
	}
	target, err := number(d.target)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("vmmigrate-bench-%d", os.Getpid())
	if _, err := os.Stat(filepath.Join(groupsV1, "cgroup.procs")); err == nil {
		return d.enter(filepath.Join(groupsV1, name), groupsV1, map[string][]string{
			"blkio.throttle.read_bps_device":  {fmt.Sprintf("%s %d", source, rate), fmt.Sprintf("%s %d", target, rate)},
			"blkio.throttle.write_bps_device": {fmt.Sprintf("%s %d", target, rate)},
		})
	}
	if err := os.WriteFile(filepath.Join(groupsV2, "cgroup.subtree_control"), []byte("+io"), 0); err != nil {
		return fmt.Errorf("no control group can limit a device here: %w", err)
	}
	back, err := ownGroup()
	if err != nil {
		return err
	}
	return d.enter(filepath.Join(groupsV2, name), filepath.Join(groupsV2, back), map[string][]string{
		"io.max": {fmt.Sprintf("%s rbps=%d", source, rate), fmt.Sprintf("%s rbps=%d wbps=%d", target, rate, rate)},
	})
}

// enter makes group, sets its limits and moves this process into it; undoing
// moves it to back.
func (d *devices) enter(group, back string, limits map[string][]string) error {
	if err := os.Mkdir(group, 0o755); err != nil {
		return fmt.Errorf("make a control group: %w", err)
	}
	d.later(func(context.Context) error { return os.Remove(group) })
	for file, lines := range limits {
		for _, line := range lines {
			if err := os.WriteFile(filepath.Join(group, file), []byte(line), 0); err != nil {
				return fmt.Errorf("limit a device: %w", err)
			}
		}
	}
	move := func(group string) error {
		return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0)
	}
	d.later(func(context.Context) error { return move(back) })
	return move(group)
}

// ownGroup is this process's group of version 2, below its mount.
func ownGroup() (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return path, nil
		}
	}
	return "", errors.New("this process is in no control group of version 2")
}

// number is a block device's number as control groups write it.
func number(path string) (string, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if s.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", fmt.Errorf("%s is no block device, so it can't be limited", path)
	}
	return fmt.Sprintf("%d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev)), nil
}
