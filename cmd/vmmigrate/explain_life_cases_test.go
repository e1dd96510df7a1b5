package main

import (
	"errors"
	"time"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/luks"
)

// lifeCases are the errors of the life after the move.
func lifeCases() []explainCase {
	const clone, uuid = "imap-luks", "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d01"
	orphan := lifecycle.Orphan{VG: "vg0", LV: "imap-vda-luks", Job: testJob, Size: 1 << 30}
	kept := orphan
	kept.Definition = "/var/lib/vmmigrate/jobs/" + testJob + "/clone.xml"
	busy := &luks.BusyError{Mapper: "cr_imap_vda", Holders: []string{"a mount at /mnt"}}
	check := func(verdict lifecycle.Verdict, file string) *headerCheckError {
		return &headerCheckError{clone: clone, checks: []lifecycle.HeaderCheck{{Disk: "vda", Volume: "vg0/imap-vda-luks", File: file, Verdict: verdict}}}
	}
	volume := func(reason string, group lifecycle.Group) error {
		return &lifecycle.VolumeError{Clone: clone, Disk: "vda", Volume: "vg0/imap-vda-luks", VG: "vg0", LUKS: uuid, Reason: reason, Group: group}
	}
	return []explainCase{
		{"a clone that is mistyped", before(&lifecycle.UnknownCloneError{Name: "imap-lux", Known: []string{clone, "web-luks"}})},
		{"an original named in its clone's place", &lifecycle.UnknownCloneError{Name: "imap", Defined: true, Clones: []string{clone}, Known: []string{clone}}},
		{"a VM that was never moved", &lifecycle.UnknownCloneError{Name: "web", Defined: true, Known: []string{clone}}},
		{"a clone that was undefined behind our back", &lifecycle.UnknownCloneError{Name: clone, Orphans: []lifecycle.Orphan{orphan}}},
		{"a clone that was undefined and whose definition was kept", &lifecycle.UnknownCloneError{Name: clone, Orphans: []lifecycle.Orphan{kept, kept}}},
		{"a disk that was opened by hand under another name", &lifecycle.OpenElsewhereError{Clone: clone, Disk: "vda", Mapper: "rescue", Want: "cr_imap_vda"}},
		{"a disk that was opened read-only by hand", &lifecycle.OpenElsewhereError{Clone: clone, Disk: "vda", Mapper: "cr_imap_vda", Want: "cr_imap_vda", ReadOnly: true}},
		{"a mapping of another volume under the disk's name", &lifecycle.NameTakenError{Clone: clone, Disk: "vda", Mapper: "cr_imap_vda", Holds: uuid}},
		{"a volume group that is exported", volume("its volume group is exported", lifecycle.GroupExported)},
		{"a volume group that is missing", volume("there is no volume group of that name", lifecycle.GroupMissing)},
		{"a volume group without one of its disks", volume("a disk of its volume group is missing", lifecycle.GroupPartial)},
		{"a clone's partition that is gone", &lifecycle.VolumeError{Clone: clone, Disk: "vda", Volume: "/dev/disk/by-partuuid/b1a2-01", LUKS: uuid, Reason: "it is not there, and no other device bears the LUKS header " + uuid}},
		{"a clone's file that is gone", &lifecycle.VolumeError{Clone: clone, Disk: "vda", Volume: "/srv/luks/imap-vda-luks.img", LUKS: uuid, Reason: "it is not there, or bears another LUKS header; its file system may not be mounted"}},
		{"a clone's volume that is gone", volume("no volume bears the LUKS header "+uuid, "")},
		{"a clone's header that was overwritten", &lifecycle.HeaderLostError{Clone: clone, Disk: "vda", Volume: "vg0/imap-vda-luks", LUKS: uuid}},
		{"a header file that is not there", &lifecycle.HeaderLostError{Clone: clone, Disk: "vda", Volume: "vg0/imap-vda-luks", LUKS: uuid, File: "/media/stick/imap.header", Gone: true}},
		{"a header file that holds none", &lifecycle.HeaderLostError{Clone: clone, Disk: "vda", Volume: "vg0/imap-vda-luks", LUKS: uuid, File: "/media/stick/imap.header"}},
		{"a header file of another volume", &lifecycle.HeaderFileError{Clone: clone, Disk: "vda", File: "/media/stick/imap.header", LUKS: uuid, Bears: "6c1b5a5e-5a0e-4d2c-8a34-0d3c6d1d1a01"}},
		{"a header file that can't be read", &lifecycle.HeaderFileError{Clone: clone, Disk: "vda", File: "/media/stick/imap.header", LUKS: uuid, Err: errors.New("input/output error")}},
		{"a disk that a clone has not", &lifecycle.NoDiskError{Clone: clone, Disk: "vdz", Known: []string{"vda", "vdb"}}},
		{"a clone whose original runs", &lifecycle.ConflictError{Clone: clone, Other: "imap", Original: true}},
		{"a clone whose hardware address is in use", &lifecycle.ConflictError{Clone: clone, Other: "web", MACs: []string{"52:54:00:11:22:33"}}},
		{"a clone whose disk another VM has", &lifecycle.ConflictError{Clone: clone, Other: "web", Device: "/dev/mapper/cr_imap_vda"}},
		{"a clone whose disk is mounted on the host", &lifecycle.InUseError{Clone: clone, Disk: "vda", Mapper: "cr_imap_vda"}},
		{"a running clone that is to be locked", &lifecycle.RunningError{Clone: clone, State: hypervisor.Running}},
		{"a clone that libvirt does not start", &lifecycle.StartError{Clone: clone, LockedAgain: true, Err: &hypervisor.RefusedError{Call: "start the domain", Message: "network 'lan' is not active"}}},
		{"a guest that does not shut down", &lifecycle.StillRunningError{Clone: clone, State: hypervisor.Running, After: 2 * time.Minute}},
		{"a guest that is paused", &lifecycle.StillRunningError{Clone: clone, State: hypervisor.Paused}},
		{"a wait for a guest that Ctrl-C ended", &lifecycle.StillRunningError{Clone: clone, State: hypervisor.Running, Err: errors.New("interrupted: SIGINT")}},
		{"a disk that is held and can't be locked", &lifecycle.LockError{Clone: clone, Disk: "vda", Mapper: "cr_imap_vda", Err: busy}},
		{"some clones of several that failed", &clonesError{failed: 1, all: 2, errs: []error{busy}}},
		{"header backups with one --out file for two disks", &lifecycle.OutError{Out: "/root/header", Reason: `"imap-luks" has 2 encrypted disks, and each needs a file`, Disks: []string{"vda", "vdb"}}},
		{"a header backup that is there already", &luks.ExistsError{File: "/root/header"}},
		{"a file beside a backup that says nothing", &lifecycle.BesideError{Path: "/root/header.sha256", Reason: "it holds no digest"}},
		{"a header backup of another volume", &lifecycle.ForeignError{Clone: clone, File: "/root/header", UUID: "6c1b5a5e-5a0e-4d2c-8a34-0d3c6d1d1a01", Known: []string{uuid}}},
		{"a header backup that does not fit", &lifecycle.ForeignError{Clone: clone, File: "/root/header", UUID: uuid, Reason: "its payload begins at byte 16777216 and the volume's at 17825792"}},
		{"a header backup that is damaged", &lifecycle.BackupError{File: "/root/header", Reason: "its SHA-256 is not the one beside it, in header.sha256"}},
		{"a restore that failed half-way", &lifecycle.RestoreError{Clone: clone, Disk: "vda", Kept: "/var/lib/vmmigrate/headers/kept.raw", Err: errors.New("input/output error")}},
		{"a header backup of before a change of keys", check(lifecycle.Outdated, "/root/header")},
		{"a header that only its backup can bring back", check(lifecycle.LiveDamaged, "/root/my header")},
		{"a key that does not fit a clone", &lifecycle.KeyError{Clone: clone, Disk: "vda", Volume: "vg0/imap-vda-luks", Tries: 1}},
		{"three passphrases that do not fit", &lifecycle.KeyError{Clone: clone, Disk: "vda", Volume: "vg0/imap-vda-luks", Tries: 3}},
		{"a new key that is the old one", &lifecycle.SameKeyError{Clone: clone}},
		{"no key slot left", &lifecycle.NoSlotError{Clone: clone, Disk: "vda", Volume: "vg0/imap-vda-luks", Slots: 8}},
		{"the last key", &lifecycle.LastKeyError{Clone: clone, Disk: "vda", Slot: 0}},
		{"a key that is to be taken away with itself", &lifecycle.LastKeyError{Clone: clone, Disk: "vda", Slot: 1, Proof: true}},
		{"a key slot that is empty", &lifecycle.SlotError{Clone: clone, Slot: 7, Slots: []lifecycle.KeySlot{{Disk: "vda", Volume: "vg0/imap-vda-luks", Slot: 0}}}},
		{"keys that were changed on one disk of two", &lifecycle.KeysPartlyError{Clone: clone, Err: errors.New("input/output error")}},
		{"keys that were changed with a full state directory", &afterKeysError{clone: clone, err: errors.New("no space left on device")}},
	}
}
