package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// colour says whether colours are wanted at all (https://no-color.org).
func colour() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }

// printable takes the control characters out of a name that somebody else
// chose, so that it can't move the cursor, recolour the terminal or (Unicode
// UAX #9) turn the order of the letters around.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// paint puts a text into bold or colour on a terminal.
func (s *session) paint(code, text string) string {
	if _, tty := terminal(s.out); !tty || !colour() {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// The SGR codes in use (ECMA-48, 8.3.117).
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// writePlan prints one plan; again are the flags with which run carries it out.
func (s *session) writePlan(plan *migrate.Plan, estimate migrate.Estimate, again []string) error {
	var b strings.Builder
	s.describe(&b, plan, estimate, again)
	_, err := io.WriteString(s.out, b.String())
	return err
}

func (s *session) describe(b *strings.Builder, plan *migrate.Plan, estimate migrate.Estimate, again []string) {
	say := func(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }
	if plan.Adopted == nil {
		say("%s -> %s", s.paint(bold, printable(plan.VM)), s.paint(bold, printable(plan.Clone.Name)))
	} else {
		say("%s, a new VM made of disk images", s.paint(bold, printable(plan.VM)))
	}
	if len(plan.Disks) > 0 {
		say("")
		t := s.table("DISK", "SOURCE", "FORMAT", "SIZE", "TARGET", "LV SIZE", "HEADER", "MAPPER")
		for _, disk := range plan.Disks {
			volume, size, header := "-", "-", "-"
			if disk.Volume.Placed() {
				volume = disk.Volume.String()
				size, header = humanize.IBytes(uint64(disk.Volume.Size)), humanize.IBytes(uint64(disk.Offset))
			}
			if disk.HeaderFile != "" {
				header = "apart"
			}
			t.add(disk.Target, disk.Source.Path, disk.Source.Format, humanize.IBytes(uint64(disk.Source.Size)), volume, size, header, disk.Mapper)
		}
		say("%s", t.text(2))
	}
	for _, disk := range plan.Disks {
		for i, line := range disk.Source.Images() {
			if i == 0 {
				say("")
				say("  %-11s %s", "Image "+printable(disk.Target), printable(line))
			} else {
				say("  %-11s %s", "  behind it", printable(line))
			}
		}
	}
	for _, disk := range plan.Disks {
		if f := disk.Filesystem; f != nil {
			say("")
			say("  %-11s %s, %s, mounted on %s", "Files "+printable(disk.Target), f.Type, humanize.IBytes(uint64(disk.Payload)), printable(f.Mount))
			say("  %-11s %s (qcow2, %s clusters)", "  image", printable(f.Image), humanize.IBytes(uint64(f.Cluster)))
		}
	}
	for _, disk := range plan.Disks {
		if len(disk.Volume.PVs) > 0 {
			say("")
			say("  %-11s only on %s", "Volume "+printable(disk.Target), printable(strings.Join(disk.Volume.PVs, ", ")))
		}
	}
	for _, disk := range plan.Disks {
		if disk.HeaderFile != "" {
			say("")
			say("  %-11s %s in %s, and nothing of it on the volume", "Header "+printable(disk.Target), humanize.IBytes(uint64(disk.Header)), printable(disk.HeaderFile))
		}
	}
	if len(plan.Kept) > 0 {
		say("")
		t := s.table("STAYS", "KIND", "SOURCE", "WHY")
		for _, kept := range plan.Kept {
			path := kept.Path
			if path == "" {
				path = "-"
			}
			t.add(kept.Target, kept.Device, path, kept.Reason)
		}
		say("%s", t.text(2))
	}
	if len(plan.Disks) > 0 {
		o := plan.Options.LUKS
		say("")
		if a := plan.Adopted; a != nil {
			say("  Definition  %s", printable(a.From))
			if a.FormatAssumed {
				say("  Format      raw, since no --format says otherwise; it is never found by looking")
			}
		}
		say("  Encryption  %s, %s, %d-bit key, %s, %d-byte sectors", o.Type, o.Cipher, o.KeySize, o.Hash, o.Sector)
		say("  Identity    UUID %s%s", plan.Clone.UUID, macs(plan))
		say("  Copy        %s, verify %s%s", humanize.IBytes(uint64(plan.Bytes())), plan.Options.Verify, takes(estimate))
	}
	for _, file := range plan.Firmware.Files {
		say("  %-11s copied from %s to %s", file.What, printable(file.From), printable(file.To))
	}
	writeFindings(b, s.paint, plan)
	say("")
	if len(plan.Blockers) > 0 {
		if plan.Adopted != nil {
			say("Nothing has been changed. This VM can't be made as it is.")
			return
		}
		say("Nothing has been changed. This VM can't be migrated as it is.")
		return
	}
	say("Nothing has been changed. To do it:")
	words := []string{"vmmigrate", "run"}
	if plan.Adopted == nil {
		words = append(words, "--vm", plan.VM)
	}
	say("  %s", printable(s.again(command.Quote(append(words, again...)))))
}

func macs(plan *migrate.Plan) string {
	switch {
	case plan.Options.KeepMAC:
		return ", MAC addresses kept"
	case len(plan.Clone.MACs) > 0:
		return ", MAC " + strings.Join(plan.Clone.MACs, " ")
	}
	return ""
}

func takes(estimate migrate.Estimate) string {
	if estimate.Seconds == 0 {
		return ""
	}
	text := fmt.Sprintf(", at least %s (the source reads at %s", seconds(time.Duration(estimate.Seconds*float64(time.Second))), perSecond(estimate.ReadRate))
	if estimate.CipherRate > 0 {
		text += ", encryption in memory runs at " + perSecond(estimate.CipherRate)
	}
	return text + "; writing was not tried)"
}
