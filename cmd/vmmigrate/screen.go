package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// screen shows a job to a person. On a terminal there is one bar for the whole
// job, below lines that stay; into a pipe goes a line for each step, and every
// ten seconds one that says how far a copy has come.
type screen struct {
	w     io.Writer
	tty   *os.File // nil: a pipe
	quiet bool     // progress only
	bar   *progressbar.ProgressBar

	// passes are the copies and verifications under way; the bar is about all
	// of them together.
	passes   map[string]migrate.Event
	lastLine time.Time // when a pipe was last told how far it has come
	rollback bool
}

// pipeInterval is how often a pipe is told how far a copy has come.
const pipeInterval = 10 * time.Second

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if tty, ok := terminal(w); ok {
		s.tty = tty
	}
	return s
}

func (s *screen) show(e migrate.Event) {
	switch e.Event {
	case migrate.JobStarted:
		s.begin(e)
	case migrate.StepStarted:
		if len(s.passes) == 0 {
			s.lastLine = e.Time
		}
	case migrate.StepDone:
		s.ended(e)
		s.stepDone(e)
	case migrate.Progress:
		s.progress(e)
	case migrate.Warning:
		s.say("  warning: %s", e.Message)
	case migrate.JobDone:
		s.jobDone(e)
	case migrate.JobFailed:
	}
}

// say prints a line above the bar.
func (s *screen) say(format string, args ...any) {
	if s.quiet {
		return
	}
	bar := s.bar
	if bar != nil {
		_ = bar.Clear() // the line below overwrites whatever is left
	}
	line(s.w, format, args...)
	if bar != nil {
		_ = bar.RenderBlank()
	}
}

func (s *screen) begin(e migrate.Event) {
	s.rollback, s.lastLine = e.Message == "rollback", e.Time
	switch e.Message {
	case "":
		s.say("%s: job %s, %s to copy", e.VM, e.Job, humanize.IBytes(uint64(e.Total)))
	default:
		s.say("%s: job %s, %s", e.VM, e.Job, e.Message)
	}
}

func (s *screen) stepDone(e migrate.Event) {
	if s.rollback && idle(e.Step) {
		return
	}
	name := string(e.Step)
	if e.Disk != "" {
		name = e.Disk + " " + name
	}
	s.say("%s", strings.TrimRight(fmt.Sprintf("  %-18s %7s  %s", name, seconds(e.Duration), printable(e.Message)), " "))
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
	if s.passes == nil {
		s.passes = make(map[string]migrate.Event)
	}
	s.passes[passOf(e)] = e
	if s.tty == nil {
		if e.Time.Sub(s.lastLine) < pipeInterval {
			return
		}
		s.lastLine = e.Time
		for _, key := range slices.Sorted(maps.Keys(s.passes)) {
			s.tellPipe(e.Time, s.passes[key])
		}
		return
	}
	var bytes, total int64
	var rate float64
	var eta time.Duration
	for _, p := range s.passes {
		bytes, total, rate, eta = bytes+min(p.Bytes, p.Total), total+p.Total, rate+p.BytesPerSecond, max(eta, p.ETA)
	}
	if s.bar == nil {
		s.bar = s.newBar(total)
	}
	if s.bar.GetMax64() != max(total, 1) {
		s.bar.ChangeMax64(max(total, 1))
	}
	what := fmt.Sprintf("%s %s %d/%d", e.Step, e.Disk, e.DiskIndex, e.Disks)
	if len(s.passes) > 1 {
		what = fmt.Sprintf("%d disks", len(s.passes))
	}
	s.bar.Describe(s.fit(fmt.Sprintf("  %s  %s  %s", what, shownRate(rate), shownETA(eta))))
	_ = s.bar.Set64(bytes) // it only says that it is finished already
}

// passOf names the copy or verification that an event is about.
func passOf(e migrate.Event) string { return fmt.Sprintf("%s %s %s", e.Job, e.Disk, e.Step) }

// ended takes a pass out of the bar, and the bar away after the last.
func (s *screen) ended(e migrate.Event) {
	delete(s.passes, passOf(e))
	if len(s.passes) == 0 {
		s.clear()
	}
}

func (s *screen) tellPipe(now time.Time, e migrate.Event) {
	percent := 100.0
	if e.Total > 0 {
		percent = 100 * float64(e.Bytes) / float64(e.Total)
	}
	text := fmt.Sprintf("%s  %s: %s %s %d/%d  %s of %s  %.0f%%  %s  %s", now.UTC().Format(time.RFC3339), printable(e.VM), e.Step, e.Disk, e.DiskIndex, e.Disks,
		humanize.IBytes(uint64(e.Bytes)), humanize.IBytes(uint64(e.Total)), percent, shownRate(e.BytesPerSecond), shownETA(e.ETA))
	line(s.w, "%s", strings.TrimRight(text, " "))
}

func shownRate(rate float64) string {
	if rate <= 0 {
		return "..."
	}
	return humanize.IBytes(uint64(rate)) + "/s"
}

func shownETA(eta time.Duration) string {
	if eta <= 0 {
		return ""
	}
	return "ETA " + clock(eta)
}

// barWidth is the bar alone; what stands beside it is about as wide again.
const barWidth = 24

func (s *screen) newBar(total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(max(total, 1),
		progressbar.OptionSetWriter(s.w),
		progressbar.OptionSetWidth(s.room()),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(false), // the engine knows better, after a resume above all
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
	)
}

// room is how wide the bar may be on the terminal as it is now.
func (s *screen) room() int {
	width, _, err := term.GetSize(int(s.tty.Fd()))
	if err != nil || width >= 80 {
		return barWidth
	}
	return max(4, barWidth-(80-width))
}

// fit cuts a description so that bar and text stay on one line: a line that
// wraps can't be drawn over.
func (s *screen) fit(text string) string {
	width, _, err := term.GetSize(int(s.tty.Fd()))
	if err != nil || width <= 0 {
		return text
	}
	const percent = 10 // " 100% " and the bar's own ends
	room := width - s.room() - percent
	if room < 1 {
		return ""
	}
	if len(text) > room {
		return text[:room]
	}
	return text
}

func (s *screen) clear() {
	if s.bar == nil {
		return
	}
	_ = s.bar.Clear() // what is left on the line is overwritten by the next
	s.bar = nil
}

func (s *screen) jobDone(e migrate.Event) {
	if e.Summary == nil {
		s.say("%s: %s in %s", e.VM, e.Message, seconds(e.Duration))
		return
	}
	s.say("")
	s.say("%s is now %s, in %s; the original is as it was.", e.VM, e.Summary.Clone, seconds(e.Duration))
	s.say("")
	t := tableFor(s.w, "DISK", "BYTES", "COPIED IN", "MIN", "MEDIAN", "MAX", "VERIFIED", "DEVICE")
	for _, d := range e.Summary.Disks {
		t.AppendRow(row(d.Target, humanize.IBytes(uint64(d.Bytes)), fmt.Sprintf("%.1f s", d.Seconds), perSecond(d.Min), perSecond(d.Median), perSecond(d.Max), string(d.Verified), d.Device))
	}
	s.say("%s", indent(t.Render()))
	for _, d := range e.Summary.Disks {
		if d.Digest != "" {
			s.say("  %s SHA-256 of its chunks' SHA-256: %s", d.Target, d.Digest)
		}
	}
	s.say("")
	s.say("Next:")
	for _, next := range nextAfter(e.Job, e.Summary) {
		s.say("  %s", next)
	}
}

func perSecond(rate float64) string {
	if rate <= 0 {
		return "-"
	}
	return humanize.IBytes(uint64(rate)) + "/s"
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

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
