package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// reporter tells what happens to a job: as lines and a bar for people, or as
// one JSON object a line for programs.
type reporter struct {
	session *session
	events  *json.Encoder // nil: no events are wanted
	screen  *screen
	mu      sync.Mutex // several jobs may report, and fail, at once
}

var _ migrate.Reporter = (*reporter)(nil)

func (s *session) reporter() *reporter {
	r := &reporter{session: s, screen: newScreen(s.people(), told{steps: !s.quiet, progress: !s.quiet, outcome: true}, s.again)}
	if s.json {
		r.events = json.NewEncoder(s.out)
		r.events.SetEscapeHTML(false)
	}
	return r
}

// progressOnly shows how far a command has come, and nothing else.
func (s *session) progressOnly() *reporter {
	return &reporter{session: s, screen: newScreen(s.err, told{progress: !s.quiet}, s.again)}
}

// Report implements migrate.Reporter.
func (r *reporter) Report(e migrate.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.screen.show(e)
	if r.events == nil {
		return
	}
	out := event{Event: e.Event, Time: e.Time, Job: e.Job, VM: e.VM, Step: e.Step, Disk: e.Disk, Message: e.Message}
	switch e.Event {
	case migrate.StepDone, migrate.JobDone:
		out.Seconds = rounded(e.Duration.Seconds())
	case migrate.Progress:
		rate := int64(e.BytesPerSecond)
		out.Bytes, out.Total, out.BytesPerSecond = &e.Bytes, &e.Total, &rate
		if e.ETA >= 0 {
			eta := int64(math.Ceil(e.ETA.Seconds()))
			out.ETASeconds = &eta
		}
	case migrate.JobStarted, migrate.StepStarted, migrate.Warning, migrate.JobFailed:
	}
	if e.Summary != nil {
		out.Clone = e.Summary.Clone
		for _, d := range e.Summary.Disks {
			out.Disks = append(out.Disks, diskResult{
				d.Target, d.Device, d.Bytes, *rounded(d.Seconds), int64(d.Min), int64(d.Median), int64(d.Max), d.Digest, d.Verified,
			})
		}
	}
	r.emit(out)
}

func (r *reporter) emit(out event) {
	// A reader that went away must not stop a migration; its end is told by
	// the exit code, and its state by the journal.
	_ = r.events.Encode(out)
}

// failed tells how a job failed: on the terminal in full, as an event in short.
func (r *reporter) failed(job, vm string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	advice := r.session.advise(err)
	r.screen.show(migrate.Event{Event: migrate.JobFailed, Job: job, VM: vm})
	r.screen.aside(func() { advice.write(r.session.err) })
	if r.events == nil {
		return
	}
	out := event{
		Event: migrate.JobFailed, Time: time.Now(), Job: job, VM: vm, Error: advice.what, Step: advice.step,
		ExitCode: advice.exit, Next: append([]string{}, advice.next...),
	}
	r.emit(out)
}

// end takes the bar away.
func (r *reporter) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.screen.clear()
}

func rounded(seconds float64) *float64 {
	seconds = math.Round(seconds*1000) / 1000
	return &seconds
}

// line is one line of text for people.
func line(w io.Writer, format string, args ...any) {
	// Where not even a line can be printed, there is nobody to tell.
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}
