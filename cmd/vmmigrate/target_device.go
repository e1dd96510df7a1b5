package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// targetDevices reads --target-device: DISK=PATH, or PATH alone.
func targetDevices(c *cli.Context, o *migrate.Options) error {
	for _, word := range c.StringSlice("target-device") {
		disk, path, named := strings.Cut(word, "=")
		if strings.HasPrefix(word, "/") {
			disk, path, named = "", word, false
		}
		switch {
		case named && (disk == "" || path == ""), path == "" && !named:
			return &usageError{reason: fmt.Sprintf("--target-device %q is neither DISK=PATH nor an absolute path", word), command: c.Command.Name}
		case !named && o.Device != "", named && o.Disks[disk].Device != "":
			return &usageError{reason: "--target-device names two devices for one disk", command: c.Command.Name}
		case !named:
			o.Device = path
		default:
			if o.Disks == nil {
				o.Disks = make(map[string]migrate.DiskOptions)
			}
			o.Disks[disk] = migrate.DiskOptions{Device: path}
		}
	}
	if o.Device != "" && len(o.Disks) > 0 {
		return &usageError{reason: "--target-device names a device without a disk and one with; say DISK=PATH for all", command: c.Command.Name}
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
