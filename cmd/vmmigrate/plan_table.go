package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// overview shows the plans of several VMs: a table with a row for each disk,
// the room in the volume groups, and below it what each VM needs.
type overview struct {
	facts     *migrate.Facts
	tasks     []migrate.Task
	plans     []*migrate.Plan
	estimates []migrate.Estimate
	// table makes a listing for where this goes, and paint colours a text
	// where it may be coloured.
	table func(headings ...string) *listing
	paint func(code, text string) string
	// carryOut is the command that carries the plans out.
	carryOut string
}

// outcome is the word for what a plan comes to, and its colour.
func (v *overview) outcome(i int) (word, code string) {
	switch {
	case v.tasks[i].Resume != "":
		return "to resume", yellow
	case v.tasks[i].Done, v.plans[i].Result() == migrate.ResultDone:
		return "done", green
	case v.plans[i].Result() == migrate.ResultBlocked:
		return "blocked", red
	}
	return "ready", green
}

func (v *overview) text() string {
	if len(v.plans) == 0 {
		return "There are no VMs.\n"
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("%s", v.rows().text(0))
	if room := v.room(); len(room) > 0 {
		say("")
		for _, line := range room {
			say("%s", line)
		}
	}
	for i := range v.plans {
		v.notes(&b, i)
	}
	say("")
	say("%s", v.sum())
	if basis := v.basis(); basis != "" {
		say("%s", basis)
	}
	say("")
	v.next(say)
	return b.String()
}

// rows is the table. Where it is too wide for the terminal it does without the
// state, which is told again where it matters.
func (v *overview) rows() *listing {
	t := v.rowsWith(true)
	if !t.fitsTable() {
		return v.rowsWith(false)
	}
	return t
}

func (v *overview) rowsWith(withState bool) *listing {
	headings := []string{"VM", "STATE", "DISK", "SIZE", "TARGET", "FITS", "TIME", "RESULT"}
	columns := func(cells ...string) []string {
		if !withState {
			cells = slices.Delete(cells, 1, 2)
		}
		return cells
	}
	t := v.table(columns(headings...)...)
	t.paint = func(column int, cell string) string {
		if column != len(t.headings)-1 {
			return cell
		}
		switch cell {
		case "blocked":
			return v.paint(red, cell)
		case "to resume":
			return v.paint(yellow, cell)
		}
		return v.paint(green, cell)
	}
	for i, plan := range v.plans {
		state := "-"
		for _, domain := range v.facts.Domains {
			if domain.Name == plan.VM {
				state = string(domain.State)
			}
		}
		word, _ := v.outcome(i)
		takes := "-"
		if s := v.estimates[i].Seconds; s > 0 && word == "ready" {
			takes = seconds(time.Duration(s * float64(time.Second)))
		}
		if len(plan.Disks) == 0 {
			t.add(columns(plan.VM, state, "-", "-", "-", "-", takes, word)...)
		}
		for d, disk := range plan.Disks {
			if d > 0 {
				takes = "" // it is the VM's, and said once
			}
			target := "-"
			if disk.Volume.Placed() {
				target = disk.Volume.String()
			}
			t.add(columns(plan.VM, state, disk.Target, humanize.IBytes(uint64(disk.Source.Size)), target, fits(plan, disk), takes, word)...)
		}
	}
	return t
}

// fits says whether there is room for a disk, with all those before it.
func fits(plan *migrate.Plan, disk migrate.DiskPlan) string {
	full := func(f migrate.Finding) bool { return f.Code == migrate.VGFull && f.Disk == disk.Target }
	switch {
	case slices.ContainsFunc(plan.Blockers, full):
		return "no"
	case !disk.Volume.Placed():
		return "-"
	}
	return "yes"
}

// room says of each volume group how much of it the whole batch takes.
func (v *overview) room() []string {
	var lines []string
	for _, vg := range v.facts.VGs {
		var takes int64
		for _, plan := range v.plans {
			for _, disk := range plan.Disks {
				if disk.Volume.VG == vg.Name {
					takes += disk.Volume.Extents * vg.ExtentSize
				}
			}
		}
		if takes == 0 {
			continue
		}
		line := fmt.Sprintf("Room in %s: %s of %s free are taken by all of these", printable(vg.Name), humanize.IBytes(uint64(takes)), humanize.IBytes(uint64(vg.Free)))
		if takes > vg.Free {
			line = v.paint(red, fmt.Sprintf("Room in %s: %s are needed for all of these, and %s are free", printable(vg.Name), humanize.IBytes(uint64(takes)), humanize.IBytes(uint64(vg.Free))))
		}
		lines = append(lines, line)
	}
	return lines
}

// notes are the warnings and blockers of one VM.
func (v *overview) notes(b *strings.Builder, i int) {
	plan := v.plans[i]
	word, code := v.outcome(i)
	if len(plan.Warnings) == 0 && len(plan.Blockers) == 0 {
		return
	}
	if word == "done" {
		fmt.Fprintf(b, "\n%s\n  %s  %s\n", v.paint(bold, printable(plan.VM)), v.paint(code, "Done      "), printable(plan.Blockers[0].Message))
		return
	}
	fmt.Fprintf(b, "\n%s\n", v.paint(bold, printable(plan.VM)))
	if resume := v.tasks[i].Resume; resume != "" {
		fmt.Fprintf(b, "  %s  run goes on with its job %s\n", v.paint(code, "To resume "), resume)
		return
	}
	writeFindings(b, v.paint, plan)
}

// writeFindings are a plan's warnings and blockers, each with what removes it.
func writeFindings(b *strings.Builder, paint func(code, text string) string, plan *migrate.Plan) {
	for _, warning := range plan.Warnings {
		fmt.Fprintf(b, "  %s  %s\n", paint(yellow, "Warning   "), printable(warning.String()))
	}
	for _, blocker := range plan.Blockers {
		fmt.Fprintf(b, "  %s  %s\n", paint(red, "Blocked   "), printable(blocker.Message))
		if blocker.Remedy != "" {
			fmt.Fprintf(b, "              %s\n", printable(blocker.Remedy))
		}
	}
}

// sum counts what the plans come to.
func (v *overview) sum() string {
	counts := make(map[string]int)
	var total float64
	known := true
	for i := range v.plans {
		word, _ := v.outcome(i)
		counts[word]++
		if word == "ready" {
			total += v.estimates[i].Seconds
			known = known && v.estimates[i].Seconds > 0
		}
	}
	var parts []string
	for _, word := range []string{"ready", "to resume", "done", "blocked"} {
		if counts[word] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[word], word))
		}
	}
	text := strings.Join(parts, ", ") + "."
	if known && counts["ready"] > 1 {
		text += fmt.Sprintf(" One after the other the ready ones take at least %s.", seconds(time.Duration(total*float64(time.Second))))
	}
	return text
}

// basis says what the estimates rest on.
func (v *overview) basis() string {
	slowest, cipher := 0.0, 0.0
	for _, e := range v.estimates {
		if e.ReadRate > 0 && (slowest == 0 || e.ReadRate < slowest) {
			slowest = e.ReadRate
		}
		if e.CipherRate > 0 && (cipher == 0 || e.CipherRate < cipher) {
			cipher = e.CipherRate
		}
	}
	if slowest == 0 {
		return ""
	}
	text := "The times rest on a short read of each physical device (the slowest: " + perSecond(slowest) + ")"
	if cipher > 0 {
		text += " and on encryption in memory (" + perSecond(cipher) + ")"
	} else {
		text += "; encryption could not be measured"
	}
	return text + "; writing was not tried."
}

// next says how the plans are carried out, or what keeps them from it.
func (v *overview) next(say func(format string, args ...any)) {
	blocked, todo := 0, 0
	for i := range v.plans {
		switch word, _ := v.outcome(i); word {
		case "blocked":
			blocked++
		case "ready", "to resume":
			todo++
		}
	}
	switch {
	case blocked > 0:
		say("Nothing has been changed. As long as something is in the way of one of them, run refuses them")
		say("all; name the others with --vm, or save the plan with --save FILE and skip the blocked ones in it.")
	case todo == 0:
		say("Nothing has been changed, and nothing is left to do.")
	default:
		say("Nothing has been changed. To do it:")
		say("  %s", printable(v.carryOut))
	}
}

// writeOverview prints the plans of several VMs.
func (s *session) writeOverview(v *overview, names, again []string) error {
	argv := []string{"vmmigrate", "run"}
	for _, name := range names {
		argv = append(argv, "--vm", name)
	}
	if len(names) == 0 {
		argv = append(argv, "--all")
	}
	v.carryOut = s.again(command.Quote(append(argv, again...)))
	v.table, v.paint = s.table, s.paint
	_, err := io.WriteString(s.out, v.text())
	return err
}
