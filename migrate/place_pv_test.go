package migrate

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/lvm"
)

func TestAVolumeLiesOnTheDisksAskedForUnderWhateverName(t *testing.T) {
	const byID = "/dev/disk/by-id/wwn-0x5000"
	for _, c := range []struct {
		when  string
		given func(*situation)
		want  []string
	}{
		{"as lvm2 calls it", func(s *situation) { s.onPVs("/dev/sdb") }, []string{"/dev/sdb"}},
		{"by a link to it", func(s *situation) {
			s.onPVs(byID)
			s.facts.Named = map[string]NamedFacts{byID: {DeviceFacts: DeviceFacts{ID: blockID(8, 16)}}}
		}, []string{"/dev/sdb"}},
		{"named twice", func(s *situation) {
			s.onPVs("/dev/sdb", byID, "/dev/sdb")
			s.facts.Named = map[string]NamedFacts{byID: {DeviceFacts: DeviceFacts{ID: blockID(8, 16)}}}
		}, []string{"/dev/sdb"}},
		{"in the order given", func(s *situation) { s.onPVs("/dev/sdb", "/dev/sda") }, []string{"/dev/sdb", "/dev/sda"}},
		{"its group is the one meant", func(s *situation) {
			s.onPVs("/dev/sdb")
			s.facts.VGs = append([]lvm.VG{group("vg1", 4*mib, 9000)}, s.facts.VGs...)
			s.disk("vda", func(d *DiskFacts) { d.LV = &lvm.LV{VG: "vg1", Name: "imap"} })
		}, []string{"/dev/sdb"}},
	} {
		s := imap(t)
		c.given(s)
		plan := s.plan()
		if diff := cmp.Diff(c.want, plan.Disks[0].Volume.PVs); diff != "" || len(plan.Blockers) > 0 || plan.Disks[0].Volume.VG != "vg0" {
			t.Errorf("%s: %s%v", c.when, diff, plan.Blockers)
		}
		if diff := cmp.Diff(c.want, plan.volumeSpec(&plan.Disks[0]).PVs); diff != "" {
			t.Errorf("%s: what is made: %s", c.when, diff)
		}
	}
}

func TestTheVolumesOfABatchShareTheRoomOfTheirDisks(t *testing.T) {
	const need = 260
	for _, c := range []struct {
		when   string
		a, b   int64 // free extents of the two disks
		first  []string
		second []string
		fits   bool
	}{
		{"both on the one disk, which holds both", 0, 2 * need, []string{"/dev/sdb"}, []string{"/dev/sdb"}, true},
		{"both on the one disk, which lacks an extent", 9000, 2*need - 1, []string{"/dev/sdb"}, []string{"/dev/sdb"}, false},
		{"each on its own", need, need, []string{"/dev/sda"}, []string{"/dev/sdb"}, true},
		{"the second on both, where the first left enough", need, need, []string{"/dev/sda"}, []string{"/dev/sda", "/dev/sdb"}, true},
		{"the second on both, where the first left too little", need, need - 1, []string{"/dev/sda"}, []string{"/dev/sdb", "/dev/sda"}, false},
		{"the second anywhere, where the first left too little", need, need - 1, []string{"/dev/sda"}, nil, false},
		{"the second on one, where the first can go to the other", need, need, []string{"/dev/sda", "/dev/sdb"}, []string{"/dev/sdb"}, true},
		{"the second on one, where both together have too little", need - 1, need, []string{"/dev/sda", "/dev/sdb"}, []string{"/dev/sdb"}, false},
	} {
		s := imap(t)
		s.onPVs()
		vg := &s.facts.VGs[0]
		vg.PVs[0].FreeExtents, vg.PVs[1].FreeExtents, vg.FreeExtents = c.a, c.b, c.a+c.b
		web := s.addVM("web", "44444444-2222-4333-8444-555555555555", rawDisk("vda", "/dev/vg0/web", ""))
		facts := web.Disks["vda"]
		facts.LV = &lvm.LV{VG: "vg0", Name: "web"}
		web.Disks["vda"] = facts
		decider := s.decider()
		blocked := false
		for i, pvs := range [][]string{c.first, c.second} {
			s.options.PVs = pvs
			plan, err := decider.Decide([]string{"imap", "web"}[i], s.options)
			if err != nil {
				t.Fatal(err)
			}
			blocked = blocked || codes(plan.Blockers)[VGFull]
		}
		if blocked == c.fits {
			t.Errorf("%s: blocked is %v", c.when, blocked)
		}
	}
}

func TestDisksThatCantBeMeantAreRefused(t *testing.T) {
	for when, options := range map[string]Options{
		"a name and no path":    {PVs: []string{"sdb"}},
		"a tag":                 {PVs: []string{"@fast"}},
		"an empty one":          {PVs: []string{""}},
		"with a thin pool":      {PVs: []string{"/dev/sdb"}, ThinPool: "pool"},
		"with the type of thin": {PVs: []string{"/dev/sdb"}, LVMType: "thin", ThinPool: "pool"},
	} {
		options.LUKS, options.Verify = DefaultLUKS(), VerifyTarget
		var bad *OptionError
		if err := options.Validate(); !errors.As(err, &bad) || bad.Option != "--pv" {
			t.Errorf("%s: %v", when, err)
		}
	}
}
