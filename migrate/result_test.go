package migrate

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/domainxml"
)

func TestAVMWhoseDisksAreAllEncryptedIsDone(t *testing.T) {
	for when, given := range map[string]func(*situation){
		"LUKS inside the disk":    func(s *situation) { s.disk("vda", func(d *DiskFacts) { d.LUKS = true }) },
		"dm-crypt below the disk": func(s *situation) { s.disk("vda", func(d *DiskFacts) { d.Encrypted = true }) },
		"and it runs": func(s *situation) {
			s.disk("vda", func(d *DiskFacts) { d.Encrypted = true })
			s.vm().State = "running"
		},
	} {
		s := imap(t)
		given(s)
		if plan := s.plan(); plan.Result() != ResultDone || len(s.taken) != 0 {
			t.Errorf("%s: %s, %v, taken %v", when, plan.Result(), plan.Blockers, s.taken)
		}
		s.options.EncryptAgain = true
		if plan := s.plan(); len(plan.Disks) != 1 || codes(plan.Blockers)[AlreadyLUKS] {
			t.Errorf("%s: encrypted again: %v", when, plan.Blockers)
		}
	}
}

func TestAVMWithOnePlainDiskLeftIsNotDone(t *testing.T) {
	s := imap(t)
	s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "")+rawDisk("vdb", "/srv/data.img", ""))
	s.disk("vda", func(d *DiskFacts) { d.Encrypted = true })
	if plan := s.plan(); plan.Result() != ResultBlocked {
		t.Errorf("%s: %v", plan.Result(), plan.Blockers)
	}
	s.options.SkipDisks = []string{"vda"}
	if plan := s.plan(); plan.Result() != ResultReady {
		t.Errorf("with the encrypted one skipped: %s: %v", plan.Result(), plan.Blockers)
	}
}

func TestACloneOfOursIsDoneWhetherItsDisksAreOpenOrLocked(t *testing.T) {
	for _, c := range []struct{ locked, sliced bool }{{true, false}, {false, false}, {true, true}, {false, true}} {
		locked := c.locked
		s := imap(t)
		plan := s.plan()
		edit := plan.edit()
		if c.sliced { // its source was no multiple of 4096 bytes
			edit.Disks[0].GuestSize = gib - 512
		}
		rewritten, err := domainxml.Rewrite(s.vm().Raw, edit)
		if err != nil {
			t.Fatal(err)
		}
		s = imap(t)
		s.addVM(plan.Clone.Name, plan.Clone.UUID)
		clone := &s.facts.Domains[1]
		clone.Raw = rewritten.XML
		if clone.XML, err = domainxml.Parse(rewritten.XML); err != nil {
			t.Fatal(err)
		}
		facts := DiskFacts{DeviceFacts: DeviceFacts{Path: plan.Disks[0].Device, Size: gib, Block: true, Encrypted: true}}
		if locked {
			facts = DiskFacts{DeviceFacts: DeviceFacts{Path: plan.Disks[0].Device}, Err: fs.ErrNotExist}
		}
		clone.Disks["vda"] = facts
		of, err := s.decider().Decide(clone.Name, s.options)
		if err != nil {
			t.Fatal(err)
		}
		if of.Result() != ResultDone || !strings.Contains(of.Blockers[0].Message, "vg0/imap-vda-luks") {
			t.Errorf("%+v: %s: %v", c, of.Result(), of.Blockers)
		}
	}
}

func TestWhatIsDoneTakesNoRoomFromTheRest(t *testing.T) {
	s := imap(t)
	s.migrated()
	s.facts.VGs[0].FreeExtents = 300
	s.addVM("web", "7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f61", rawDisk("vda", "/srv/web.img", ""))
	decider := s.decider()
	for name, want := range map[string]Result{"imap": ResultDone, "web": ResultReady} {
		plan, err := decider.Decide(name, s.options)
		if err != nil {
			t.Fatal(err)
		}
		if plan.Result() != want {
			t.Errorf("%s is %s: %v", name, plan.Result(), plan.Blockers)
		}
	}
}

func TestTwoVMsOfOneCommandCannotHaveOneVolume(t *testing.T) {
	s := imap(t)
	s.addVM("web", "7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f61", rawDisk("vda", "/srv/web.img", ""))
	decider := s.decider()
	s.options.Disks = map[string]DiskOptions{"vda": {VG: "vg0", LV: "same"}}
	first, err := decider.Decide("imap", s.options)
	if err != nil || first.Result() != ResultReady || first.Disks[0].Volume.Name != "same" {
		t.Fatalf("%v, %v", first, err)
	}
	second, err := decider.Decide("web", s.options)
	if err != nil || !codes(second.Blockers)[LVTaken] {
		t.Errorf("%v, %v", second.Blockers, err)
	}
}
