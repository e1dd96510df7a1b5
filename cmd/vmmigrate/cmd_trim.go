package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lifecycle"
)

func (s *session) trimCommand() *cli.Command {
	return &cli.Command{
		Name:  "trim",
		Usage: "see how far a guest's discards get",
		Description: "A discard tells the disk which blocks are no longer in use. On an encrypted volume it\n" +
			"shows whoever has the disk how much of it is in use, and where; it shows nothing of what\n" +
			"is written there.",
		Subcommands: []*cli.Command{s.trimCheckCommand()},
		Action:      groupAction,
	}
}

func (s *session) trimCheckCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "say which layer stops the discards of a clone's guest",
		ArgsUsage: "CLONE",
		Description: "Looks at every layer between the guest and the hardware: the VM's definition, dm-crypt,\n" +
			"the volume and each device below it. Changes nothing.\n\n" +
			"Where the definition says discard='unmap', vmmigrate unlocks with discards allowed, and\n" +
			"notes that in a LUKS2 header for every later unlocking.\n\n" +
			"Examples:\n" +
			"  # Why does fstrim in the guest free nothing?\n" +
			"  vmmigrate trim check imap-luks\n" +
			"  # The same as one document.\n" +
			"  vmmigrate trim check imap-luks --output json",
		Action: s.trimCheck,
	}
}

func (s *session) trimCheck(c *cli.Context) error {
	name, err := oneClone(c)
	if err != nil {
		return err
	}
	m, closeHost, err := s.manager(c.Context, c, nil, looks)
	if err != nil {
		return err
	}
	defer closeHost()
	trim, err := m.CheckTrim(c.Context, name)
	if err != nil {
		return before(err)
	}
	for i := range trim.Disks {
		s.trimNext(trim.VM, &trim.Disks[i])
	}
	if s.json {
		return writeDocument(s.out, trim)
	}
	return s.trimText(trim)
}

// trimNext says what lets the discards of a disk go on from where they stop.
func (s *session) trimNext(vm string, disk *lifecycle.DiskTrim) {
	if disk.Err != nil {
		a := s.advise(disk.Err)
		disk.Problem, disk.Next = a.what, a.next
		return
	}
	switch disk.StopsAt {
	case lifecycle.LayerGuest:
		disk.Next = []string{virsh("edit", vm) + "   # discard='unmap' in the driver element of " + disk.Target}
	case lifecycle.LayerCrypt:
		disk.Next = []string{
			"vmmigrate stop " + named(vm),
			"vmmigrate start " + named(vm) + "   # unlocks with discards allowed",
		}
	case lifecycle.LayerPool:
		for _, layer := range disk.Layers {
			if layer.Layer == lifecycle.LayerVolume {
				vg, _, _ := strings.Cut(layer.Name, "/")
				disk.Next = []string{command.Quote([]string{"lvs", "-o", "+discards,chunk_size", vg})}
			}
		}
	case lifecycle.LayerVolume, lifecycle.LayerDevice:
		for _, layer := range disk.Layers {
			if !layer.Passes && (layer.Layer == lifecycle.LayerVolume || layer.Layer == lifecycle.LayerDevice) {
				path := layer.Name
				if layer.Layer == lifecycle.LayerVolume {
					path = "/dev/" + path
				}
				disk.Next = append(disk.Next, command.Quote([]string{"lsblk", "--discard", "--inverse", path}))
				break
			}
		}
	}
	for i := range disk.Next {
		disk.Next[i] = s.again(disk.Next[i])
	}
}

func (s *session) trimText(trim lifecycle.Trim) error {
	t := s.table("DISK", "LAYER", "NAME", "DISCARDS", "WHY")
	for _, disk := range trim.Disks {
		for i, layer := range disk.Layers {
			target, passes := disk.Target, "pass"
			if i > 0 {
				target = ""
			}
			if !layer.Passes {
				passes = "stop"
			}
			t.add(target, string(layer.Layer), layer.Name, passes, layer.Why)
		}
	}
	if _, err := fmt.Fprintln(s.out, t.text(0)); err != nil {
		return err
	}
	for _, disk := range trim.Disks {
		said := "the guest's discards get down to the hardware"
		switch {
		case disk.Problem != "":
			said = disk.Problem
		case disk.StopsAt == lifecycle.LayerPool:
			said = "the guest's discards give space back to the thin pool, and get no further"
		case disk.StopsAt != "":
			said = fmt.Sprintf("the guest's discards stop at the %s", disk.StopsAt)
		case disk.OnFile():
			said = "the guest's discards give space back to the file system that the volume's file is on"
		}
		line(s.out, "\n%s", printable(disk.Target+": "+said+"."))
		for _, next := range disk.Next {
			line(s.out, "  %s", printable(next))
		}
	}
	return printed(s.out)
}
