package main

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// explainJob tells of a job that can't be worked on as it was asked for.
func explainJob(err error) (advice, bool) {
	var unknown *migrate.UnknownJobError
	var many *migrate.AmbiguousJobError
	var undone *migrate.UndoneError
	var finished *migrate.FinishedError
	var clone *migrate.CloneStartedError
	var renamed *migrate.CloneRenamedError
	var only *migrate.OriginalRetiredError
	var rollback *migrate.RollbackError
	var locked *journal.LockedError
	var lockedPayload *migrate.LockedPayloadError
	var differs *migrate.DifferenceError
	var start *migrate.StartError
	var snapshots *lvm.SnapshotError
	a := advice{what: err.Error(), exit: exitRefused}
	switch {
	case errors.As(err, &rollback):
		a.exit, a.state = exitResumable, "the original is as it was; the rollback can be repeated"
		a.next = []string{"vmmigrate rollback " + rollback.Job}
		cause := explainCause(rollback.Err)
		a.details, a.next = cause.details, append(cause.next, a.next...)
	case errors.As(err, &start):
		a.exit, a.state = exitFailed, "the original is as it was; the clone is defined, verified and off"
		a.next = []string{virsh("start", start.Clone)}
	case errors.As(err, &unknown):
		a.what += didYouMean(unknown.Name, jobNames(unknown.Known))
		a.next = []string{"vmmigrate jobs"}
	case errors.As(err, &many):
		a.next = []string{"vmmigrate jobs"}
	case errors.As(err, &undone):
		a.next = []string{"vmmigrate rollback " + undone.Job}
	case errors.As(err, &finished):
		a.next = []string{virsh("start", finished.Clone), "vmmigrate rollback " + finished.Job}
	case errors.As(err, &snapshots):
		a.state, a.details, a.next = unchanged, []string{removeSnapshots}, withoutSnapshots(snapshots)
	case errors.As(err, &only):
		a.state = unchanged
		a.details = []string{"if it is to go all the same: virsh undefine, cryptsetup close and lvremove, by hand"}
		a.next = []string{"vmmigrate status " + named(only.Clone)}
		if only.Undefined {
			a.next = defineAgain(&a, only.Definition)
		}
	case errors.As(err, &renamed):
		a.state = unchanged
		a.details = []string{"its disks are those that the rollback would remove"}
		a.next = []string{"vmmigrate cutover --undo " + named(renamed.Now)}
	case errors.As(err, &clone) && clone.Running:
		a.state, a.next = unchanged, []string{virsh("shutdown", clone.Clone)}
	case errors.As(err, &clone) && clone.Undefined:
		explainUndefined(&a, clone)
	case errors.As(err, &clone):
		a.state, a.next = unchanged, []string{"vmmigrate rollback --force " + named(clone.Clone) + "   # destroys what its guest has written"}
	case errors.As(err, &locked):
		a.state, a.next = unchanged, []string{"vmmigrate jobs"}
	case errors.As(err, &lockedPayload) && lockedPayload.Clone != "":
		a.state, a.next = unchanged, []string{"vmmigrate unlock " + named(lockedPayload.Clone)}
	case errors.As(err, &lockedPayload) && lockedPayload.Mount != "":
		a.next = []string{command.Quote([]string{"mount", "/dev/mapper/" + lockedPayload.Mapper, lockedPayload.Mount})}
	case errors.As(err, &lockedPayload):
		open := []string{"cryptsetup", "open", lockedPayload.Volume, lockedPayload.Mapper}
		if lockedPayload.HeaderFile != "" {
			open = append(open, "--header", lockedPayload.HeaderFile)
		}
		a.next = []string{command.Quote(open)}
	case errors.As(err, &differs):
		a.exit = exitDifference
	default:
		return explainJournal(err)
	}
	return a, true
}

// removeSnapshots says whose they are to remove.
const removeSnapshots = "vmmigrate removes only what it made: if nobody needs what is in it any more, remove it first"

// withoutSnapshots are the commands that remove a volume's snapshots.
func withoutSnapshots(err *lvm.SnapshotError) []string {
	var commands []string
	for _, name := range err.Snapshots {
		commands = append(commands, command.Quote([]string{"lvremove", err.VG + "/" + name}))
	}
	return commands
}

// explainUndefined tells of a clone that was undefined, whose disks are still
// there. To look at them they have to be opened, by hand or as a clone's.
func explainUndefined(a *advice, err *migrate.CloneStartedError) {
	a.state = unchanged
	if disk := err.Locked; disk != nil {
		a.details = []string{"once it is open, rollback compares it: " + command.Quote([]string{"cryptsetup", "open", disk.Volume.Path, disk.Mapper})}
	}
	a.next = append(defineAgain(a, err.Definition), "vmmigrate rollback --force "+err.Job+"   # destroys what its guest has written")
}

// defineAgain is the command that brings a clone back from its definition in the
// state directory, where that was kept.
func defineAgain(a *advice, definition string) []string {
	if definition != "" {
		return []string{command.Quote([]string{"virsh", "define", definition}) + "   # brings the clone back"}
	}
	a.details = append(a.details, "a definition that was kept, as by virsh dumpxml, brings the clone back: virsh define FILE")
	return nil
}

// jobNames are the names by which jobs can be meant.
func jobNames(jobs []migrate.JobInfo) []string {
	var names []string
	for _, job := range jobs {
		names = append(names, job.ID)
		if job.Plan != nil {
			names = append(names, job.Plan.VM, job.Plan.Clone.Name)
		}
	}
	return names
}

// named is a name as an argument, whatever it begins with.
func named(name string) string {
	if strings.HasPrefix(name, "-") {
		return "-- " + command.Quote([]string{name})
	}
	return command.Quote([]string{name})
}

// explainJournal tells of a journal that can't be read or written, outside of a
// step: nothing is done then.
func explainJournal(err error) (advice, bool) {
	var damaged *journal.DamagedError
	var version *journal.VersionError
	var empty *journal.EmptyError
	var unwritable *journal.WriteError
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	switch {
	case errors.As(err, &damaged):
		job := filepath.Base(filepath.Dir(damaged.Path))
		a.details = []string{"what the job made has to be found by its mark, and removed by hand"}
		a.next = []string{"lvs -o +lv_tags " + command.Quote([]string{"@vmmigrate.job=" + job})}
	case errors.As(err, &version):
		a.details = []string{"go on with the vmmigrate that wrote it, or a newer one"}
	case errors.As(err, &empty):
		a.details = []string{"its folder can be removed"}
		a.next = []string{command.Quote([]string{"rm", "-r", filepath.Dir(empty.Path)})}
	case errors.As(err, &unwritable):
		a.details = []string{makeRoom}
	default:
		return advice{}, false
	}
	return a, true
}
