package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// gauge adds up what goes on at once: several disks of a VM, or several VMs,
// are read side by side and shown as one bar.
type gauge struct {
	passes []pass
	// vms counts the VMs that were ever shown, to know whether a name tells
	// anything.
	vms map[string]bool
}

// pass is one step of one disk, as far as it has come.
type pass struct {
	migrate.Event
	done bool
}

// reading is what a gauge shows.
type reading struct {
	what         string
	bytes, total int64
	rate, eta    string
}

func (g *gauge) move(e migrate.Event) {
	for i := range g.passes {
		if p := &g.passes[i]; p.same(e) {
			p.Event = e
			return
		}
	}
	g.passes = append(g.passes, pass{Event: e})
}

// ended takes note that a step of a disk has ended. What has ended still counts
// while something else goes on, so that the bar never jumps back.
func (g *gauge) ended(e migrate.Event) {
	active := false
	for i := range g.passes {
		p := &g.passes[i]
		if p.same(e) {
			p.done, p.Bytes = true, p.Total
		}
		active = active || !p.done
	}
	if !active {
		g.passes = nil
	}
}

// dropped forgets a job that has ended, however it did.
func (g *gauge) dropped(job string) {
	for _, p := range g.passes {
		if p.Job == job {
			g.ended(p.Event)
		}
	}
}

func (p pass) same(e migrate.Event) bool {
	return p.Job == e.Job && p.Step == e.Step && p.Disk == e.Disk
}

func (g *gauge) read() reading {
	var r reading
	var rate float64
	var eta time.Duration
	var active []pass
	for _, p := range g.passes {
		r.bytes, r.total = r.bytes+min(p.Bytes, p.Total), r.total+p.Total
		if p.done {
			continue
		}
		active = append(active, p)
		rate += p.BytesPerSecond
		if p.ETA < 0 || eta < 0 {
			eta = -1
		} else {
			eta = max(eta, p.ETA)
		}
	}
	switch len(active) {
	case 0:
		return r
	case 1:
		p := active[0]
		r.what = g.prefix(p.VM) + p.what()
	default:
		r.what = fmt.Sprintf("%d disks", len(active))
	}
	r.what, r.rate, r.eta = printable(r.what), shownRate(rate), shownETA(eta)
	return r
}

// lines are for a pipe: one for each disk that is being read.
func (g *gauge) lines(now time.Time) []string {
	var lines []string
	for _, p := range g.passes {
		if p.done {
			continue
		}
		percent := 100.0
		if p.Total > 0 {
			percent = 100 * float64(p.Bytes) / float64(p.Total)
		}
		text := fmt.Sprintf("%s  %s: %s  %s of %s  %.0f%%  %s  %s", now.UTC().Format(time.RFC3339), p.VM, p.what(),
			humanize.IBytes(uint64(p.Bytes)), humanize.IBytes(uint64(p.Total)), percent, shownRate(p.BytesPerSecond), shownETA(p.ETA))
		lines = append(lines, strings.TrimRight(printable(text), " "))
	}
	return lines
}

func (p pass) what() string { return fmt.Sprintf("%s %s %d/%d", p.Step, p.Disk, p.DiskIndex, p.Disks) }

func shownRate(rate float64) string {
	if rate <= 0 {
		return "..."
	}
	return perSecond(rate)
}

func shownETA(eta time.Duration) string {
	if eta <= 0 {
		return ""
	}
	return "ETA " + clock(eta)
}

// prefix names the VM in front of what is said of it, if there are several.
func (g *gauge) prefix(vm string) string {
	if len(g.vms) < 2 {
		return ""
	}
	return vm + ": "
}
