//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// torment holds what the world has to be like at the end, whatever happens to
// a job on its way.
type torment struct {
	// Before is the world as it was.
	Before world `json:"before"`
	// After is the world as a job leaves it that nothing happened to, without
	// its ids.
	After world `json:"after"`
	// More is what run is told beside the usual.
	More []string `json:"more,omitempty"`
	// ignore is what may differ in the end, or nil.
	ignore *regexp.Regexp
}

// openJob is a job that ends before its disks are locked.
func (t *torment) openJob() []string { return t.runArgs("--stop-after", "define") }

// rehearse runs a job through and back, and returns the instants of both.
func rehearse(more ...string) (t *torment, forward, backward []instant, err error) {
	t = &torment{More: more}
	if t.Before, err = look(); err != nil {
		return nil, nil, nil, err
	}
	where := newPosition()
	through := func(args []string, into *[]instant, code int) error {
		o, err := call(args, where, func(now instant) action {
			*into = append(*into, now)
			return goOn
		})
		if err == nil && o.code != code {
			err = errors.New(o.String())
		}
		return err
	}
	if err := through(t.runArgs(), &forward, exitDone); err != nil {
		return nil, nil, nil, err
	}
	done, err := look()
	if err != nil {
		return nil, nil, nil, err
	}
	t.After = done.alike()
	if _, err := payloads(); err != nil {
		return nil, nil, nil, err
	}
	if err := t.undone(rollbackArgs("--force")); err != nil {
		return nil, nil, nil, err
	}
	// Back from where most is left to undo: its disks are not locked yet.
	var again []instant
	if err := through(t.openJob(), &again, exitResumable); err != nil {
		return nil, nil, nil, err
	}
	if err := through(rollbackArgs(), &backward, exitDone); err != nil {
		return nil, nil, nil, err
	}
	return t, forward, backward, t.asBefore(&result{})
}

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
	bytes, err := payloads()
	if err != nil {
		return err
	}
	r.Bytes += bytes
	if err := t.undone(rollbackArgs("--force")); err != nil {
		return fmt.Errorf("the rollback afterwards: %w", err)
	}
	return t.asBefore(r)
}

// toEnd resumes until the job is done, as a person would: again, if a program
// that was left alone was still at work. late is true if it was done already.
func (t *torment) toEnd() (late bool, err error) {
	for range 2 {
		args := resumeArgs()
		if !jobBegun() {
			args = t.runArgs()
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
		o, err := plainly(rollbackArgs())
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
	args := rollbackArgs()
	if jobDefined() {
		// Its disks may be locked by now, and then it can't be seen that it
		// was not started.
		args = rollbackArgs("--force")
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
	for _, d := range disks {
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
	return !o.killed && o.code == exitRefused && strings.Contains(o.output, "in use by")
}

// jobDefined says whether the job came as far as having its clone defined.
func jobDefined() bool { return journalSays(`"kind":"done","step":"define"`) }
