package migrate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// twoDisks is a VM with a disk on vg0 and one in a file.
func twoDisks(t *testing.T) *situation {
	s := imap(t)
	s.second()
	return s
}

func groupsOf(plan *Plan) []string {
	var all []string
	for _, disk := range plan.Disks {
		all = append(all, disk.Volume.VG)
	}
	return all
}

func TestADiskGoesToTheGroupThatSuitsIt(t *testing.T) {
	for _, c := range []struct {
		when  string
		given func(*situation)
		want  []string
	}{
		{"the source's own group, even if another has more room", func(s *situation) {
			s.facts.VGs = append(s.facts.VGs, group("vg1", 4*mib, 90000))
		}, []string{"vg0", "vg0"}},
		{"the group asked for, whatever the sources' is", func(s *situation) {
			s.facts.VGs = append(s.facts.VGs, group("vg1", 4*mib, 2000))
			s.options.VG = "vg1"
		}, []string{"vg1", "vg1"}},
		{"each source its own group", func(s *situation) {
			s.facts.VGs = append(s.facts.VGs, group("vg1", 4*mib, 2000))
			s.disk("vdb", func(d *DiskFacts) { d.LV = &lvm.LV{VG: "vg1", Name: "data"} })
		}, []string{"vg0", "vg1"}},
		{"a file goes to the only group with room", func(s *situation) {
			s.onFile()
			s.facts.VGs = append(s.facts.VGs, group("vg1", 4*mib, 10), group("vg2", 4*mib, 9000))
			s.facts.VGs[0].FreeExtents = 5
		}, []string{"vg2", "vg2"}},
		{"a group that can't be used counts as one without room", func(s *situation) {
			s.onFile()
			s.facts.VGs = append(s.facts.VGs, group("vg1", 4*mib, 9000))
			s.facts.VGs[1].Exported = true
		}, []string{"vg0", "vg0"}},
	} {
		s := twoDisks(t)
		c.given(s)
		plan := s.plan()
		if diff := cmp.Diff(c.want, groupsOf(plan)); diff != "" || len(plan.Blockers) > 0 {
			t.Errorf("%s: %s%v", c.when, diff, plan.Blockers)
		}
	}
}

func TestTheDisksOfAVMShareTheRoomOfAGroup(t *testing.T) {
	const need = 260 // extents of 4 MiB for 1 GiB and a header of 16 MiB
	for free, fits := range map[int64]bool{2 * need: true, 2*need - 1: false} {
		s := twoDisks(t)
		s.facts.VGs[0] = group("vg0", 4*mib, free)
		plan := s.plan()
		if got := len(plan.Blockers) == 0; got != fits {
			t.Errorf("%d extents: %v", free, plan.Blockers)
		}
		if !fits && (plan.Blockers[0].Disk != "vdb" || !strings.Contains(plan.Blockers[0].Message, "after 1.0 GiB for the disks before it")) {
			t.Errorf("%d extents: %v", free, plan.Blockers)
		}
	}
}

func TestTheVMsOfABatchShareTheRoomOfAGroup(t *testing.T) {
	for free, blocked := range map[int64]int{3 * 260: 0, 3*260 - 1: 1, 2 * 260: 1, 260: 2} {
		s := imap(t)
		s.facts.VGs[0] = group("vg0", 4*mib, free)
		for i, name := range []string{"web", "db"} {
			d := s.addVM(name, []string{"44444444", "55555555"}[i]+"-2222-4333-8444-555555555555", rawDisk("vda", "/dev/vg0/"+name, ""))
			facts := d.Disks["vda"]
			facts.LV = &lvm.LV{VG: "vg0", Name: name}
			d.Disks["vda"] = facts
		}
		decider := s.decider()
		got := 0
		for _, name := range []string{"imap", "web", "db"} {
			plan, err := decider.Decide(name, s.options)
			if err != nil {
				t.Fatal(err)
			}
			if codes(plan.Blockers)[VGFull] {
				got++
			}
		}
		if got != blocked {
			t.Errorf("%d extents: %d of three are blocked, not %d", free, got, blocked)
		}
	}
}

func TestAThinPoolHoldsTheWholePayload(t *testing.T) {
	for _, c := range []struct {
		size    int64
		percent float64
		fits    bool
	}{
		{3 * gib, 0, true},
		{3 * gib, 50, false}, // two disks of 1 GiB and their headers
		{2*gib + 64*mib, 0, true},
		{2 * gib, 0, false},
		{100 * gib, 97.9, true},
	} {
		s := twoDisks(t)
		s.facts.VGs[0].FreeExtents = 0 // the pool has its room already
		s.pool(c.size, c.percent)
		plan := s.plan()
		if got := len(plan.Blockers) == 0; got != c.fits {
			t.Errorf("%d bytes, %v %% in use: %v", c.size, c.percent, plan.Blockers)
		}
		if volume := plan.Disks[0].Volume; volume.Pool != "pool" || volume.Type != "thin" || volume.Extents != 0 {
			t.Errorf("the volume is %+v", volume)
		}
	}
}

func TestTypesOfVolumeTakeTheirCopies(t *testing.T) {
	for kind, extents := range map[string]int64{"": 260, "linear": 260, "striped": 260, "raid1": 2 * 261} {
		s := imap(t)
		s.options.LVMType = kind
		volume := s.plan().Disks[0].Volume
		if volume.Extents != extents || volume.Size != 260*4*mib {
			t.Errorf("%q takes %d extents for %d bytes", kind, volume.Extents, volume.Size)
		}
	}
}

func TestAGivenVolumeNameIsForOneDiskAndAPrefixForSeveral(t *testing.T) {
	for _, c := range []struct {
		skip []string
		lv   string
		want []string
	}{
		{nil, "", []string{"imap-vda-luks", "imap-vdb-luks"}},
		{nil, "crypt", []string{"crypt-vda", "crypt-vdb"}},
		{[]string{"vdb"}, "crypt", []string{"crypt"}},
	} {
		s := twoDisks(t)
		s.options.SkipDisks, s.options.LV = c.skip, c.lv
		var names []string
		for _, disk := range s.plan().Disks {
			names = append(names, disk.Volume.Name)
		}
		if diff := cmp.Diff(c.want, names); diff != "" {
			t.Error(diff)
		}
	}
}

func TestANameThatIsTakenIsSeenOnBothDisks(t *testing.T) {
	s := twoDisks(t)
	s.facts.LVs = []lvm.LV{{VG: "vg1", Name: "imap-vda-luks"}, {VG: "vg0", Name: "imap-vdb-luks"}}
	s.facts.Mappers = []string{"vg0-imap--vda--luks", "cr_imap_vdb"}
	plan := s.plan()
	if diff := cmp.Diff(set(LVTaken, MapperTaken), codes(plan.Blockers)); diff != "" {
		t.Error(diff)
	}
	for _, blocker := range plan.Blockers {
		if blocker.Disk != "vdb" {
			t.Errorf("the blocker is about %s: %s", blocker.Disk, blocker)
		}
	}
}
