package main

import (
	"errors"
	"syscall"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// layoutCases are the errors of disks that stay images.
func layoutCases() []explainCase {
	const clone, dir = "imap-luks", "/var/lib/libvirt/images/imap-vda-luks"
	busy := &filesystem.BusyError{Dir: dir, Holders: []string{"process 4711 (bash)"}}
	mount := &filesystem.MountError{Device: "/dev/mapper/cr_imap_vda", Dir: dir, Type: filesystem.Ext4, Err: errors.New("structure needs cleaning")}
	stopped := func(step migrate.StepName, err error) error {
		return &migrate.StepError{Job: testJob, VM: "imap", Step: step, Disk: "vda", Aftermath: migrate.Kept, Err: err}
	}
	return []explainCase{
		{"a file system that is full", stopped(migrate.Copy, &blockcopy.WriteError{Name: dir + "/vda.qcow2", Offset: 4096, Length: 65536, Sector: 8, Err: syscall.ENOSPC})},
		{"a mount point that is taken", stopped(migrate.Mount, &filesystem.DirError{Dir: dir, Reason: "has something in it (backup)"})},
		{"a file system that can't be mounted", stopped(migrate.Mount, mount)},
		{"a file system that is in use in a rollback", &migrate.RollbackError{Job: testJob, VM: "imap", Err: busy}},
		{"a disk whose file system can't be mounted", &lifecycle.MountError{Clone: clone, Disk: "vda", Err: mount}},
		{"a disk whose mount point is taken", &lifecycle.MountError{Clone: clone, Disk: "vda", Err: &filesystem.DirError{Dir: dir, Reason: "is no folder"}}},
		{"a disk whose file system is in use", &lifecycle.LockError{Clone: clone, Disk: "vda", Mapper: "cr_imap_vda", Err: busy}},
		{"a verification of a file system that is not mounted", &migrate.LockedPayloadError{Mapper: "cr_imap_vda", Volume: "/dev/vg0/imap-vda-luks", Mount: dir, Clone: clone}},
	}
}
