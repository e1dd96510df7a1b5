package main

import (
	"errors"
	"fmt"

	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
)

// explainSuccession tells of cutovers that stopped or did not begin.
func explainSuccession(err error) (advice, bool) {
	var step *succession.StepError
	if errors.As(err, &step) {
		return explainExchange(step), true
	}
	if a, ok := explainRetire(err); ok {
		return a, true
	}
	var party *succession.PartyError
	var gone *succession.NoOriginalError
	var taken *succession.NameTakenError
	var changed *succession.ChangedError
	var half *succession.HalfError
	var sibling *succession.SiblingError
	var ended *succession.EndedError
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	switch {
	case errors.As(err, &party):
		explainParty(&a, party)
	case errors.As(err, &gone):
		explainNoOriginal(&a, gone)
	case errors.As(err, &taken):
		a.next = []string{virsh("dominfo", taken.By)}
	case errors.As(err, &changed):
		a.next = []string{virsh("dumpxml", changed.VM)}
	case errors.As(err, &half):
		explainHalf(&a, half)
	case errors.As(err, &sibling):
		a.details = []string{"one of the two clones has to go first"}
		a.next = []string{"vmmigrate status", "vmmigrate rollback " + named(sibling.Other)}
	case errors.As(err, &ended) && ended.Undo:
		a.next = []string{"vmmigrate jobs"}
	case errors.As(err, &ended):
		a.next = []string{"vmmigrate cutover --undo " + named(ended.Clone) + "   # takes it back"}
	default:
		return advice{}, false
	}
	return a, true
}

func explainParty(a *advice, err *succession.PartyError) {
	switch err.Problem {
	case succession.Active:
		a.next = []string{virsh("shutdown", err.VM)}
		if err.VM == err.Clone {
			a.next = []string{"vmmigrate stop " + named(err.VM)}
		}
	case succession.Transient:
		a.next = []string{virsh("dumpxml", err.VM) + "   # virsh define makes it last"}
	case succession.ManagedSave:
		a.details = []string{"start it and shut it down, which uses the image up, or throw the image away"}
		a.next = []string{virsh("managedsave-remove", err.VM)}
	case succession.Snapshots:
		a.next = []string{virsh("snapshot-list", err.VM)}
	case succession.Checkpoints:
		a.next = []string{virsh("checkpoint-list", err.VM)}
	}
}

func explainNoOriginal(a *advice, err *succession.NoOriginalError) {
	rename := virsh("domrename", err.Clone) + " NEWNAME"
	switch {
	case err.Adopted:
		a.details = []string{"it can be given any name that is free"}
		a.next = []string{rename}
	case err.Retired:
		a.details = []string{"the clone can be given any name that is free"}
		a.next = []string{rename}
	case err.Taken:
		a.details = []string{"it was defined anew, or it is another VM; only the one that the clone was made from changes places with it"}
		a.next = []string{virsh("dominfo", err.Original), "vmmigrate status " + named(err.Clone)}
	default:
		a.details = []string{"a definition that was kept, as by virsh dumpxml, brings it back: virsh define FILE", "without one, the clone can be given its name"}
		a.next = []string{rename}
	}
}

func explainHalf(a *advice, err *succession.HalfError) {
	switch {
	case err.Running:
		a.next = []string{"vmmigrate jobs"}
	case err.Back:
		a.next = []string{"vmmigrate rollback " + err.Job}
	default:
		a.next = []string{"vmmigrate resume " + err.Job, "vmmigrate rollback " + err.Job}
	}
}

// explainExchange tells of a cutover that stopped half-way.
func explainExchange(err *succession.StepError) advice {
	a := advice{what: err.Error(), step: err.Step, exit: exitFailed}
	cause := explainCause(err.Err)
	if known, ok := explainSuccession(err.Err); ok {
		cause = known
	}
	a.details, a.next = cause.details, cause.next
	switch err.Aftermath {
	case migrate.TakenBack, migrate.Refused:
		a.state = "clone and original are as they were"
		return a
	case migrate.UndoFailed, migrate.Kept:
		a.exit = exitResumable
		a.state = "no disk was touched, and the definitions of both, old and new, are kept in the job's folder"
	}
	var stopped *migrate.InterruptedError
	if errors.As(err.Err, &stopped) {
		a.what = fmt.Sprintf("%s: %v, at %s", err.VM, stopped, err.Step)
	}
	if !err.Back && err.Aftermath == migrate.Kept {
		a.next = append(a.next, "vmmigrate resume "+err.Job)
	}
	a.next = append(a.next, "vmmigrate rollback "+err.Job)
	return a
}

// jobOf is the job that an error is about, or "".
func jobOf(err error) string {
	var step *succession.StepError
	var retire *succession.RetireError
	switch {
	case errors.As(err, &step):
		return step.Job
	case errors.As(err, &retire):
		return retire.Job
	}
	return ""
}
