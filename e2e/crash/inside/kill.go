//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Result tells of one fault, or of a job with several.
type result struct {
	// Name says what was done.
	Name string `json:"name"`
	// Steps are the steps at which it was done.
	Steps []string `json:"steps"`
	// Faults counts the kills that took place, Missed those that did not
	// since the program did not come by.
	Faults int      `json:"faults"`
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

// torment tries faults in a world that is as before.
type torment struct {
	before world // as it was
	after  world // as a job leaves it, without the ids
	// forced has rollbacks told --force, which a finished, locked clone needs.
	say func(string)
}

// rehearse runs a job through and returns its instants and those of its
// rollback, and the world it leaves.
func rehearse() (t *torment, forward, backward []instant, err error) {
	t = &torment{}
	if t.before, err = look(); err != nil {
		return nil, nil, nil, err
	}
	where := newPosition()
	noted := func(into *[]instant) func(instant) action {
		return func(now instant) action {
			*into = append(*into, now)
			return goOn
		}
	}
	o, err := call(runArgs(), where, noted(&forward))
	if err == nil && o.code != exitDone {
		err = errors.New(o.String())
	}
	if err != nil {
		return nil, nil, nil, err
	}
	done, err := look()
	if err != nil {
		return nil, nil, nil, err
	}
	t.after = done.alike()
	if _, err := payloads(); err != nil {
		return nil, nil, nil, err
	}
	o, err = call(rollbackArgs("--force"), where, noted(&backward))
	if err == nil && o.code != exitDone {
		err = errors.New(o.String())
	}
	if err != nil {
		return nil, nil, nil, err
	}
	now, err := look()
	if err == nil {
		err = now.differs(t.before)
	}
	return t, forward, backward, err
}

// try runs what tests a fault, times it, and puts the world right after a
// failure.
func (t *torment) try(name string, f func(*result) error) (result, error) {
	began := time.Now()
	r := result{Name: name}
	if err := f(&r); err != nil {
		r.Error = err.Error()
		if err := reset(t.before); err != nil {
			return r, err
		}
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// killed runs args with kills at the first of the faults that it comes to, and
// says which it was, or len(faults).
func killed(args []string, where *position, faults []fault) (outcome, int, error) {
	hit := len(faults)
	o, err := call(args, where, func(now instant) action {
		for i, f := range faults {
			if f.key() == now.key() {
				hit = i
				return f.action()
			}
		}
		return goOn
	})
	return o, hit, err
}

// thenResume kills one job at each of the faults in turn, resumes it each time,
// and holds its end against that of a job that nothing happened to.
func (t *torment) thenResume(r *result, faults []fault) error {
	where := newPosition()
	var story []string
	args := runArgs()
	for left := faults; ; {
		o, hit, err := killed(args, where, left)
		if err != nil {
			return err
		}
		for _, f := range left[:min(hit, len(left))] {
			r.Missed = append(r.Missed, f.String())
		}
		if !o.killed {
			if o.locked() && running() != nil {
				if err := quiet(); err != nil {
					return err
				}
				where.process()
				continue
			}
			story = append(story, o.String())
			if o.code == exitDone || o.code == exitRefused && jobDone() {
				break
			}
			return errors.New(strings.Join(story, "\n"))
		}
		f := left[hit]
		r.Faults++
		r.Steps = append(r.Steps, f.Step)
		story = append(story, "killed "+f.String())
		left = left[hit+1:]
		if args = resumeArgs(); !jobBegun() {
			args = runArgs()
		}
		if f.during {
			time.Sleep(0)
		}
	}
	if err := t.finished(r); err != nil {
		return fmt.Errorf("%w\n%s", err, strings.Join(story, "\n"))
	}
	if err := t.undone(nil, rollbackArgs("--force")); err != nil {
		return fmt.Errorf("the rollback after it: %w\n%s", err, strings.Join(story, "\n"))
	}
	return nil
}

// finished checks what has to hold once a job is done.
func (t *torment) finished(r *result) error {
	if err := quiet(); err != nil {
		return err
	}
	now, err := look()
	if err != nil {
		return err
	}
	if err := now.alike().differs(t.after); err != nil {
		return err
	}
	bytes, err := payloads()
	r.Bytes += bytes
	return err
}

// thenRollback kills a job at a fault and rolls it back.
func (t *torment) thenRollback(r *result, f fault) error {
	o, hit, err := killed(runArgs(), newPosition(), []fault{f})
	if err != nil {
		return err
	}
	if hit > 0 {
		r.Missed = append(r.Missed, f.String())
		if o.code != exitDone {
			return errors.New(o.String())
		}
	} else {
		r.Faults++
		r.Steps = append(r.Steps, f.Step)
	}
	if !jobBegun() {
		// There is nothing to roll back, and what the kill left in the state
		// directory goes with the next job.
		if o, err := plainly(rollbackArgs()); err != nil || o.code != exitRefused {
			return fmt.Errorf("the rollback of a job that had not begun: %v %w", o, err)
		}
		if o, err := plainly(runArgs("--stop-after", "create-volume")); err != nil || !jobBegun() {
			return fmt.Errorf("the next job: %v %w", o, err)
		}
	}
	args := rollbackArgs()
	if hit > 0 || f.Step == "close" || f.Step == "end" {
		// Its disks are locked, so it can't be seen that it was not started.
		args = rollbackArgs("--force")
	}
	return t.undone(r, args)
}

// undone rolls back, and checks that the world is as it was.
func (t *torment) undone(r *result, args []string) error {
	o, err := plainly(args)
	if err == nil && o.locked() {
		if err = quiet(); err == nil {
			o, err = plainly(args)
		}
	}
	if err != nil {
		return err
	}
	if o.code != exitDone {
		return errors.New(o.String())
	}
	return t.asBefore(r)
}

func (t *torment) asBefore(r *result) error {
	if err := quiet(); err != nil {
		return err
	}
	now, err := look()
	if err != nil {
		return err
	}
	if r != nil {
		for _, d := range disks {
			r.Bytes += d.size
		}
	}
	return now.differs(t.before)
}

// rollbackKilled kills the rollback of a finished job at each of the faults in
// turn, and rolls back again each time.
func (t *torment) rollbackKilled(r *result, faults []fault) error {
	where := newPosition()
	o, err := call(runArgs(), where, func(instant) action { return goOn })
	if err == nil && o.code != exitDone {
		err = errors.New(o.String())
	}
	if err != nil {
		return err
	}
	for left := faults; jobBegun(); {
		o, hit, err := killed(rollbackArgs("--force"), where, left)
		if err != nil {
			return err
		}
		for _, f := range left[:min(hit, len(left))] {
			r.Missed = append(r.Missed, f.String())
		}
		if o.killed {
			r.Faults++
			r.Steps = append(r.Steps, left[hit].Step)
			left = left[hit+1:]
			continue
		}
		if o.locked() {
			if err := quiet(); err != nil {
				return err
			}
			continue
		}
		if o.code != exitDone {
			return errors.New(o.String())
		}
		break
	}
	// What is left in the state directory goes with the next job.
	if o, err := plainly(runArgs("--stop-after", "create-volume")); err != nil || !jobBegun() {
		return fmt.Errorf("the next job: %v %w", o, err)
	}
	return t.undone(r, rollbackArgs())
}
