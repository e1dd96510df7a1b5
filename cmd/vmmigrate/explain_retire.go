package main

import (
	"errors"
	"fmt"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
)

// explainRetire tells of retirements that stopped or did not begin.
func explainRetire(err error) (advice, bool) {
	var stopped *succession.RetireError
	if errors.As(err, &stopped) {
		return explainRetireStopped(stopped), true
	}
	var blocked *succession.RetireBlockedError
	var wiped *succession.WipedError
	var retired *succession.RetiredError
	var retiring *succession.RetiringError
	var otherwise *succession.OtherwiseError
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	switch {
	case errors.As(err, &blocked):
		addReasons(&a, blocked)
	case errors.As(err, &wiped):
		a.state = "wiping goes on from where it stopped"
		a.next = []string{"vmmigrate resume " + wiped.Job}
	case errors.As(err, &retiring):
		a.next = []string{"vmmigrate resume " + retiring.Job}
	case errors.As(err, &otherwise):
		a.details = []string{"what is wiped already stays so; it goes on the way it has begun"}
		a.next = []string{"vmmigrate resume " + otherwise.Job}
	case errors.As(err, &retired):
		a.details = []string{"the record of it is in " + retired.Record}
	default:
		return advice{}, false
	}
	return a, true
}

func addReasons(a *advice, err *succession.RetireBlockedError) {
	for _, reason := range err.Reasons {
		a.details = append(a.details, reason.Text)
		if reason.Remedy != "" {
			a.details = append(a.details, "    "+reason.Remedy)
		}
	}
}

// explainRetireStopped tells of a retirement that stopped half-way.
func explainRetireStopped(err *succession.RetireError) advice {
	a := advice{what: err.Error(), step: err.Step, exit: exitResumable}
	var interrupted *migrate.InterruptedError
	var blocked *succession.RetireBlockedError
	var party *succession.PartyError
	var differs *blockcopy.MismatchError
	var write *blockcopy.WriteError
	switch {
	case errors.As(err.Err, &interrupted):
		where := string(err.Step)
		if err.Disk != "" {
			where += " of " + err.Disk
		}
		a.what = fmt.Sprintf("%s: %v, at %s", err.Original, interrupted, where)
	case errors.As(err.Err, &blocked):
		addReasons(&a, blocked)
	case errors.As(err.Err, &party):
		explainParty(&a, party)
	case errors.As(err.Err, &differs):
		a.exit = exitDifference
		a.details = []string{"the disk does not hold what was written to it: do not trust it to forget; destroy it by other means"}
	case errors.As(err.Err, &write):
		a.details = []string{"the disk can't be written there: see dmesg. If it never can, what is there stays: destroy the disk, or remove the volume by hand"}
	default:
		cause := explainCause(err.Err)
		a.details, a.next = cause.details, cause.next
	}
	switch {
	case err.Back:
		a.state = "no disk was wiped; the original's definition is kept in the job's folder"
		a.next = append(a.next, "vmmigrate rollback "+err.Job)
		return a
	case err.Wiped:
		a.state = "the plain disks are wiped, at least in part; the clone is as it was"
		a.next = append(a.next, "vmmigrate resume "+err.Job)
		return a
	}
	a.state = "no disk was wiped; the original's definition is kept in the job's folder"
	a.next = append(a.next, "vmmigrate resume "+err.Job, "vmmigrate rollback "+err.Job)
	return a
}

// retireCause tells of what a retirement may meet below.
func retireCause(err error) (a advice, ok bool) {
	var changed *lvm.ChangedError
	var busy *luks.BusyError
	var none *succession.NoDiscardError
	switch {
	case errors.As(err, &changed):
		a.details = []string{"vmmigrate removes only the very volume that it has wiped"}
		a.next = []string{"lvs " + changed.VG}
	case errors.As(err, &none):
		a.details = []string{"only --method zero or random can wipe it: virsh define original.xml in the job's folder, remove that folder, and retire it again"}
	case errors.As(err, &busy):
		return a, false
	default:
		return a, false
	}
	return a, true
}
