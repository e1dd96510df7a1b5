//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// torment holds what the world has to be like at the end, whatever happens to
// a job on its way.
type torment struct {
	// Before is the world as it was.
	Before world `json:"before"`
	// After is the world as a job leaves it that nothing happened to, without
	// its ids.
	After world `json:"after"`
	// Seconds is how long a job takes.
	Seconds float64 `json:"seconds"`
	// More is what run is told beside the usual.
	More []string `json:"more,omitempty"`
	// Kind is what kind of job it is.
	Kind kind `json:"kind"`
	// ignore is what may differ in the end, or nil.
	ignore *regexp.Regexp
}

// openJob is a job that ends before its disks are locked.
func (t *torment) openJob() []string { return t.runArgs("--stop-after", "define") }

// rehearse runs a job through and back, and learns what has to hold at the end
// of any other one and how long it takes. at is asked at each instant.
func rehearse(of kind, more []string, at func(instant)) (t *torment, err error) {
	t = &torment{Kind: of, More: more}
	if t.Before, err = look(); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := t.through(newPosition(), t.runArgs(), exitDone, at); err != nil {
		return nil, err
	}
	t.Seconds = time.Since(began).Seconds()
	done, err := look()
	if err != nil {
		return nil, err
	}
	t.After = done.alike()
	if _, err := t.payloads(); err != nil {
		return nil, err
	}
	if err := t.undone(t.rollbackArgs("--force")); err != nil {
		return nil, err
	}
	return t, t.asBefore(&result{})
}

// through runs vmmigrate to its end, which has to be as expected.
func (t *torment) through(where *position, args []string, code int, at func(instant)) error {
	o, err := call(args, where, func(now instant) action {
		at(now)
		return goOn
	})
	if err == nil && o.code != code {
		err = errors.New(o.String())
	}
	return err
}

// rehearseRollback returns the instants of a rollback from where most is left
// to undo: the clone is defined, and its disks are not locked yet.
func (t *torment) rehearseRollback() (table []instant, err error) {
	where := newPosition()
	if err := t.through(where, t.openJob(), exitResumable, func(instant) {}); err != nil {
		return nil, err
	}
	if err := t.through(where, t.rollbackArgs(), exitDone, func(now instant) { table = append(table, now) }); err != nil {
		return nil, err
	}
	return table, t.asBefore(&result{})
}

// withRecovery is the same for jobs that have a recovery key. at is asked at the
// instants at which they do something that others don't.
func (t *torment) withRecovery(at func(instant)) (also *torment, err error) {
	also = &torment{Before: t.Before, After: t.After, Kind: recovery}
	if err := also.clearTheWay(); err != nil {
		return nil, err
	}
	err = t.through(newPosition(), also.runArgs("--stop-after", "header-backup"), exitResumable, func(now instant) {
		if now.Step == recoveryStep || strings.HasSuffix(now.What, "intent "+recoveryStep) {
			at(now)
		}
	})
	if err != nil {
		return nil, err
	}
	if err := t.undone(t.rollbackArgs()); err != nil {
		return nil, err
	}
	return also, t.asBefore(&result{})
}

// recoveryStep is the step that only a job with a recovery key has.
const recoveryStep = "recovery-key"

// resumed resumes a job to its end, checks that it is the end of any other
// job, and that a rollback takes all of it away.
func (t *torment) resumed(r *result) error {
	late, err := t.toEnd()
	if err != nil {
		return err
	}
	now, err := look()
	if err != nil {
		return err
	}
	ignore := t.ignore
	if late && ignore == nil {
		// Nothing had to be done any more, so nobody came to sweep away the
		// locks of the one that was killed.
		ignore = regexp.MustCompile(`^(file|folder) ` + stateDir + `/locks`)
	}
	if err := now.alike().differs(t.After, ignore); err != nil {
		return fmt.Errorf("what the job left: %w", err)
	}
	bytes, err := t.payloads()
	if err != nil {
		return err
	}
	r.Bytes += bytes
	if err := t.undone(t.rollbackArgs("--force")); err != nil {
		return fmt.Errorf("the rollback afterwards: %w", err)
	}
	return t.asBefore(r)
}

// toEnd resumes until the job is done, as a person would: again, if a program
// that was left alone was still at work. late is true if it was done already.
func (t *torment) toEnd() (late bool, err error) {
	for range 2 {
		args := t.resumeArgs()
		if !jobBegun() {
			args = t.runArgs()
		}
		if err := t.clearTheWay(); err != nil {
			return false, err
		}
		o, err := plainly(args)
		if err != nil {
			return false, err
		}
		if err := quiet(); err != nil {
			return false, err
		}
		if o.finished() {
			return o.code != exitDone, nil
		}
		if !o.locked() {
			return false, errors.New(o.String())
		}
	}
	return false, errors.New("the job stays locked")
}

// rolledBack rolls a job back, checks that the world is as it was.
func (t *torment) rolledBack(r *result) error {
	if !jobBegun() {
		// There is nothing to roll back. What is left in the state directory
		// goes with the next job.
		o, err := plainly(t.rollbackArgs())
		if err == nil && (o.code != exitRefused || !strings.Contains(o.output, "no job")) {
			err = errors.New(o.String())
		}
		if err != nil {
			return err
		}
		o, err = plainly(t.runArgs("--stop-after", "create-volume"))
		if err == nil && !jobBegun() {
			err = errors.New(o.String())
		}
		if err != nil {
			return err
		}
	}
	args := t.rollbackArgs()
	if jobDefined() {
		// Its disks may be locked by now, and then it can't be seen that it
		// was not started.
		args = t.rollbackArgs("--force")
	}
	if err := t.undone(args); err != nil {
		return err
	}
	return t.asBefore(r)
}

// undone rolls back, again if a program that was left alone was still at work.
func (t *torment) undone(args []string) error {
	for range 2 {
		o, err := plainly(args)
		if err != nil {
			return err
		}
		if err := quiet(); err != nil {
			return err
		}
		if o.code == exitDone {
			return nil
		}
		if !o.locked() {
			return errors.New(o.String())
		}
	}
	return errors.New("the job stays locked")
}

func (t *torment) asBefore(r *result) error {
	if err := quiet(); err != nil {
		return err
	}
	now, err := look()
	if err != nil {
		return err
	}
	if err := now.differs(t.Before, t.ignore); err != nil {
		return fmt.Errorf("what the rollback left: %w", err)
	}
	for _, d := range t.guest().disks {
		r.Bytes += d.size
	}
	return nil
}

// finished says whether a call brought the job to its end, or found it there.
func (o outcome) finished() bool {
	return !o.killed && (o.code == exitDone || o.code == exitRefused && journalSays(`"kind":"end"`))
}

// locked says whether a call was refused since a program that vmmigrate had
// started before it was killed is still at work.
func (o outcome) locked() bool {
	return !o.killed && o.code == exitRefused && strings.Contains(o.output, "left at work")
}

// jobDefined says whether the job came as far as having its clone defined, or
// may have.
func jobDefined() bool { return journalSays(`"kind":"intent","step":"define"`) }
