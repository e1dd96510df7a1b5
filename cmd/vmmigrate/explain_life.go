package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/luks"
)

// explainLife tells of what went wrong with a clone after the move.
func explainLife(err error) (advice, bool) {
	var some *clonesError
	if errors.As(err, &some) {
		a := advice{what: err.Error(), exit: exitSomeFailed, next: []string{"vmmigrate status"}}
		if some.failed == some.all {
			a.exit = exitFailed
		}
		return a, true
	}
	for _, explained := range []func(error) (advice, bool){explainBoot, explainVolume, explainRun, explainHeader, explainKeys} {
		if a, ok := explained(err); ok {
			return a, true
		}
	}
	return advice{}, false
}

// explainVolume tells of a clone or a disk that is not as it has to be: nothing
// was changed then.
func explainVolume(err error) (advice, bool) {
	var unknown *lifecycle.UnknownCloneError
	var taken *lifecycle.NameTakenError
	var elsewhere *lifecycle.OpenElsewhereError
	var volume *lifecycle.VolumeError
	var lost *lifecycle.HeaderLostError
	var headerFile *lifecycle.HeaderFileError
	var noDisk *lifecycle.NoDiskError
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	switch {
	case errors.As(err, &unknown):
		explainUnknownClone(&a, unknown)
	case errors.As(err, &elsewhere):
		a.details = []string{"lock closes it, whatever it is called, unless something uses it"}
		a.next = []string{"vmmigrate lock " + named(elsewhere.Clone), "vmmigrate unlock " + named(elsewhere.Clone)}
	case errors.As(err, &taken):
		a.next = []string{command.Quote([]string{"cryptsetup", "status", taken.Mapper}), command.Quote([]string{"cryptsetup", "close", taken.Mapper}) + "   # if nothing needs it"}
	case errors.As(err, &headerFile):
		a.details = []string{"nothing overwrites it: move that file away and put the right one, or a link to it, in its place; header restore makes it of a backup where there is none"}
		a.next = []string{command.Quote([]string{"ls", "-l", headerFile.File}), "vmmigrate status " + named(headerFile.Clone)}
	case errors.As(err, &lost) && lost.Gone:
		a.details = []string{
			"if its file system is not mounted, mount it; if the file was moved, put it, or a link to it, in its place",
			"if it is lost, header restore makes it anew of a backup, which opens with the keys of its time",
		}
		a.next = []string{command.Quote([]string{"findmnt", "--target", filepath.Dir(lost.File)}), "vmmigrate header check " + named(lost.Clone), "vmmigrate header restore " + named(lost.Clone) + " FILE"}
	case errors.As(err, &lost):
		a.details = []string{"a backup of its header opens it again, with a key of the backup's time; nothing else does"}
		a.next = []string{"vmmigrate header check " + named(lost.Clone), "vmmigrate header restore " + named(lost.Clone) + " FILE"}
	case errors.As(err, &volume):
		explainVolumeGone(&a, volume)
	case errors.As(err, &noDisk):
		a.exit, a.state = exitUsage, ""
		a.next = []string{"vmmigrate status " + named(noDisk.Clone)}
	default:
		return advice{}, false
	}
	return a, true
}

func explainUnknownClone(a *advice, err *lifecycle.UnknownCloneError) {
	a.next = []string{"vmmigrate status"}
	switch {
	case len(err.Clones) > 0:
		a.details = []string{"its clone is called " + strings.Join(err.Clones, ", ")}
	case err.Defined:
		a.next = []string{"vmmigrate plan --vm " + command.Quote([]string{err.Name})}
	default:
		a.what += didYouMean(err.Name, err.Known)
	}
	if len(err.Orphans) == 0 {
		return
	}
	a.details = append(a.details, "these encrypted volumes belong to no VM that is defined, as after virsh undefine:")
	for _, orphan := range err.Orphans {
		a.details = append(a.details, fmt.Sprintf("    %s/%s, made by job %s", orphan.VG, orphan.LV, orphan.Job))
	}
	var again []string
	for _, orphan := range err.Orphans {
		if orphan.Definition != "" && !slices.Contains(again, orphan.Definition) {
			again = append(again, orphan.Definition)
		}
	}
	if len(again) == 0 {
		defineAgain(a, "")
	}
	for _, definition := range again {
		a.next = append(a.next, defineAgain(a, definition)...)
	}
	a.next = append(a.next, "vmmigrate jobs")
}

func explainVolumeGone(a *advice, err *lifecycle.VolumeError) {
	switch err.Group {
	case lifecycle.GroupExported:
		a.next = []string{command.Quote([]string{"vgimport", err.VG}), command.Quote([]string{"vgchange", "--activate", "y", err.VG})}
	case lifecycle.GroupMissing:
		a.details = []string{"its disks are not connected, or LVM is told not to look at them"}
		a.next = []string{"pvs", "vgs"}
	case lifecycle.GroupPartial:
		a.next = []string{command.Quote([]string{"vgs", "-o", "+pv_name,pv_missing", err.VG})}
	default:
		look := "lvs -o +lv_tags"
		if strings.HasPrefix(err.Volume, "/dev/") {
			look = "lsblk -f"
		} else if strings.HasPrefix(err.Volume, "/") {
			look = command.Quote([]string{"ls", "-l", err.Volume})
		}
		a.next = []string{look, "vmmigrate status " + named(err.Clone)}
	}
}

// explainRun tells of starting, stopping, unlocking and locking.
func explainRun(err error) (advice, bool) {
	var conflict *lifecycle.ConflictError
	var used *lifecycle.InUseError
	var running *lifecycle.RunningError
	var start *lifecycle.StartError
	var still *lifecycle.StillRunningError
	var lock *lifecycle.LockError
	var mount *lifecycle.MountError
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	switch {
	case errors.As(err, &conflict):
		a.next = []string{virsh("shutdown", conflict.Other)}
	case errors.As(err, &used):
		a.details = []string{"a guest that writes beside the host destroys its file systems: unmount it first"}
		a.next = []string{command.Quote([]string{"lsblk", "/dev/mapper/" + used.Mapper})}
	case errors.As(err, &running):
		a.next = []string{"vmmigrate stop " + named(running.Clone)}
	case errors.As(err, &start):
		a.exit, a.state = exitFailed, "its disks are unlocked"
		if start.LockedAgain {
			a.state = "its disks are locked again"
		}
		a.details = explainCause(start.Err).details
		a.next = []string{"vmmigrate status " + named(start.Clone)}
	case errors.As(err, &mount):
		cause := explainCause(mount.Err)
		a.exit, a.state, a.details = exitFailed, "it is locked again, unless it was open before", cause.details
		a.next = append(cause.next, "vmmigrate status "+named(mount.Clone))
	case errors.As(err, &still):
		explainStillRunning(&a, still)
	case errors.As(err, &lock):
		a.exit, a.state = exitFailed, "it is unlocked, and as it was"
		if cause := explainCause(lock.Err); len(cause.next) > 0 {
			a.next = cause.next
		}
		a.next = append(a.next, "vmmigrate lock "+named(lock.Clone))
	default:
		return advice{}, false
	}
	return a, true
}

func explainStillRunning(a *advice, err *lifecycle.StillRunningError) {
	a.exit, a.state = exitResumable, "its guest runs on, and its disks are unlocked"
	again := "vmmigrate stop " + named(err.Clone)
	force := "vmmigrate stop --force " + named(err.Clone) + "   # pulls its plug"
	switch {
	case err.After == 0 && err.Err == nil:
		a.exit, a.state = exitRefused, unchanged
		a.next = []string{virsh("resume", err.Clone), again, force}
	default:
		a.next = []string{again, force}
	}
}

// explainHeader tells of header backups.
func explainHeader(err error) (advice, bool) {
	var out *lifecycle.OutError
	var beside *lifecycle.BesideError
	var foreign *lifecycle.ForeignError
	var backup *lifecycle.BackupError
	var restore *lifecycle.RestoreError
	var check *headerCheckError
	var exists *luks.ExistsError
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	switch {
	case errors.As(err, &restore):
		a.exit, a.state = exitResumable, "the volume's header may be overwritten in part; it can be restored again"
		a.details = []string{"what was there before is in " + restore.Kept}
		a.next = []string{"vmmigrate header check " + named(restore.Clone)}
	case errors.As(err, &out):
		a.exit, a.state = exitUsage, ""
		if len(out.Disks) > 0 {
			a.details = []string{"name a folder that is there, or one disk with --disk: " + strings.Join(out.Disks, ", ")}
		}
		a.next = []string{"vmmigrate header backup --help"}
	case errors.As(err, &check):
		a.exit, a.state = exitDifference, ""
		explainChecks(&a, check)
	case errors.As(err, &foreign):
		if foreign.Reason == "" {
			a.next = []string{"vmmigrate status   # whose it is"}
		} else {
			a.details = []string{"if it is right all the same, cryptsetup luksHeaderRestore is the tool"}
		}
	case errors.As(err, &beside):
		a.details = []string{"without that file the backup is taken as it is: move it away"}
	case errors.As(err, &backup), errors.As(err, &exists) && exists.File != "":
	default:
		return advice{}, false
	}
	return a, true
}

func explainChecks(a *advice, err *headerCheckError) {
	clone := named(err.clone)
	for _, check := range err.checks {
		next := "vmmigrate header backup " + clone
		if check.Verdict == lifecycle.LiveDamaged {
			next = "vmmigrate header restore " + clone + " " + command.Quote([]string{check.File})
		}
		if len(a.next) == 0 || a.next[len(a.next)-1] != next {
			a.next = append(a.next, next)
		}
	}
}

// explainKeys tells of keys.
func explainKeys(err error) (advice, bool) {
	var wrong *lifecycle.KeyError
	var same *lifecycle.SameKeyError
	var full *lifecycle.NoSlotError
	var last *lifecycle.LastKeyError
	var slot *lifecycle.SlotError
	var partly *lifecycle.KeysPartlyError
	var after *afterKeysError
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	switch {
	case errors.As(err, &partly):
		a.exit, a.state = exitResumable, "each disk unlocks with the old key or the new one; the same command with the same keys goes on"
		a.next = []string{"vmmigrate key test " + named(partly.Clone)}
	case errors.As(err, &after):
		a.exit, a.state = exitFailed, "the keys are changed; header backups from before open with the older keys"
		a.next = []string{"vmmigrate header backup " + named(after.clone)}
	case errors.As(err, &wrong):
		a.exit = exitFailed
		a.next = []string{"vmmigrate key test " + named(wrong.Clone)}
	case errors.As(err, &same):
	case errors.As(err, &full):
		a.next = []string{"vmmigrate key remove " + named(full.Clone) + " --slot N"}
	case errors.As(err, &last) && last.Proof:
		a.next = []string{"vmmigrate key test " + named(last.Clone) + "   # which slot a key unlocks"}
	case errors.As(err, &last):
		a.next = []string{"vmmigrate key change " + named(last.Clone) + "   # puts another in its place"}
	case errors.As(err, &slot):
		for _, used := range slot.Slots {
			a.details = append(a.details, fmt.Sprintf("%s (%s) uses key slot %d", used.Disk, used.Volume, used.Slot))
		}
	default:
		return advice{}, false
	}
	return a, true
}
