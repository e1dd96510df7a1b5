package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
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
	var batch *migrate.BatchError
	if errors.As(err, &batch) {
		return advice{what: batch.Error(), exit: exitSomeFailed, next: []string{"vmmigrate jobs"}}
	}
	var step *migrate.StepError
	if errors.As(err, &step) {
		return explainStep(step)
	}
	if a, ok := explainUsage(err); ok {
		return a
	}
	if a, ok := explainJob(err); ok {
		return a
	}
	if a, ok := explainRefusal(err); ok {
		return a
	}
	return advice{what: err.Error(), exit: exitFailed}
}

// explainStep tells of a job that stopped: the cause, what became of the job,
// and how it goes on.
func explainStep(err *migrate.StepError) advice {
	a := advice{what: err.Error(), step: err.Step, exit: exitFailed}
	cause := explainCause(err.Err)
	a.details, a.next = cause.details, cause.next
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
		a.next = append(a.next, nextOf(err.Job)...)
	}
	var stopped *migrate.InterruptedError
	if errors.As(err.Err, &stopped) {
		a.exit = exitResumable
		a.what = fmt.Sprintf("%s: %v, at %s", err.VM, stopped, where(err))
	}
	if errors.Is(err.Err, migrate.ErrStopAfter) {
		a.what = fmt.Sprintf("%s: stopped after %s, as --stop-after asked for", err.VM, where(err))
	}
	var differs *migrate.DifferenceError
	if errors.As(err.Err, &differs) {
		a.exit = exitDifference
		a.state = "the original is as it was; the clone is not defined; the faulty copy is kept"
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
	clone := []string{"virsh", "start", summary.Clone}
	if strings.HasPrefix(summary.Clone, "-") {
		clone = []string{"virsh", "start", "--", summary.Clone}
	}
	return []string{command.Quote(clone) + "   # boot the clone", "vmmigrate rollback " + job + "   # or undo it all"}
}

// explainCause adds to a cause what helps against it.
func explainCause(err error) advice {
	var a advice
	if refusal, ok := explainRefusal(err); ok {
		a.details, a.next = refusal.details, refusal.next
	}
	var wrong *luks.WrongKeyError
	var busy *luks.BusyError
	var read *blockcopy.ReadError
	var write *blockcopy.WriteError
	var unwritable *journal.WriteError
	var started *migrate.SourceStartedError
	switch {
	case errors.As(err, &wrong):
		a.details = []string{"the key is not the one that the volume was formatted with"}
	case errors.As(err, &busy):
		for _, holder := range busy.Holders {
			a.details = append(a.details, "held by "+holder)
		}
	case errors.As(err, &read):
		a.details = []string{"the source could not be read: see dmesg and its SMART data; --retries reads again"}
	case errors.As(err, &write):
		a.details = []string{"the new volume could not be written: see dmesg and its physical volume"}
	case errors.As(err, &unwritable):
		a.details = []string{"make room in the state directory, or make it writable, and go on"}
	case errors.As(err, &started):
		a.next = []string{command.Quote([]string{"virsh", "shutdown", started.VM})}
	}
	return a
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
	var edit *domainxml.EditError
	switch {
	case errors.As(err, &option), errors.As(err, &edit):
		return advice{what: err.Error(), exit: exitUsage}, true
	case errors.Is(err, errNotConfirmed):
		return advice{what: err.Error(), exit: exitRefused}, true
	}
	return advice{}, false
}

// explainJob tells of a job that can't be worked on as it was asked for.
func explainJob(err error) (advice, bool) {
	var unknown *migrate.UnknownJobError
	var many *migrate.AmbiguousJobError
	var undone *migrate.UndoneError
	var finished *migrate.FinishedError
	var clone *migrate.CloneStartedError
	var rollback *migrate.RollbackError
	var locked *journal.LockedError
	var lockedPayload *migrate.LockedPayloadError
	var differs *migrate.DifferenceError
	a := advice{what: err.Error(), exit: exitRefused}
	switch {
	case errors.As(err, &rollback):
		a.exit, a.state = exitResumable, "the original is as it was; the rollback can be repeated"
		a.next = []string{"vmmigrate rollback " + rollback.Job}
		a.details = explainCause(rollback.Err).details
	case errors.As(err, &unknown), errors.As(err, &many):
		a.next = []string{"vmmigrate jobs"}
	case errors.As(err, &undone):
		a.next = []string{"vmmigrate rollback " + undone.Job}
	case errors.As(err, &finished):
		a.next = []string{command.Quote([]string{"virsh", "start", finished.Clone}), "vmmigrate rollback " + finished.Job}
	case errors.As(err, &clone) && clone.Running:
		a.state, a.next = unchanged, []string{command.Quote([]string{"virsh", "shutdown", clone.Clone})}
	case errors.As(err, &clone):
		a.state, a.next = unchanged, []string{"vmmigrate rollback --force " + command.Quote([]string{clone.Clone}) + "   # destroys what its guest has written"}
	case errors.As(err, &locked):
		a.state = unchanged
	case errors.As(err, &lockedPayload):
		a.next = []string{command.Quote([]string{"cryptsetup", "open", lockedPayload.Volume, lockedPayload.Mapper})}
	case errors.As(err, &differs):
		a.exit = exitDifference
	default:
		return advice{}, false
	}
	return a, true
}
