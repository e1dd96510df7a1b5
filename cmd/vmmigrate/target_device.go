package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// targetDevices reads --target-device.
func targetDevices(c *cli.Context, o *migrate.Options) error {
	return diskPaths(c, "target-device", "device", &o.Device, func(disk, path string) {
		chosen := o.Disks[disk]
		chosen.Device = path
		choose(o, disk, chosen)
	})
}

// headerFiles reads --header.
func headerFiles(c *cli.Context, o *migrate.Options) error {
	return diskPaths(c, "header", "file", &o.Header, func(disk, path string) {
		chosen := o.Disks[disk]
		chosen.Header = path
		choose(o, disk, chosen)
	})
}

func choose(o *migrate.Options, disk string, chosen migrate.DiskOptions) {
	if o.Disks == nil {
		o.Disks = make(map[string]migrate.DiskOptions)
	}
	o.Disks[disk] = chosen
}

// diskPaths reads a flag that is DISK=PATH for each disk, or PATH alone for the
// only one.
func diskPaths(c *cli.Context, flag, what string, only *string, of func(disk, path string)) error {
	seen := make(map[string]bool)
	for _, word := range c.StringSlice(flag) {
		disk, path, named := strings.Cut(word, "=")
		if strings.HasPrefix(word, "/") {
			disk, path, named = "", word, false
		}
		switch {
		case named && (disk == "" || path == ""), path == "" && !named:
			return &usageError{reason: fmt.Sprintf("--%s %q is neither DISK=PATH nor an absolute path", flag, word), command: c.Command.Name}
		case seen[disk]:
			return &usageError{reason: fmt.Sprintf("--%s names two %ss for one disk", flag, what), command: c.Command.Name}
		case !named && len(seen) > 0, named && seen[""]:
			return &usageError{reason: fmt.Sprintf("--%s names a %s without a disk and one with; say DISK=PATH for all", flag, what), command: c.Command.Name}
		case !named:
			*only = path
		default:
			of(disk, path)
		}
		seen[disk] = true
	}
	return nil
}

// confirmDevices has the path typed of each device that is to be overwritten,
// unless --confirm-device has given it: --yes is too easily in a script for a
// disk that vmmigrate did not make.
func (s *session) confirmDevices(c *cli.Context, tasks []migrate.Task) error {
	for _, task := range tasks {
		if task.Done || task.Resume != "" {
			continue
		}
		for _, disk := range task.Plan.Disks {
			if disk.Volume.Kind != migrate.OnDevice {
				continue
			}
			names := []string{disk.Volume.Path, task.Plan.Options.DeviceFor(disk.Target)}
			if slices.ContainsFunc(c.StringSlice("confirm-device"), func(given string) bool { return slices.Contains(names, given) }) {
				continue
			}
			if err := s.confirmDevice(c, disk, names); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) confirmDevice(c *cli.Context, disk migrate.DiskPlan, names []string) error {
	if _, ok := s.terminalIn(); !ok {
		return &usageError{reason: fmt.Sprintf("this overwrites %s, asks for its path before it goes on, and has no terminal to ask on; give --confirm-device %s", names[0], names[0]), command: c.Command.Name}
	}
	typed, err := s.answer(c.Context, fmt.Sprintf("Whatever is on %s (%s) will be overwritten. To go on, type its path: ", printable(names[0]), humanize.IBytes(uint64(disk.Volume.Size))))
	if err == nil && !slices.Contains(names, typed) {
		err = errNotConfirmed
	}
	return err
}
