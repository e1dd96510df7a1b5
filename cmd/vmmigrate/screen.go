package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// screen shows jobs to a person. On a terminal there is one bar for all that
// goes on, below lines that stay; into a pipe goes a line for each step, and
// every ten seconds one that says how far the copies have come.
type screen struct {
	w io.Writer
	// told says what of it all is told.
	told told
	// again puts global flags into the commands to type next.
	again func(string) string

	bar      *bar // nil: a pipe
	gauge    gauge
	lastLine time.Time       // when a pipe was last told anything
	rollback map[string]bool // jobs that are being taken back
}

// told says what a screen tells of.
type told struct{ steps, progress, outcome bool }

// pipeInterval is how often a pipe is told how far a copy has come.
const pipeInterval = 10 * time.Second

func newScreen(w io.Writer, told told, again func(string) string) *screen {
	s := &screen{w: w, told: told, again: again, gauge: gauge{vms: make(map[string]bool)}, rollback: make(map[string]bool)}
	if tty, ok := terminal(w); ok && os.Getenv("TERM") != "dumb" {
		s.bar = &bar{tty: tty}
	}
	return s
}

func (s *screen) show(e migrate.Event) {
	switch e.Event {
	case migrate.JobStarted:
		s.begin(e)
	case migrate.StepStarted:
		if len(s.gauge.passes) == 0 {
			s.lastLine = e.Time
		}
	case migrate.StepDone:
		s.gauge.ended(e)
		s.stepDone(e)
		s.settle()
	case migrate.Progress:
		s.progress(e)
	case migrate.Warning:
		of := s.gauge.prefix(e.VM)
		if !s.told.steps {
			of = e.VM + ": " // no line above names it
		}
		s.say(s.told.outcome, "  %swarning: %s", of, e.Message)
	case migrate.JobDone:
		s.gauge.dropped(e.Job)
		s.settle()
		s.jobDone(e)
	case migrate.JobFailed:
		s.gauge.dropped(e.Job)
		s.settle()
	}
}

// say prints a line above the bar, if it is wanted. Names that somebody else
// chose may be among args.
func (s *screen) say(wanted bool, format string, args ...any) {
	s.block(wanted, printable(fmt.Sprintf(format, args...)))
}

// block prints text that was made printable where it was made.
func (s *screen) block(wanted bool, text string) {
	if !wanted {
		return
	}
	s.aside(func() { line(s.w, "%s", text) })
}

// aside lets something print to the same terminal, above the bar.
func (s *screen) aside(print func()) {
	if s.bar == nil {
		print()
		return
	}
	s.bar.aside(print)
}

func (s *screen) begin(e migrate.Event) {
	s.lastLine, s.gauge.vms[e.VM] = e.Time, true
	s.rollback[e.Job] = e.Message == "rollback"
	switch e.Message {
	case "":
		s.say(s.told.steps, "%s: job %s, %s to copy", e.VM, e.Job, humanize.IBytes(uint64(e.Total)))
	default:
		s.say(s.told.steps, "%s: job %s, %s", e.VM, e.Job, e.Message)
	}
}

func (s *screen) stepDone(e migrate.Event) {
	if s.rollback[e.Job] && idle(e.Step) && e.Message == "" {
		return
	}
	name := string(e.Step)
	if e.Disk != "" {
		name = e.Disk + " " + name
	}
	s.say(s.told.steps, "%s", strings.TrimRight(fmt.Sprintf("  %s%-18s %7s  %s", s.gauge.prefix(e.VM), name, seconds(e.Duration), e.Message), " "))
}

// idle says of a step that taking it back is nothing to tell of: what it made
// goes with the volume.
func idle(step migrate.StepName) bool {
	switch step {
	case migrate.Format, migrate.Copy, migrate.Verify, migrate.Close:
		return true
	}
	return false
}

// progress moves the bar, or now and then prints a line.
func (s *screen) progress(e migrate.Event) {
	s.gauge.move(e)
	if !s.told.progress {
		return
	}
	if s.bar != nil {
		s.bar.show(s.gauge.read())
		return
	}
	if e.Time.Sub(s.lastLine) >= pipeInterval {
		s.lastLine = e.Time
		for _, text := range s.gauge.lines(e.Time) {
			line(s.w, "%s", text)
		}
	}
}

// settle takes the bar away when nothing goes on any more.
func (s *screen) settle() {
	if s.bar != nil && len(s.gauge.passes) == 0 {
		s.bar.clear()
	}
}

// clear takes the bar away.
func (s *screen) clear() {
	if s.bar != nil {
		s.bar.clear()
	}
}

func (s *screen) jobDone(e migrate.Event) {
	if e.Summary == nil {
		s.say(s.told.outcome, "%s: %s in %s", e.VM, e.Message, seconds(e.Duration))
		return
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintln(&b, printable(fmt.Sprintf(format, args...))) }
	say("")
	if e.Summary.Adopted {
		say("%s is there, in %s; the images are as they were.", e.Summary.Clone, seconds(e.Duration))
	} else {
		say("%s is now %s, in %s; the original is as it was.", e.VM, e.Summary.Clone, seconds(e.Duration))
	}
	say("")
	t := tableFor(s.w, "DISK", "BYTES", "COPIED IN", "MIN", "MEDIAN", "MAX", "VERIFIED", "DEVICE")
	for _, d := range e.Summary.Disks {
		t.add(d.Target, humanize.IBytes(uint64(d.Bytes)), fmt.Sprintf("%.1f s", d.Seconds), perSecond(d.Min), perSecond(d.Median), perSecond(d.Max), string(d.Verified), d.Device)
	}
	fmt.Fprintln(&b, t.text(2))
	for _, d := range e.Summary.Disks {
		if d.Digest != "" {
			say("  %s SHA-256 of its chunks' SHA-256: %s", d.Target, d.Digest)
		}
	}
	say("")
	say("Next:")
	for _, next := range nextAfter(e.Job, e.Summary) {
		say("  %s", s.again(next))
	}
	s.block(s.told.outcome, strings.TrimSuffix(b.String(), "\n"))
}

func perSecond(rate float64) string {
	if rate <= 0 {
		return "-"
	}
	return humanize.IBytes(uint64(rate)) + "/s"
}

// seconds shows a duration as a person would say it.
func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	default:
		return clock(d)
	}
}

// clock shows a duration as m:ss or h:mm:ss.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
