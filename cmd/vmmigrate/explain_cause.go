package main

import (
	"errors"
	"strings"
	"syscall"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// explainCause adds to the cause of a stopped job what helps against it.
func explainCause(err error) advice {
	for _, explained := range []func(error) (advice, bool){explainAdoption, explainRefusal, retireCause, imageCause, diskCause, encryptionCause, volumeCause, domainCause} {
		if a, ok := explained(err); ok {
			return advice{details: a.details, next: a.next}
		}
	}
	return advice{}
}

const makeRoom = "make room in the state directory, or make it writable, and go on"

// diskCause tells of what went wrong in reading and writing.
func diskCause(err error) (a advice, ok bool) {
	var open *blockcopy.OpenError
	var size *blockcopy.SizeError
	var short *blockcopy.ShortError
	var read *blockcopy.ReadError
	var write *blockcopy.WriteError
	var flush *blockcopy.FlushError
	var checkpoint *blockcopy.CheckpointError
	var differs *blockcopy.MismatchError
	var unwritable *journal.WriteError
	switch {
	case errors.As(err, &checkpoint), errors.As(err, &unwritable):
		a.details = []string{makeRoom}
	case errors.As(err, &open) && open.Busy:
		a.next = []string{command.Quote([]string{"lsblk", open.Path})}
	case errors.As(err, &size):
		a.next = []string{command.Quote([]string{"blockdev", "--getsize64", size.Name})}
	case errors.As(err, &short):
		a.next = []string{command.Quote([]string{"blockdev", "--getsize64", short.Name})}
	case errors.As(err, &read):
		a.details = []string{"the source could not be read: see dmesg and its SMART data; a new run with --retries reads such places again"}
	case errors.As(err, &write) && errors.Is(err, syscall.ENOSPC) && !strings.HasPrefix(write.Name, "/dev/"):
		a.details = []string{
			"the file system that the new image lies on is full; the guest's own disk is untouched",
			"roll back and run again with a larger --fs-size, or make it larger (lvextend, cryptsetup resize, resize2fs or xfs_growfs) and go on",
		}
	case errors.As(err, &write), errors.As(err, &flush):
		a.details = []string{"the new volume could not be written: see dmesg and its physical volume"}
	case errors.As(err, &differs):
		a.details = []string{"what was read back is not what was written: see dmesg, the disk's SMART data and the memory"}
	default:
		return a, false
	}
	return a, true
}

// encryptionCause tells of what went wrong with LUKS.
func encryptionCause(err error) (a advice, ok bool) {
	var wrong *luks.WrongKeyError
	var busy *luks.BusyError
	var inUse *luks.InUseError
	var exists *luks.ExistsError
	var foreign *luks.ForeignError
	var mounted *filesystem.BusyError
	var unfit *filesystem.DirError
	var mount *filesystem.MountError
	switch {
	case errors.As(err, &mounted):
		a.next = []string{command.Quote([]string{"findmnt", "--submounts", "--target", mounted.Dir}), command.Quote([]string{"fuser", "-vm", mounted.Dir})}
	case errors.As(err, &unfit):
		a.details = []string{"move away what is there, and do it again"}
		a.next = []string{command.Quote([]string{"ls", "-la", unfit.Dir})}
	case errors.As(err, &mount):
		a.details = []string{"the kernel says more in dmesg"}
		a.next = []string{command.Quote([]string{"blkid", "-p", mount.Device})}
	case errors.As(err, &foreign):
		a.details = []string{"the LUKS header is this job's and the other mark is not: wipe what nobody needs (wipefs --offset), and go on"}
		a.next = []string{command.Quote([]string{"wipefs", foreign.Device})}
	case errors.As(err, &wrong):
		a.details = []string{"the key is not the one that the volume was formatted with"}
	case errors.As(err, &busy):
		a.next = []string{command.Quote([]string{"lsblk", "/dev/mapper/" + busy.Mapper})}
	case errors.As(err, &inUse):
		a.next = []string{command.Quote([]string{"lsblk", inUse.Device})}
	case errors.As(err, &exists) && exists.Mapper != "":
		a.next = []string{command.Quote([]string{"dmsetup", "info", exists.Mapper})}
	default:
		return a, false
	}
	return a, true
}

// volumeCause tells of what went wrong with LVM.
func volumeCause(err error) (a advice, ok bool) {
	var space *lvm.NoSpaceError
	var exists *lvm.ExistsError
	var inUse *lvm.InUseError
	var theirs *lvm.NotOursError
	var snapshots *lvm.SnapshotError
	var moving *lvm.MovingError
	switch {
	case errors.As(err, &space):
		a.next = []string{command.Quote([]string{"vgs", space.VG})}
	case errors.As(err, &exists):
		a.next = []string{command.Quote([]string{"lvs", "-o", "+lv_tags", exists.VG + "/" + exists.Name})}
	case errors.As(err, &inUse) && inUse.Name != "":
		a.next = []string{command.Quote([]string{"lsblk", "/dev/" + inUse.VG + "/" + inUse.Name})}
	case errors.As(err, &inUse):
		a.next = []string{command.Quote([]string{"lvs", inUse.VG})}
	case errors.As(err, &moving):
		a.next = []string{"pvmove   # goes on with it to its end; pvmove --abort ends it at once"}
	case errors.As(err, &snapshots):
		a.details, a.next = []string{removeSnapshots}, withoutSnapshots(snapshots)
	case errors.As(err, &theirs):
		a.details = []string{"vmmigrate removes only what bears the tag of its job"}
		a.next = []string{command.Quote([]string{"lvs", "-o", "+lv_tags", theirs.VG + "/" + theirs.Name})}
	default:
		return a, false
	}
	return a, true
}

// domainCause tells of what went wrong with a domain.
func domainCause(err error) (a advice, ok bool) {
	var started *migrate.SourceStartedError
	var active *hypervisor.ActiveError
	var exists *hypervisor.ExistsError
	switch {
	case errors.As(err, &started):
		a.next = []string{virsh("shutdown", started.VM)}
	case errors.As(err, &active):
		a.next = []string{virsh("shutdown", active.Name)}
	case errors.As(err, &exists):
		a.next = []string{virsh("dominfo", exists.Name)}
	default:
		return a, false
	}
	return a, true
}
