//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// result tells of one fault, or of one job with several.
type result struct {
	// Name says what was done.
	Name string `json:"name"`
	// Steps are the steps at which the faults took place, one each.
	Steps []string `json:"steps"`
	// Missed are the faults that did not take place, since the program did
	// not come by.
	Missed []string `json:"missed,omitempty"`
	// Bytes were compared with the source.
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	// Error is what is not as it has to be.
	Error string `json:"error,omitempty"`
}

// fault is a kill at an instant.
type fault struct {
	instant
	during bool
}

func (f fault) String() string {
	if f.during {
		return "during " + f.instant.String()
	}
	return "before " + f.instant.String()
}

func (f fault) action() action {
	if f.during {
		return killDuring
	}
	return killBefore
}

// faultsOf are the kills that a recorded run calls for: one before each
// instant, and one during each that goes on by itself. A kill right after an
// act is one before the next.
func faultsOf(table []instant) []fault {
	var all []fault
	for _, one := range table {
		all = append(all, fault{one, false})
		if one.Lasting {
			all = append(all, fault{one, true})
		}
	}
	return all
}

// killed runs args with a kill at the first of the faults that it comes to, and
// says which it was, or len(faults).
func killed(args []string, where *position, faults []fault) (outcome, int, error) {
	hit := len(faults)
	o, err := call(args, where, func(now instant) action {
		for i, f := range faults {
			if f.String() == (fault{now, f.during}).String() {
				hit = i
				return f.action()
			}
		}
		return goOn
	})
	return o, hit, err
}

// took notes which of the faults took place, and returns those after it.
func (r *result) took(faults []fault, hit int) []fault {
	for _, f := range faults[:hit] {
		r.Missed = append(r.Missed, f.String())
	}
	if hit == len(faults) {
		return nil
	}
	r.Steps = append(r.Steps, faults[hit].Step)
	return faults[hit+1:]
}

// thenResume kills one job at each of the faults in turn, resumes it each time,
// and holds its end against that of a job that nothing happened to.
func (t *torment) thenResume(r *result, faults []fault) error {
	where := newPosition()
	args := t.runArgs()
	var story []string
	waited := false // since the last kill
	for len(faults) > 0 {
		if err := t.clearTheWay(); err != nil {
			return err
		}
		o, hit, err := killed(args, where, faults)
		if err != nil {
			return err
		}
		if o.locked() && !waited {
			// A program that the last kill left alone is still at work.
			if err := quiet(); err != nil {
				return err
			}
			story = append(story, "refused while a program was at work")
			waited = true
			continue
		}
		waited = false
		rest := r.took(faults, hit)
		if o.killed {
			story = append(story, "killed "+faults[hit].String())
		} else if !o.finished() {
			return errors.New(strings.Join(append(story, o.String()), "\n"))
		}
		faults, args = rest, t.resumeArgs()
		if !jobBegun() {
			args = t.runArgs()
		}
	}
	if err := t.resumed(r); err != nil {
		return fmt.Errorf("%w\n%s", err, strings.Join(story, "\n"))
	}
	return nil
}

// thenRollback kills a job at a fault and rolls it back.
func (t *torment) thenRollback(r *result, f fault) error {
	if err := t.clearTheWay(); err != nil {
		return err
	}
	o, hit, err := killed(t.runArgs(), newPosition(), []fault{f})
	if err != nil {
		return err
	}
	r.took([]fault{f}, hit)
	if !o.killed && o.code != exitDone {
		return errors.New(o.String())
	}
	return t.rolledBack(r)
}

// rollbackKilled kills the rollback of a job at each of the faults in
// turn, and rolls back again each time.
func (t *torment) rollbackKilled(r *result, faults []fault, short bool) error {
	where := newPosition()
	job := t.openJob()
	if short {
		job = t.runArgs("--stop-after", "create-volume")
	}
	o, err := call(job, where, func(instant) action { return goOn })
	if err == nil && o.code != exitResumable {
		err = errors.New(o.String())
	}
	if err != nil {
		return err
	}
	waited := false // since the last kill
	for len(faults) > 0 && jobBegun() {
		o, hit, err := killed(t.rollbackArgs(), where, faults)
		if err != nil {
			return err
		}
		if o.locked() && !waited {
			if err := quiet(); err != nil {
				return err
			}
			waited = true
			continue
		}
		waited = false
		faults = r.took(faults, hit)
		if !o.killed && o.code != exitDone {
			return errors.New(o.String())
		}
	}
	r.took(faults, len(faults))
	return t.rolledBack(r)
}

// try times f, and puts the world right if it fails.
func (t *torment) try(name string, f func(*result) error) (result, error) {
	began := time.Now()
	r := result{Name: name}
	err := f(&r)
	r.Seconds = time.Since(began).Seconds()
	if err != nil {
		r.Error = err.Error()
		return r, reset(t.Before)
	}
	return r, nil
}
