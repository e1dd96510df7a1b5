package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// The exit codes of the contract.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitRefused    = 3
	exitResumable  = 4
	exitDifference = 5
	exitSomeFailed = 6
)

// advice is what a user is told of an error.
type advice struct {
	// what failed, in a sentence without a full stop.
	what string
	// details are what it consists of, one a line.
	details []string
	// state says in what state the disks are; empty where no disk was meant.
	state string
	// next are the commands to type.
	next []string
	exit int
	step migrate.StepName
	// silent: the output has said it all.
	silent bool
}

func (a advice) write(w io.Writer) {
	if a.silent {
		return
	}
	line(w, "vmmigrate: %s", printable(strings.ReplaceAll(a.what, "\n", "; ")))
	for _, detail := range a.details {
		line(w, "  %s", printable(detail))
	}
	if a.state != "" {
		line(w, "State: %s", a.state)
	}
	for i, next := range a.next {
		if i == 0 {
			line(w, "Next:  %s", printable(next))
		} else {
			line(w, "       %s", printable(next))
		}
	}
}

const unchanged = "nothing has been changed"

// explain turns an error into advice: the one table from what went wrong to
// what is said of it and the exit code.
func explain(err error) advice {
	var shown *shownError
	if errors.As(err, &shown) {
		a := explain(shown.err)
		a.silent = true
		return a
	}
	var before *beforeError
	if errors.As(err, &before) {
		return explainBefore(before.err)
	}
	var batch *migrate.BatchError
	if errors.As(err, &batch) {
		return explainBatch(batch)
	}
	var step *migrate.StepError
	if errors.As(err, &step) {
		return explainStep(step)
	}
	if a, ok := explainPlanFile(err); ok {
		return a
	}
	if a, ok := explainAdoption(err); ok {
		return a
	}
	if a, ok := explainUsage(err); ok {
		return a
	}
	if a, ok := explainSuccession(err); ok {
		return a
	}
	if a, ok := explainLife(err); ok {
		return a
	}
	if a, ok := explainJob(err); ok {
		return a
	}
	var stopped *migrate.InterruptedError
	if errors.As(err, &stopped) {
		// A job under way would have said where it stopped.
		return advice{what: err.Error(), state: unchanged, exit: exitResumable}
	}
	if a, ok := explainRefusal(err); ok {
		return a
	}
	return advice{what: err.Error(), exit: exitFailed}
}

// explainBefore tells of an error that came before anything could be changed.
func explainBefore(err error) advice {
	a := explain(err)
	if a.exit == exitFailed {
		a.exit = exitRefused
	}
	if a.state == "" && a.exit != exitUsage {
		a.state = unchanged
	}
	return a
}

// explainBatch sums up; each VM's own failure has been told by then.
func explainBatch(err *migrate.BatchError) advice {
	a := advice{what: err.Error(), exit: exitSomeFailed, next: []string{"vmmigrate jobs"}}
	var stopped *migrate.InterruptedError
	if errors.As(err, &stopped) {
		a.exit, a.state = exitResumable, "the originals are as they were; what has been made so far is kept"
	}
	return a
}

// explainStep tells of a job that stopped: the cause, what became of the job,
// and how it goes on.
func explainStep(err *migrate.StepError) advice {
	a := advice{what: err.Error(), step: err.Step, exit: exitFailed}
	cause := explainCause(err.Err)
	a.details, a.next = cause.details, cause.next
	var changed *migrate.SourceChangedError
	switch err.Aftermath {
	case migrate.Refused:
		a.exit, a.state = exitRefused, unchanged
	case migrate.TakenBack:
		a.state = "what had been made for the clone was removed again; " + unchanged + " otherwise"
	case migrate.UndoFailed:
		a.state = "the original is as it was; something of what had been made is still there"
		a.next = append(a.next, "vmmigrate rollback "+err.Job)
	case migrate.Kept:
		a.exit = exitResumable
		a.state = "the original is as it was; what has been made so far is kept"
		if errors.As(err.Err, &changed) {
			a.state = "what has been copied of the source no longer fits it, and is kept"
			a.next = append(a.next, "vmmigrate rollback "+err.Job)
		} else {
			a.next = append(a.next, nextOf(err.Job)...)
		}
	}
	var differs *migrate.DifferenceError
	var stopped *migrate.InterruptedError
	if errors.As(err.Err, &stopped) && !errors.As(err.Err, &differs) {
		a.exit = exitResumable
		a.what = fmt.Sprintf("%s: %v, at %s", err.VM, stopped, where(err))
	}
	if errors.Is(err.Err, migrate.ErrStopAfter) {
		a.what = fmt.Sprintf("%s: stopped after %s, as --stop-after asked for", err.VM, where(err))
	}
	if errors.As(err.Err, &differs) {
		// A resume reads the same bytes again. What was wrong with them once is
		// not to be trusted with a second try at some of them either.
		a.exit = exitDifference
		a.state = "the original is as it was; the clone is not defined; the faulty copy is kept to be looked at, and a resume would only read it again"
		cause = explainCause(differs) // whatever else went wrong beside it
		a.details, a.next = cause.details, append(cause.next, "vmmigrate rollback "+err.Job)
	}
	if wrote := (*migrate.GuestWroteError)(nil); errors.As(err.Err, &wrote) {
		a.state = "the original is as it was; the clone's disks are kept as they are, and a resume would not get further"
		a.next = nil
		if wrote.Definition != "" {
			a.next = append(a.next, "virsh define "+command.Quote([]string{wrote.Definition})+"   # have the clone back, to look at its disks")
		}
		a.next = append(a.next, "vmmigrate rollback "+err.Job+" --force   # only if nothing on them is needed")
	}
	return a
}

func where(err *migrate.StepError) string {
	if err.Disk == "" {
		return string(err.Step)
	}
	return string(err.Step) + " of " + err.Disk
}

// nextOf are the two ways on from a job that stopped.
func nextOf(job string) []string {
	return []string{"vmmigrate resume " + job, "vmmigrate rollback " + job}
}

// nextAfter is what to type after a job that is done.
func nextAfter(job string, summary *migrate.Summary) []string {
	return []string{startClone(summary.Clone) + "   # unlock its disks, if they are locked, and boot it", "vmmigrate rollback " + job + "   # or undo it all"}
}

// startClone is the command that boots a clone, whether its disks are open or
// locked.
func startClone(clone string) string { return "vmmigrate start " + named(clone) }

// virsh is a virsh command on a domain, whatever that is called.
func virsh(verb, domain string) string {
	words := []string{"virsh", verb, domain}
	if strings.HasPrefix(domain, "-") {
		words = []string{"virsh", verb, "--", domain}
	}
	return command.Quote(words)
}

func explainUsage(err error) (advice, bool) {
	var usage *usageError
	if errors.As(err, &usage) {
		a := advice{what: usage.reason, exit: exitUsage}
		if usage.command != "" && usage.command != "help" {
			a.next = []string{"vmmigrate " + usage.command + " --help"}
		} else {
			a.next = []string{"vmmigrate help"}
		}
		return a, true
	}
	var option *migrate.OptionError
	var cache *migrate.CacheTypeError
	var edit *domainxml.EditError
	var uri *hypervisor.URIError
	switch {
	case errors.As(err, &cache):
		a := advice{what: err.Error(), exit: exitUsage, next: []string{
			"lvconvert --type " + cache.Type + " --cachevol FAST VG/VM-DISK-luks   # after the move; FAST is a volume of VG on its fast disk",
			"vmmigrate run --vm VM --target-device /dev/VG/CACHED   # or onto an empty volume that has its cache already",
		}}
		if cache.Type == "cache" {
			a.details = []string{"a cache can be put there while the disk is in use"}
		}
		return a, true
	case errors.As(err, &option):
		return advice{what: err.Error(), exit: exitUsage, next: []string{"vmmigrate run --help"}}, true
	case errors.As(err, &edit):
		return advice{what: err.Error(), exit: exitUsage, next: []string{"vmmigrate xml --help"}}, true
	case errors.As(err, &uri):
		return advice{what: err.Error(), exit: exitUsage, next: []string{"vmmigrate help"}}, true
	case errors.Is(err, errNotConfirmed):
		return advice{what: err.Error(), exit: exitRefused}, true
	}
	return advice{}, false
}
