package migrate

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// onDevice asks for a blank device with room for the first disk, which change
// makes another.
func (s *situation) onDevice(change func(*NamedFacts)) {
	named := NamedFacts{
		DeviceFacts: DeviceFacts{Path: blankLink, Resolved: blankLink, ID: blankLink, Block: true, Size: gib + 20*mib},
		Names:       DeviceNames{Stable: blankName},
	}
	change(&named)
	s.options.Device = blankLink
	s.facts.Named = map[string]NamedFacts{blankLink: named}
}

func TestWhatADeviceHasBeyondTheDiskGoesBeforeThePayload(t *testing.T) {
	s := imap(t)
	s.facts.VGs = nil // it needs none
	s.onDevice(func(*NamedFacts) {})
	plan := s.plan()
	if len(plan.Blockers) > 0 {
		t.Fatal(plan.Blockers)
	}
	disk := plan.Disks[0]
	if disk.Payload != gib || disk.Offset != 20*mib || disk.Volume.Size-disk.Offset != disk.Payload {
		t.Errorf("%+v", disk)
	}
	if disk.Volume.Path != blankName || disk.Volume.String() != blankName || disk.Volume.Kind != OnDevice {
		t.Errorf("%+v", disk.Volume)
	}
	if origin := plan.edit().Origin.Disks[0]; origin.Path != blankName || origin.VG != "" || origin.Volume() != blankName {
		t.Errorf("the metadata say %+v", origin)
	}
}

func TestADeviceThatIsAVolumeIsKnownByItsGroupAndName(t *testing.T) {
	s := imap(t)
	s.onDevice(func(n *NamedFacts) { n.ID = blockID(254, 7) })
	s.facts.LVs = []lvm.LV{{VG: "vg0", Name: "empty", Path: "/dev/vg0/empty", DMPath: "/dev/mapper/vg0-empty", Active: true, Major: 254, Minor: 7}}
	plan := s.plan()
	if volume := plan.Disks[0].Volume; len(plan.Blockers) > 0 || volume.Path != "/dev/vg0/empty" || volume.String() != "vg0/empty" || volume.Extents != 0 {
		t.Errorf("%+v, %v", volume, plan.Blockers)
	}
	if origin := plan.edit().Origin.Disks[0]; origin.VG != "vg0" || origin.LV != "empty" || origin.Path != "" {
		t.Errorf("the metadata say %+v", origin)
	}
}

// deviceCase is a device that is refused.
type deviceCase struct {
	when   string
	code   Code
	says   string
	change func(*situation, *NamedFacts)
}

func deviceCases() []deviceCase {
	return []deviceCase{
		{"it is not there", TargetMissing, "can't be looked at", func(_ *situation, n *NamedFacts) { n.Err = fs.ErrNotExist }},
		{"it is a volume that is not active", TargetMissing, "lvchange -ay vg0/empty", func(s *situation, n *NamedFacts) {
			n.Err = fs.ErrNotExist
			s.facts.LVs = []lvm.LV{{VG: "vg0", Name: "empty", Path: blankLink}}
		}},
		{"it is a file", TargetUnfit, "no block device", func(_ *situation, n *NamedFacts) { n.Block = false }},
		{"it is read-only", TargetUnfit, "blockdev --setrw", func(_ *situation, n *NamedFacts) { n.ReadOnly = true }},
		{"it has a file system", NotBlank, "it bears ext4 cafe", func(_ *situation, n *NamedFacts) {
			n.Signatures = []luks.Signature{{Type: "ext4", UUID: "cafe"}}
		}},
		{"it is a physical volume", NotBlank, "wipefs --all", func(_ *situation, n *NamedFacts) { n.Signatures = []luks.Signature{{Type: "LVM2_member"}} }},
		{"somebody has it open", TargetInUse, "in use by process 7 (dd)", func(_ *situation, n *NamedFacts) { n.Holders = []string{"process 7 (dd)"} }},
		{"the kernel has it", TargetInUse, "lsblk", func(_ *situation, n *NamedFacts) { n.Busy = true }},
		{"it is a disk of the VM itself", TargetInUse, `the disk vda of the VM "imap"`, func(_ *situation, n *NamedFacts) { n.ID = "/dev/vg0/imap" }},
		{"it is a disk of another VM", TargetInUse, `the VM "web"`, func(s *situation, n *NamedFacts) {
			s.addVM("web", "44444444-2222-4333-8444-555555555555", rawDisk("vda", "/dev/sdb", ""))
			n.ID = "/dev/sdb"
		}},
		{"the disk that it is a part of is another VM's", TargetInUse, `the VM "web"`, func(s *situation, n *NamedFacts) {
			s.addVM("web", "44444444-2222-4333-8444-555555555555", rawDisk("vda", "/dev/sdb", ""))
			n.Names.Whole = "/dev/sdb"
		}},
		{"it is a block too small", TargetSmall, "1,090,515,968 bytes, and 1,090,519,040 are needed", func(_ *situation, n *NamedFacts) { n.Size = gib + 16*mib - 4096 + 1024 }},
		{"its end is none of a block", TargetUnfit, "no multiple of 4096", func(_ *situation, n *NamedFacts) { n.Size += 512 }},
		{"an unfinished job has it", TargetTaken, "vmmigrate rollback", func(s *situation, _ *NamedFacts) {
			s.facts.Jobs = []JobInfo{{ID: "20260301-120000-aaaa", State: StateInterrupted, Plan: &Plan{VM: "web", VMUUID: "x", Disks: []DiskPlan{{Volume: VolumePlan{Kind: OnDevice, Path: blankName}}}}}}
		}},
	}
}

// deviceClaims are the cases as claims.
func deviceClaims() []claim {
	var all []claim
	for _, c := range deviceCases() {
		all = append(all, claim{code: c.code, when: "the device asked for: " + c.when, given: func(s *situation) {
			s.onDevice(func(n *NamedFacts) { c.change(s, n) })
		}})
	}
	return all
}

func TestADeviceThatIsNotBlankAndNobodysIsRefused(t *testing.T) {
	for _, c := range deviceCases() {
		s := imap(t)
		s.onDevice(func(n *NamedFacts) { c.change(s, n) })
		plan := s.plan()
		if found := codes(plan.Blockers); len(found) != 1 || !found[c.code] || !strings.Contains(plan.Blockers[0].String(), c.says) {
			t.Errorf("%s: %v", c.when, plan.Blockers)
		}
	}
}

func TestADeviceThatNoDiskCanMeanIsRefused(t *testing.T) {
	for when, change := range map[string]func(*Options){
		"one device for two disks": func(o *Options) { o.Device = blankLink },
		"a disk that is not there": func(o *Options) { o.Disks = map[string]DiskOptions{"vdz": {Device: blankLink}} },
		"a disk that stays":        func(o *Options) { o.Disks = map[string]DiskOptions{"sda": {Device: blankLink}} },
		"one device for each of two": func(o *Options) {
			o.Disks = map[string]DiskOptions{"vda": {Device: blankLink}, "vdb": {Device: blankLink}}
		},
		"a relative path":              func(o *Options) { o.Disks = map[string]DiskOptions{"vda": {Device: "sdb1"}} },
		"a device and a volume's name": func(o *Options) { o.Disks = map[string]DiskOptions{"vda": {Device: blankLink, LV: "x"}} },
		"a device and a group":         func(o *Options) { o.Device, o.VG = blankLink, "vg0" },
	} {
		s := twoDisks(t)
		change(&s.options)
		var bad *OptionError
		if _, err := s.decider().Decide("imap", s.options); !errors.As(err, &bad) || bad.Option != targetDevice {
			t.Errorf("%s: %v", when, err)
		}
	}
}

func TestOfTwoPlansOneGetsADevice(t *testing.T) {
	s := imap(t)
	s.onDevice(func(*NamedFacts) {})
	s.addVM("web", "44444444-2222-4333-8444-555555555555", rawDisk("vda", "/dev/vg0/web", ""))
	decider := s.decider()
	for i, name := range []string{"imap", "web"} {
		plan, err := decider.Decide(name, s.options)
		if err != nil || codes(plan.Blockers)[TargetTaken] != (i > 0) {
			t.Errorf("%s: %v, %v", name, plan.Blockers, err)
		}
	}
}

func TestWhatWasPutOnADeviceMeanwhileIsNotOverwritten(t *testing.T) {
	ext4 := luks.Signature{Type: "ext4"}
	w := withDevice(t)
	plan := w.planned()
	w.luks.Sign(blankName, ext4)
	var blocked *BlockedError
	if _, err := w.run(plan, ""); !errors.As(err, &blocked) || blocked.Blockers[0].Code != NotBlank {
		t.Errorf("before the run: %v", err)
	}

	w = withDevice(t)
	plan = w.planned()
	if _, err := w.run(plan, CreateVolume); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	w.luks.Sign(blankName, ext4)
	var conflict *ConflictError
	if _, err := w.resume(plan.Job); !errors.As(err, &conflict) {
		t.Errorf("before the format: %v", err)
	}
	if found, _ := w.luks.Signatures(t.Context(), blankName); len(found) != 1 || found[0] != ext4 {
		t.Errorf("it bears %v", found)
	}
}

func TestARollbackErasesItsOwnHeaderAlone(t *testing.T) {
	w := withDevice(t)
	plan := w.planned()
	if _, err := w.run(plan, Open); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	w.luks.Reboot()
	ext4 := luks.Signature{Type: "ext4"}
	w.luks.Sign(blankName, ext4)
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	if found, _ := w.luks.Signatures(t.Context(), blankName); len(found) != 1 || found[0] != ext4 {
		t.Errorf("it bears %v", found)
	}
}

func TestADeviceThatIsAwayKeepsARollbackFromForgettingItsHeader(t *testing.T) {
	w := withDevice(t)
	before := w.look()
	plan := w.planned()
	if _, err := w.run(plan, Format); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	w.blanks = nil
	if err := w.rollback(plan.Job, false); err == nil {
		t.Fatal("a rollback without the device is complete")
	}
	w.blanks = map[string]int64{blankLink: 20 * mib, blankName: 20 * mib}
	w.mustRollback(plan.Job, "with the device back")
	w.wantSame(before, "with the device back")
}

// What comes between the look at the device and the format is somebody's too.
func TestAForeignHeaderOnADeviceIsNotTakenForWhatLayThereBefore(t *testing.T) {
	w := withDevice(t)
	plan := w.planned()
	if _, err := w.run(plan, CreateVolume); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	job, err := (&Engine{Env: w.env()}).open(plan.Job)
	if err != nil {
		t.Fatal(err)
	}
	defer job.close()
	spec := job.Plan.formatSpec(&job.Plan.Disks[0])
	spec.UUID = "0b0b0b0b-0000-4000-8000-000000000000"
	key, err := job.unlockKey(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.luks.Format(t.Context(), spec, key); err != nil {
		t.Fatal(err)
	}
	var conflict *ConflictError
	if standing, err := (format{}).Check(t.Context(), job, &job.Plan.Disks[0]); !errors.As(err, &conflict) {
		t.Errorf("%v, %v", standing, err)
	}
}
