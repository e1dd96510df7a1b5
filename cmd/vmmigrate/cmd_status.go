package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lifecycle"
)

func (s *session) statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show how clones stand: locked, unlocked or running, and what is wrong",
		ArgsUsage: "[CLONE...]",
		Description: "Changes nothing. A disk's row shows its volume, whether it is open, cipher, key slots,\n" +
			"the age of the newest header backup that is known of, whether discards pass, and what\n" +
			"has become of the original. What is wrong with a disk stands below, with the command\n" +
			"that helps.\n\n" +
			"Examples:\n" +
			"  # All clones of this host.\n" +
			"  vmmigrate status\n" +
			"  # One document for a monitor: is there a clone without a header backup?\n" +
			"  vmmigrate status --output json",
		Action: s.status,
	}
}

func (s *session) status(c *cli.Context) error {
	if err := checkCloneNames(c, false); err != nil {
		return err
	}
	m, closeHost, err := s.manager(c.Context, c, nil, looks)
	if err != nil {
		return err
	}
	defer closeHost()
	report, err := m.Look(c.Context, c.Args().Slice()...)
	if err != nil {
		return before(err)
	}
	s.explainDisks(&report)
	if s.json {
		return writeDocument(s.out, report)
	}
	return s.statusText(report, time.Now())
}

// explainDisks says in words what is wrong with each disk.
func (s *session) explainDisks(report *lifecycle.Report) {
	for i := range report.Clones {
		disks := report.Clones[i].Disks
		for j := range disks {
			if disks[j].Err != nil {
				a := s.advise(disks[j].Err)
				disks[j].Problem, disks[j].Next = a.what, a.next
			}
		}
	}
}

func (s *session) statusText(report lifecycle.Report, now time.Time) error {
	if len(report.Clones) == 0 {
		line(s.out, "There are no clones on this host.")
	} else {
		t := s.table("VM", "STATE", "DISK", "VOLUME", "LUKS", "SLOTS", "HEADER BACKUP", "DISCARD", "ORIGINAL")
		for _, clone := range report.Clones {
			for i, disk := range clone.Disks {
				row := statusRow(disk, now)
				name, state, original := clone.Name, string(clone.Access), clone.Original.Name+", "+string(clone.Original.State)
				if clone.Original.State == lifecycle.OriginalImages {
					original = "none, made of images"
				}
				if i > 0 {
					name, state, original = "", "", ""
				}
				t.add(append(append([]string{name, state}, row...), original)...)
			}
		}
		if _, err := fmt.Fprintln(s.out, t.text(0)); err != nil {
			return err
		}
	}
	for _, clone := range report.Clones {
		for _, disk := range clone.Disks {
			s.statusNotes(clone, disk)
		}
		s.bootNotes(clone)
		if clone.Autostart && clone.Boot == nil {
			line(s.out, "\n%s", printable(clone.Name+" is marked to start with the host, which fails while its disks are locked."))
		}
	}
	for _, lost := range report.LostBoots {
		line(s.out, "\n%s", printable(fmt.Sprintf("%s is set up to start at boot, by %s, and there is no such VM any more.", lost.Clone, lost.Unit)))
		line(s.out, "  %s", printable(s.again("vmmigrate autostart disable "+named(lost.Clone))))
	}
	if report.BootProblem != "" {
		line(s.out, "\n%s", printable("What is set up for boot can't be read in full: "+report.BootProblem+"."))
	}
	for _, orphan := range report.Orphans {
		line(s.out, "\n%s", printable(fmt.Sprintf("%s/%s (%s) was made by job %s and belongs to no VM: its clone was undefined, or the job is not done.",
			orphan.VG, orphan.LV, humanize.IBytes(uint64(orphan.Size)), orphan.Job)))
		if orphan.Definition != "" {
			line(s.out, "  %s", printable(command.Quote([]string{"virsh", "define", orphan.Definition})+"   # brings the clone back"))
		}
		line(s.out, "  %s", s.again("vmmigrate jobs"))
	}
	return printed(s.out)
}

// bootNotes say below the table how a clone is unlocked at boot, and what is
// wrong with it.
func (s *session) bootNotes(clone lifecycle.Status) {
	b := clone.Boot
	if b == nil {
		return
	}
	how := string(b.Method)
	if b.With != "" {
		how += " " + b.With
	}
	line(s.out, "\n%s", printable(fmt.Sprintf("%s is unlocked at boot by %s and started by %s.", clone.Name, how, b.Unit)))
	for _, problem := range b.Problems {
		line(s.out, "  %s", printable("broken: "+problem))
	}
	if len(b.Problems) > 0 {
		line(s.out, "  %s", printable(s.again("vmmigrate autostart enable "+named(clone.Name)+" --unlock "+command.Quote([]string{b.Again})+"   # mends what it wrote")))
	}
}

// statusRow is a disk's part of a row.
func statusRow(disk lifecycle.DiskStatus, now time.Time) []string {
	access := "locked"
	switch {
	case disk.Open:
		access = "open"
	case disk.Filesystem != nil && disk.Filesystem.Unlocked:
		access = "open, not mounted"
	case disk.OpenAs != "":
		access = "open as " + disk.OpenAs
	}
	cipher, slots := "-", "-"
	if disk.Cipher != "" {
		cipher = fmt.Sprintf("%s %s %d", disk.Type, disk.Cipher, disk.KeySize)
		var ids []string
		for _, slot := range disk.KeySlots {
			ids = append(ids, strconv.Itoa(slot.Slot))
		}
		slots = strings.Join(ids, ",")
	}
	backup := "none known"
	if b := disk.Backup; b != nil {
		backup = age(now.Sub(b.Made))
		if !b.There {
			backup += ", moved away"
		}
	}
	return []string{disk.Target + " " + access, disk.Volume, cipher, slots, backup, discards(disk)}
}

func discards(disk lifecycle.DiskStatus) string {
	d := disk.Discard
	switch {
	case disk.Filesystem != nil && d.VM && !d.Crypt:
		return "freed on its file system"
	case d.VM && d.Crypt:
		return "passed"
	case d.VM:
		return "stopped by dm-crypt"
	case d.Crypt:
		return "not by the VM"
	}
	return "no"
}

// age is how long ago something was, in the largest unit that fits.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min old", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%d h old", int(d.Hours()))
	}
	return fmt.Sprintf("%d days old", int(d/day))
}

// statusNotes says below the table what is wrong with a disk.
func (s *session) statusNotes(clone lifecycle.Status, disk lifecycle.DiskStatus) {
	who := clone.Name + " " + disk.Target
	if disk.RecordedVolume != "" {
		line(s.out, "\n%s", printable(fmt.Sprintf("%s: its volume is called %s now and not %s; it was found by its LUKS UUID.", who, disk.Volume, disk.RecordedVolume)))
	}
	if f := disk.Filesystem; f != nil && f.Mounted {
		line(s.out, "\n%s", printable(fmt.Sprintf("%s: an image on %s, mounted on %s: %s of %s are free.", who, f.Type, f.Mount, humanize.IBytes(uint64(f.Free)), humanize.IBytes(uint64(f.Size)))))
	}
	if disk.Err == nil {
		if disk.HeaderFile != "" {
			line(s.out, "\n%s", printable(fmt.Sprintf("%s: its LUKS header is in %s, apart from the volume.", who, disk.HeaderFile)))
		}
		return
	}
	a := s.advise(disk.Err)
	line(s.out, "\n%s", printable(who+": "+a.what+"."))
	for _, text := range append(a.details, a.next...) {
		line(s.out, "  %s", printable(text))
	}
}
