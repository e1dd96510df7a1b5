package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/vmmigrate/vmmigrate/lifecycle"
)

// lifeReporter tells what happens to clones: a line each for people, or one
// JSON object a line for programs.
type lifeReporter struct {
	session *session
	events  *json.Encoder // nil: no events are wanted
	mu      sync.Mutex    // several clones may be stopped at once
}

func (s *session) lifeReporter() *lifeReporter {
	r := &lifeReporter{session: s}
	if s.json {
		r.events = json.NewEncoder(s.out)
	}
	return r
}

// report is a lifecycle.Manager's Report.
func (r *lifeReporter) report(e lifecycle.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events != nil {
		out := lifeEvent{Event: e.Event, Time: e.Time, VM: e.VM, Disk: e.Disk, Message: e.Message}
		if e.Elapsed > 0 {
			out.Seconds = rounded(e.Elapsed.Seconds())
		}
		// A reader that went away must not leave a guest half stopped.
		_ = r.events.Encode(out)
	}
	if e.Event == lifecycle.Warning {
		line(r.session.err, "%s", printable("vmmigrate: warning: "+lifeLine(e)))
	} else if r.events == nil && !r.session.quiet {
		line(r.session.out, "%s", printable(lifeLine(e)))
	}
}

// lifeLine is an event in words.
func lifeLine(e lifecycle.Event) string {
	who := e.VM
	if e.Disk != "" {
		who += " " + e.Disk
	}
	took := ""
	if e.Elapsed >= 100*time.Millisecond {
		took = " in " + seconds(e.Elapsed)
	}
	switch e.Event {
	case lifecycle.Unlocked:
		return fmt.Sprintf("%s: unlocked%s: %s", who, took, e.Message)
	case lifecycle.Locked:
		return fmt.Sprintf("%s: locked%s", who, took)
	case lifecycle.Mounted:
		return fmt.Sprintf("%s: mounted%s: %s", who, took, e.Message)
	case lifecycle.Unmounted:
		return fmt.Sprintf("%s: unmounted%s: %s", who, took, e.Message)
	case lifecycle.Started:
		return fmt.Sprintf("%s: started%s", who, took)
	case lifecycle.Stopped:
		return fmt.Sprintf("%s: off%s: %s", who, took, e.Message)
	case lifecycle.Stopping:
		return strings.TrimSpace(fmt.Sprintf("%s: waiting for its guest to shut down, %s so far", who, seconds(e.Elapsed)))
	case lifecycle.Unchanged:
		return fmt.Sprintf("%s %s", who, e.Message)
	case lifecycle.HeaderSaved:
		return fmt.Sprintf("%s: header saved to %s", who, e.Message)
	case lifecycle.HeaderRestored:
		return fmt.Sprintf("%s: header restored: %s", who, e.Message)
	case lifecycle.KeyAdded:
		return fmt.Sprintf("%s: key added: %s", who, e.Message)
	case lifecycle.KeyRemoved:
		return fmt.Sprintf("%s: key taken away: %s", who, e.Message)
	case lifecycle.BootEnabled:
		return fmt.Sprintf("%s: is started at boot, %s", who, e.Message)
	case lifecycle.BootDisabled:
		return fmt.Sprintf("%s: autostart is off: %s", who, e.Message)
	case lifecycle.KeyFits:
		return fmt.Sprintf("%s: the key fits: %s", who, e.Message)
	}
	return fmt.Sprintf("%s: %s", who, e.Message)
}

// failed tells of one clone of several that failed.
func (r *lifeReporter) failed(vm string, err error) {
	r.failedOnly(vm, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session.advise(err).write(r.session.err)
}

// failedOnly tells programs; people are told at the end.
func (r *lifeReporter) failedOnly(vm string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events == nil {
		return
	}
	a := r.session.advise(err)
	_ = r.events.Encode(lifeEvent{
		Event: lifecycle.Failed, Time: time.Now(), VM: vm, Error: a.what, ExitCode: a.exit, Next: a.next,
	})
}

// plural counts the clones that failed.
func plural(failed, all int) string {
	if failed == all {
		return fmt.Sprintf("it failed for all %d VMs", all)
	}
	return fmt.Sprintf("it failed for %d of %d VMs", failed, all)
}
