package main

import (
	"errors"
	"syscall"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
	"github.com/vmmigrate/vmmigrate/succession"
)

// retireCases are the errors of retire.
func retireCases() []explainCase {
	const clone, original, disk = "imap", "imap-plain", "/dev/vg0/imap"
	stopped := func(step migrate.StepName, wiped bool, err error) error {
		return &succession.RetireError{Job: testJob, Clone: clone, Original: original, Step: step, Disk: "vda", Wiped: wiped, Err: err}
	}
	return []explainCase{
		{"an original that can't be retired", before(&succession.RetireBlockedError{Clone: clone, Original: original, Reasons: []succession.Reason{
			{Code: succession.NotRun, Text: `nothing shows that "imap" has ever run`, Remedy: "vmmigrate start imap"},
			{Code: succession.Used, Disk: "vda", Text: `/dev/vg0/imap is the disk vdb of the VM "web"`, Remedy: "virsh domblklist web"},
			{Code: succession.Unknown, Disk: "vdb", Text: "nothing tells for certain whether /dev/sdb1 is the disk that was copied"},
		}})},
		{"a retirement that is to be taken back too late", &succession.WipedError{Job: testJob, Original: original}},
		{"a retirement that has begun by another method", &succession.OtherwiseError{Job: testJob, Original: "imap", Method: succession.Zero, Keep: true}},
		{"a cutover of an original that is being retired", &succession.RetiringError{Job: testJob, Original: "imap"}},
		{"a retirement that is done", &succession.RetiredError{Job: testJob, Original: original, Record: "/var/lib/vmmigrate/records/" + testJob + ".json"}},
		{"a wipe that Ctrl-C ended", stopped(migrate.Wipe, true, &migrate.InterruptedError{Why: "SIGINT"})},
		{"a wipe of a disk with a dead sector", stopped(migrate.Wipe, true, &blockcopy.WriteError{Name: disk, Offset: 4096, Length: 512, Sector: 8, Err: syscall.EIO})},
		{"a wipe that reads back something else", stopped(migrate.ReadBack, true, &blockcopy.MismatchError{Name: disk, Chunk: 1, Offset: 1 << 22, Length: 1 << 22})},
		{"a wipe of a disk that somebody uses by now", stopped(migrate.Wipe, false, &succession.RetireBlockedError{Clone: clone, Original: original, Reasons: []succession.Reason{{Code: succession.Used, Text: `/dev/vg0/imap is the disk vda of the VM "web"`, Remedy: "virsh domblklist web"}}})},
		{"a wipe of a disk that takes no discards", stopped(migrate.Wipe, true, &succession.NoDiscardError{Path: disk})},
		{"a wipe with a full state directory", stopped(migrate.Wipe, true, &journal.WriteError{Path: "/var/lib/vmmigrate/retirements", Err: syscall.ENOSPC})},
		{"a wiped volume that was renamed", stopped(migrate.RemoveDisk, true, &lvm.ChangedError{VG: "vg0", Name: "imap", Size: 1 << 20, Now: lvm.LV{VG: "vg0", Name: "mail", Size: 1 << 20}})},
		{"an original that is started while it is retired", stopped(migrate.PutAway, false, &succession.PartyError{VM: original, Clone: clone, Problem: succession.Active, State: hypervisor.Running})},
		{"a retirement under a libvirt that hangs", stopped(migrate.PutAway, false, &hypervisor.TimeoutError{Call: "undefine", After: 30e9})},
		{"a retirement that can't be taken back", &succession.RetireError{Job: testJob, Clone: clone, Original: original, Step: migrate.PutAway, Back: true, Err: errors.New("input/output error")}},
	}
}
