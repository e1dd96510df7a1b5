package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

type explainCase struct {
	name string
	err  error
}

const testJob = "20261122-093012-3f9c"

// stopped is a job that stopped at a step with everything kept.
func stopped(step migrate.StepName, err error) error {
	return &migrate.StepError{Job: testJob, VM: "imap", Step: step, Disk: "vda", Aftermath: migrate.Kept, Err: err}
}

// explained are all the errors that a user may meet, in the situation in which
// he meets them.
func explained() []explainCase {
	var all []explainCase
	for _, cases := range [][]explainCase{commandLineCases(), refusalCases(), domainCases(), jobCases(), aftermathCases(), stepCases(), copyCases(), lifeCases(), layoutCases(), bootCases(), planFileCases(), imageCases(), successionCases(), retireCases(), adoptCases()} {
		all = append(all, cases...)
	}
	return all
}

func commandLineCases() []explainCase {
	return []explainCase{
		{"a mistyped flag", &usageError{reason: "there is no flag --vmm; did you mean --vm?", command: "run"}},
		{"a mistyped command", &usageError{reason: `there is no command "rn"; did you mean run?`, command: "help"}},
		{"an option with a bad value", &migrate.OptionError{Option: "--luks-type", Reason: `"luks3" is neither luks2 nor luks1`}},
		{"a volume with a cache asked for", &migrate.CacheTypeError{Type: "cache"}},
		{"a bad --uuid of xml", &domainxml.EditError{Field: "UUID", Value: "x", Reason: "it is no UUID"}},
		{"a URI that leads elsewhere", before(&hypervisor.URIError{URI: "xen:///", Reason: "vmmigrate moves QEMU and KVM guests only, so it must begin with qemu:///"})},
		{"a question answered with no", errNotConfirmed},
		{"what the output has said already", &shownError{&migrate.BlockedError{VM: "imap", Blockers: []migrate.Finding{{Message: "it is running"}}}}},
		{"an error that nobody foresaw", errors.New("print the plan: write /dev/stdout: no space left on device")},
	}
}

func refusalCases() []explainCase {
	running := migrate.Finding{Code: migrate.Active, Message: "imap is running", Remedy: "virsh shutdown imap"}
	full := migrate.Finding{Code: migrate.VGFull, Message: "the volume group vg0 has no room", Remedy: "vgextend vg0 DEVICE"}
	return []explainCase{
		{"a VM with two blockers", &migrate.BlockedError{VM: "imap", Blockers: []migrate.Finding{running, full}}},
		{"images that can't become a VM", &migrate.BlockedError{VM: "mail", Adopted: true, Blockers: []migrate.Finding{full}}},
		{"two VMs with blockers", errors.Join(&migrate.BlockedError{VM: "imap", Blockers: []migrate.Finding{running}}, &migrate.BlockedError{VM: "web", Blockers: []migrate.Finding{full}})},
		{"a mistyped VM", before(&migrate.UnknownVMError{Name: "imao", Known: []string{"web", "imap"}})},
		{"not root", &notRootError{command: "plan", again: "vmmigrate plan --vm imap"}},
		{"a program that is missing", before(&command.NotFoundError{Name: "lvs", Package: "lvm2"})},
		{"a program of the user's that is missing", &keySourceError{"--passphrase-command pas", &command.NotFoundError{Name: "pas"}}},
		{"a program that fails before a job begins", before(&command.Error{Argv: []string{"vgs"}, ExitCode: 5, Stderr: "Volume group \"vg0\" not found"})},
		{"a bug that would change something in plan", before(&command.RefusedError{Argv: []string{"lvcreate"}})},
		{"two groups of one name", before(&lvm.AmbiguousError{Name: "vg0", UUIDs: []string{"a-1", "b-2"}})},
		{"a disk that does not answer", before(&migrate.SlowError{What: "look at /srv/nfs/imap.img", After: 5 * time.Second})},
		{"no libvirt daemon", before(&hypervisor.UnreachableError{URI: "qemu:///system", Sockets: []string{"/run/libvirt/libvirt-sock"}, Err: syscall.ENOENT})},
		{"a libvirt daemon that hangs", before(&hypervisor.TimeoutError{Call: "list the domains", After: 90 * time.Second})},
		{"a libvirt daemon that dies", before(&hypervisor.LostError{Call: "list the domains", Err: io.EOF})},
		{"a libvirt that says no", before(&hypervisor.RefusedError{Call: "list the domains", Code: 88, Message: "authentication failed"})},
		{"a domain that went away while we looked", before(&hypervisor.NotFoundError{Kind: "domain", Name: "imap"})},
		{"a group that went away while we looked", before(&lvm.NotFoundError{Kind: "volume group", Name: "vg0"})},
		{"a key file that is not there", &keySourceError{"--key-file K", syscall.ENOENT}},
		{"a key that is empty", &keySourceError{"--key-file K", &luks.KeyError{Reason: "it is empty"}}},
		{"a passphrase command that fails", &keySourceError{"--passphrase-command pass", &keyCommandError{"it ended with exit code 1: no such entry", errors.New("exit status 1")}}},
		{"Ctrl-C before a job begins", before(&migrate.InterruptedError{Why: "SIGINT"})},
	}
}

func domainCases() []explainCase {
	return []explainCase{
		{"a definition that is not there", &definitionError{"imap.xml", syscall.ENOENT}},
		{"a definition that is no XML", &domainxml.SyntaxError{Line: 3, Reason: "it can't be read", Err: errors.New("unexpected EOF")}},
		{"a definition that is too large", &domainxml.TooLargeError{What: "bytes", Limit: 1 << 24, Size: 1<<24 + 1}},
		{"a definition of a pool", &domainxml.NotDomainError{Root: "pool"}},
		{"a Xen domain", &domainxml.HypervisorError{Type: "xen"}},
		{"a domain without a name", &domainxml.InvalidError{Path: "/domain/name", Reason: "it is missing"}},
		{"a disk that the domain has not", &domainxml.NoDiskError{Target: "vdz", Have: []string{"vda"}}},
		{"a disk that can't move", &domainxml.NotMovableError{Target: "vda", Path: "/domain/devices/disk", Kind: domainxml.Refuse, Reason: "it is on the network"}},
		{"firmware that can't be copied", &domainxml.FirmwareError{Path: "/domain/os/nvram", Reason: "it is on the network"}},
		{"a rewrite that would change more", &domainxml.UnintendedChangeError{Change: domainxml.Change{Path: "/domain/vcpu", Old: "2", New: "1"}}},
		{"a rewrite that would lose something", &domainxml.LostError{Path: "/domain/metadata/app", Old: "x"}},
		{"no MAC address that is free", before(&domainxml.MACError{})},
	}
}

func jobCases() []explainCase {
	path := "/var/lib/vmmigrate/jobs/" + testJob + "/journal"
	imap := migrate.JobInfo{ID: testJob, Plan: &migrate.Plan{VM: "imap", Clone: migrate.Clone{Name: "imap-luks"}}}
	return []explainCase{
		{"a mistyped job", &migrate.UnknownJobError{Name: "imao", Known: []migrate.JobInfo{imap}}},
		{"no job at all", &migrate.UnknownJobError{}},
		{"two jobs that fit", &migrate.AmbiguousJobError{Name: "imap", Jobs: []migrate.JobInfo{imap, {ID: "20261123-093012-aaaa"}}}},
		{"resume of a job that is being rolled back", &migrate.UndoneError{Job: testJob}},
		{"resume of a job that is done", &migrate.FinishedError{Job: testJob, Clone: "-rf"}},
		{"rollback under a running clone", &migrate.CloneStartedError{Clone: "imap-luks", Running: true}},
		{"rollback of a clone that was started", &migrate.CloneStartedError{Clone: "-rf", Evidence: "its disk was written"}},
		{"rollback of a clone that was undefined and differs", &migrate.CloneStartedError{Clone: "imap-luks", Evidence: "its disk vda differs from the copy: chunk 0", Job: testJob, Undefined: true, Definition: "/var/lib/vmmigrate/jobs/" + testJob + "/clone.xml"}},
		{"rollback of a clone that was undefined and is locked", &migrate.CloneStartedError{Clone: "imap-luks", Evidence: "its disk vda is locked, so that it can't be compared with the copy", Job: testJob, Undefined: true, Locked: &migrate.DiskPlan{Mapper: "cr_imap_vda", Volume: migrate.VolumePlan{Path: "/dev/vg0/imap-vda-luks"}}}},
		{"rollback of a clone whose original was retired", &migrate.OriginalRetiredError{Clone: "imap-luks"}},
		{"rollback of a clone that was undefined and whose original was retired", &migrate.OriginalRetiredError{Clone: "imap-luks", Undefined: true, Definition: "/var/lib/vmmigrate/jobs/" + testJob + "/clone.xml"}},
		{"a rollback that is not complete", &migrate.RollbackError{Job: testJob, VM: "imap", Err: &luks.BusyError{Mapper: "cr_imap_vda", Holders: []string{"process 4711 (qemu)"}}}},
		{"a rollback that finds something beside its header", &migrate.RollbackError{Job: testJob, VM: "imap", Err: &luks.ForeignError{Device: "/dev/sdb1", UUID: "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d01", Bears: luks.Signature{Type: "gpt"}, Header: true}}},
		{"a device that is not blank any more", stopped(migrate.CreateVolume, &migrate.ConflictError{What: "the device /dev/sdb1", Reason: "it is not blank any more, it bears ext4"})},
		{"a rollback that can't be recorded", &migrate.RollbackError{Job: testJob, VM: "imap", Err: &journal.WriteError{Path: path, Err: syscall.ENOSPC}}},
		{"another vmmigrate at work", &journal.LockedError{Path: "/var/lib/vmmigrate/locks/0", What: `the VM "imap"`, PID: 4711}},
		{"verify of a locked disk", &migrate.LockedPayloadError{Mapper: "cr_imap_vda", Volume: "/dev/vg0/imap-vda-luks"}},
		{"verify of a locked disk of a clone", &migrate.LockedPayloadError{Mapper: "cr_imap_vda", Volume: "/dev/vg0/imap-vda-luks", Clone: "imap-luks"}},
		{"verify that finds a difference", &migrate.DifferenceError{Disk: "vda", Err: errors.New("chunk 7 differs")}},
		{"a damaged journal", &journal.DamagedError{Path: path, Offset: 120, Reason: "the checksum is wrong"}},
		{"a journal of a newer vmmigrate", &journal.VersionError{Path: path, Version: 9}},
		{"a job that had not begun", &journal.EmptyError{Path: path}},
		{"a state directory that is full", &journal.WriteError{Path: path, Err: syscall.ENOSPC}},
		{"a batch of which some failed", &migrate.BatchError{Failed: 1, All: 3, Errs: []error{stopped(migrate.Copy, syscall.EIO)}}},
		{"a batch that was interrupted", &migrate.BatchError{Failed: 2, All: 3, Errs: []error{stopped(migrate.Copy, &migrate.InterruptedError{Why: "SIGINT"})}}},
	}
}

func aftermathCases() []explainCase {
	cause := &migrate.ConflictError{What: "the volume vg0/imap-vda-luks", Reason: "it bears no tag of this job"}
	in := func(step migrate.StepName, aftermath migrate.Aftermath, undo error) error {
		return &migrate.StepError{Job: testJob, VM: "imap", Step: step, Aftermath: aftermath, Err: cause, UndoErr: undo}
	}
	return []explainCase{
		{"a job refused at preflight", in(migrate.Preflight, migrate.Refused, nil)},
		{"a job that was taken back", in(migrate.CreateVolume, migrate.TakenBack, nil)},
		{"a job that could not be taken back", in(migrate.CreateVolume, migrate.UndoFailed, errors.New("lvremove failed"))},
		{"a job that is kept", in(migrate.Copy, migrate.Kept, nil)},
		{"a job interrupted by Ctrl-C", stopped(migrate.Copy, &migrate.InterruptedError{Why: "SIGINT"})},
		{"a clone that does not start", &migrate.StartError{Clone: "imap-luks", Err: &hypervisor.RefusedError{Call: "start the domain", Code: 1, Message: "no memory"}}},
		{"a job stopped as asked", stopped(migrate.Format, migrate.ErrStopAfter)},
		{"a key that could not be had half-way", stopped(migrate.Open, &migrate.KeyError{Err: &keySourceError{"the terminal", errors.New("no passphrase was given")}})},
	}
}

func stepCases() []explainCase {
	device := "/dev/vg0/imap-vda-luks"
	return []explainCase{
		{"a source that changed", stopped(migrate.Copy, &migrate.SourceChangedError{Disk: "vda", Path: "/dev/vg0/imap_hd0", Reason: "it was written to"})},
		{"a source that was started", stopped(migrate.Copy, &migrate.SourceStartedError{VM: "imap"})},
		{"a group that is full", stopped(migrate.CreateVolume, &lvm.NoSpaceError{VG: "vg0", Need: 4 << 30, Free: 1 << 30})},
		{"a volume whose name is taken", stopped(migrate.CreateVolume, &lvm.ExistsError{VG: "vg0", Name: "imap-vda-luks"})},
		{"a volume name that LVM does not take", stopped(migrate.CreateVolume, &lvm.NameError{Name: "..", Reason: "it is reserved"})},
		{"a volume in use", stopped(migrate.CreateVolume, &lvm.InUseError{VG: "vg0", Name: "imap-vda-luks"})},
		{"a guest's group in use", stopped(migrate.Close, &lvm.InUseError{VG: "guestvg"})},
		{"a volume of somebody else", stopped(migrate.CreateVolume, &lvm.NotOursError{VG: "vg0", Name: "imap-vda-luks", Tag: "vmmigrate.job=" + testJob})},
		{"a volume of which somebody made snapshots", stopped(migrate.CreateVolume, &lvm.SnapshotError{VG: "vg0", Name: "imap-vda-luks", Snapshots: []string{"one", "two"}})},
		{"a volume that pvmove has not left yet", stopped(migrate.CreateVolume, &lvm.MovingError{VG: "vg0", Name: "imap-vda-luks"})},
		{"a rollback that would take a snapshot along", &lvm.SnapshotError{VG: "vg0", Name: "imap-vda-luks", Snapshots: []string{"one"}}},
		{"a key slot that is taken", stopped(migrate.Format, &luks.SlotError{Device: device, Slot: 1, Taken: true})},
		{"the wrong key", stopped(migrate.Open, &luks.WrongKeyError{Device: device})},
		{"a volume that lost its header", stopped(migrate.Open, &luks.NotLUKSError{Device: device})},
		{"a volume that is gone", stopped(migrate.Open, &luks.NotFoundError{Kind: "device", Name: device})},
		{"a mapping whose name is taken", stopped(migrate.Open, &luks.ExistsError{Mapper: "cr_imap_vda"})},
		{"a header backup that is there", stopped(migrate.HeaderBackup, &luks.ExistsError{File: "/var/lib/vmmigrate/jobs/" + testJob + "/vda.luks-header"})},
		{"a volume that something else opened", stopped(migrate.Format, &luks.InUseError{Device: device, Holders: []string{"process 4711 (dd)"}})},
		{"a mapping in use", stopped(migrate.Close, &luks.BusyError{Mapper: "cr_imap_vda", Holders: []string{"process 4711 (qemu)"}})},
		{"a volume too small", stopped(migrate.Format, &luks.TooSmallError{Device: device, Size: 1, Need: 2})},
		{"a header of another size", stopped(migrate.Format, &luks.OffsetError{Device: device, Want: 16 << 20, Got: 2 << 20})},
		{"an encryption that is not to be had", before(&luks.RefusedError{Reason: "Requested hash sha99 is not supported"})},
		{"a format that cryptsetup does not know", stopped(migrate.Format, &luks.SpecError{Field: "Cipher", Reason: "unknown"})},
		{"a mapping name that is none", stopped(migrate.Open, &luks.NameError{Name: "a/b", Reason: "it holds a slash"})},
		{"a clone that exists", stopped(migrate.Define, &hypervisor.ExistsError{Name: "imap-luks", UUID: "3f9c2d10-0f3e-4a55-9a7e-2b8c51f0aa02", By: "name"})},
		{"a clone that runs", stopped(migrate.Define, &hypervisor.ActiveError{Name: "imap-luks", State: hypervisor.Running})},
		{"libvirt hangs half-way", stopped(migrate.Define, &hypervisor.TimeoutError{Call: "define the domain", After: time.Minute})},
		{"a full state directory half-way", stopped(migrate.Copy, &journal.WriteError{Path: "/var/lib/vmmigrate/jobs/" + testJob + "/journal", Err: syscall.ENOSPC})},
		{"a program killed half-way", stopped(migrate.Format, &command.Error{Argv: []string{"cryptsetup", "luksFormat"}, ExitCode: -1, Err: context.DeadlineExceeded})},
	}
}

func copyCases() []explainCase {
	source, target := "/dev/vg0/imap_hd0", "/dev/mapper/cr_imap_vda"
	return []explainCase{
		{"a copy that makes no sense", stopped(migrate.Copy, &blockcopy.JobError{Field: "ChunkSize", Reason: "it is 0"})},
		{"a source that something holds", stopped(migrate.Copy, &blockcopy.OpenError{Path: source, Busy: true, Err: syscall.EBUSY})},
		{"a source that can't be opened", stopped(migrate.Copy, &blockcopy.OpenError{Path: source, Err: syscall.EACCES})},
		{"source and target are one", stopped(migrate.Copy, &blockcopy.SameDeviceError{Source: source, Target: source})},
		{"a payload of the wrong size", stopped(migrate.Copy, &blockcopy.SizeError{Name: target, Size: 1, Need: 2})},
		{"a source that shrank", stopped(migrate.Copy, &blockcopy.ShortError{Name: source, Offset: 4096, Missing: 512})},
		{"a source with a bad sector", stopped(migrate.Copy, &blockcopy.ReadError{Name: source, Offset: 4096, Length: 512, Sector: 8, Attempts: 3, Err: syscall.EIO})},
		{"a target that can't be written", stopped(migrate.Copy, &blockcopy.WriteError{Name: target, Offset: 4096, Length: 512, Sector: 8, Err: syscall.EIO})},
		{"a target that can't be flushed", stopped(migrate.Copy, &blockcopy.FlushError{Name: target, Err: syscall.EIO})},
		{"chunks that can't be recorded", stopped(migrate.Copy, &blockcopy.CheckpointError{Err: syscall.ENOSPC})},
		{"a copy that would go over what a guest wrote", stopped(migrate.Copy, &migrate.GuestWroteError{
			Clone: "imap-luks", Disk: "vda", Definition: "/var/lib/vmmigrate/jobs/" + testJob + "/clone.xml", Err: errors.New("what is recorded of its copy is lost or damaged"),
		})},
		{"a copy that differs", stopped(migrate.Verify, &migrate.DifferenceError{Disk: "vda", Err: &blockcopy.MismatchError{Name: target, Chunk: 1, Offset: 4 << 20, Length: 4 << 20}})},
		{"a copy that differs, and another disk that can't be read", stopped(migrate.Verify, errors.Join(
			&migrate.DifferenceError{Disk: "vda", Err: &blockcopy.MismatchError{Name: target, Chunk: 1, Offset: 4 << 20, Length: 4 << 20}},
			fmt.Errorf("copy of vdb failed too: %w", &blockcopy.ReadError{Name: "/dev/sdb", Offset: 4096, Length: 512, Sector: 8, Attempts: 1, Err: syscall.EIO}),
		))},
		{"a copy that differs, and an interruption", stopped(migrate.Verify, errors.Join(
			&migrate.DifferenceError{Disk: "vda", Err: &blockcopy.MismatchError{Name: target, Chunk: 1, Offset: 4 << 20, Length: 4 << 20}}, &migrate.InterruptedError{Why: "SIGINT"},
		))},
		{"a digest that is not recorded", stopped(migrate.Verify, &blockcopy.IncompleteError{Chunk: 3})},
		{"a record of chunks that is damaged", stopped(migrate.Copy, &blockcopy.RecordError{Path: "vda.chunks", Reason: "the checksum is wrong"})},
	}
}
