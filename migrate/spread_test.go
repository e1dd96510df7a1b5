package migrate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/lvm"
)

func TestOfSeveralGroupsTheRoomiestByThenIsTaken(t *testing.T) {
	for _, c := range []struct {
		when  string
		given func(*situation)
		want  []string
	}{
		{"the first two go where more is free", func(s *situation) {
			s.facts.VGs = []lvm.VG{group("vg0", 4*mib, 1000), group("vg1", 4*mib, 1200)}
		}, []string{"vg1", "vg0"}},
		{"room is bytes, not extents", func(s *situation) {
			s.facts.VGs = []lvm.VG{group("vg0", mib, 4000), group("vg1", 64*mib, 100)}
		}, []string{"vg1", "vg1"}},
		{"of two that are alike the first that was named", func(s *situation) {
			s.facts.VGs = []lvm.VG{group("vg0", 4*mib, 1000), group("vg1", 4*mib, 1000)}
			s.options.VG = "vg1,vg0"
		}, []string{"vg1", "vg0"}},
		{"a group that was not named is not taken", func(s *situation) {
			s.facts.VGs = []lvm.VG{group("vg0", 4*mib, 1000), group("vg1", 4*mib, 1000), group("vg2", 4*mib, 90000)}
		}, []string{"vg0", "vg1"}},
		{"the roomiest is not taken if it does not fit there", func(s *situation) {
			// A mirror takes two disks, and the roomier group has one.
			s.facts.VGs = []lvm.VG{group("vg0", 4*mib, 9000), group("vg1", 4*mib, 2000)}
			s.facts.VGs[0].PVs = []lvm.PV{{Name: "/dev/sda", FreeExtents: 9000, Allocatable: true}}
			s.facts.VGs[1].PVs = []lvm.PV{{Name: "/dev/sdb", FreeExtents: 1000, Allocatable: true}, {Name: "/dev/sdc", FreeExtents: 1000, Allocatable: true}}
			s.options.LVMType, s.options.SkipDisks = "raid1", []string{"vdb"}
		}, []string{"vg1"}},
		{"a disk's own group comes first", func(s *situation) {
			s.facts.VGs = []lvm.VG{group("vg0", 4*mib, 1000), group("vg1", 4*mib, 9000)}
			s.options.Disks = map[string]DiskOptions{"vda": {VG: "vg0"}}
		}, []string{"vg0", "vg1"}},
	} {
		s := twoDisks(t)
		s.options.VG = "vg0,vg1"
		c.given(s)
		plan := s.plan()
		if diff := cmp.Diff(c.want, groupsOf(plan)); diff != "" || len(plan.Blockers) > 0 {
			t.Errorf("%s: %s%v", c.when, diff, plan.Blockers)
		}
	}
}

func TestAGroupOfSeveralThatIsInTheWayIsRefused(t *testing.T) {
	for _, c := range []struct {
		when string
		set  func(*lvm.VG)
		code Code
		says string
	}{
		{"exported", func(vg *lvm.VG) { vg.Exported = true }, VGUnusable, "vg1 can't be used: it is exported"},
		{"partial", func(vg *lvm.VG) { vg.Partial = true }, VGUnusable, "vg1 can't be used: one of its disks is missing"},
		{"clustered", func(vg *lvm.VG) { vg.Clustered = true }, VGUnusable, "vg1 can't be used: it is shared between hosts"},
		{"read-only", func(vg *lvm.VG) { vg.ReadOnly = true }, VGUnusable, "vg1 can't be used: it is read-only"},
		{"not there", func(vg *lvm.VG) { vg.Name = "vg9" }, VGMissing, `there is no volume group "vg1"`},
	} {
		s := imap(t)
		s.facts.VGs = []lvm.VG{group("vg0", 4*mib, 9000), group("vg1", 4*mib, 9000)}
		c.set(&s.facts.VGs[1])
		s.options.VG = "vg0,vg1"
		plan := s.plan()
		if len(plan.Blockers) != 1 || plan.Blockers[0].Code != c.code || !strings.Contains(plan.Blockers[0].Message, c.says) {
			t.Errorf("%s: %v", c.when, plan.Blockers)
		}
	}
	s := twoDisks(t)
	s.facts.VGs = []lvm.VG{group("vg0", 4*mib, 300), group("vg1", 4*mib, 100)}
	s.options.VG = "vg0,vg1"
	want := "none of the volume groups vg0, vg1 has room for vdb: it takes 1.0 GiB, and the most is 400 MiB in vg1"
	if plan := s.plan(); len(plan.Blockers) != 1 || plan.Blockers[0].Disk != "vdb" || plan.Blockers[0].Message != want {
		t.Errorf("full: %v", plan.Blockers)
	}
}

func TestNamesOfSeveralGroupsAreNames(t *testing.T) {
	for text, why := range map[string]string{"vg0,": "empty name", "vg0,,vg1": "empty name", "vg0,vg1,vg0": "vg0 is named twice"} {
		o := options()
		o.VG = text
		var option *OptionError
		if err := o.Validate(); !errors.As(err, &option) || option.Option != "--vg" || !strings.Contains(option.Reason, why) {
			t.Errorf("%q: %v", text, err)
		}
	}
	o := options()
	o.VG, o.ThinPool = "vg0,vg1", "pool"
	var option *OptionError
	if err := o.Validate(); !errors.As(err, &option) || option.Option != "--thin-pool" {
		t.Errorf("a pool of two groups: %v", err)
	}
	o.ThinPool, o.PVs = "", []string{"/dev/sda"}
	if err := o.Validate(); !errors.As(err, &option) || option.Option != "--pv" {
		t.Errorf("disks of two groups: %v", err)
	}
}

func TestSectorsOfSeveralSizesInAGroupAreToldOnce(t *testing.T) {
	s := twoDisks(t)
	s.facts.VGs[0].PVs = []lvm.PV{
		{Name: "/dev/sda", Sector: 512, FreeExtents: 4000, Allocatable: true}, {Name: "/dev/sdb", Sector: 4096, FreeExtents: 4000, Allocatable: true}, {Name: "/dev/sdc", FreeExtents: 1, Allocatable: true},
	}
	plan := s.plan()
	if len(plan.Blockers) != 0 || len(plan.Warnings) != 1 || plan.Warnings[0].Code != WarnMixed || !strings.Contains(plan.Warnings[0].Message, "vg0 has disks with sectors of 512 and 4,096 bytes") {
		t.Errorf("%v %v", plan.Blockers, plan.Warnings)
	}
	s.facts.VGs[0].PVs[1].Sector = 512
	if plan := s.plan(); len(plan.Warnings) != 0 {
		t.Errorf("of one size: %v", plan.Warnings)
	}
}

// Whatever the groups and disks are: each payload is exact, its room before it
// holds the header in whole blocks, no group gives more than it has, and a disk
// is only refused if it fits into none.
func TestABatchIsSpreadOverGroupsOfAnyExtents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := imap(t)
		s.facts.VGs = nil
		left := make(map[string]int64)
		extents := make(map[string]int64)
		var named []string
		for i := range rapid.IntRange(2, 4).Draw(rt, "groups") {
			name := fmt.Sprint("vg", i)
			extent := kib << rapid.IntRange(0, 20).Draw(rt, "extent")
			free := rapid.Int64Range(0, 8*gib/extent).Draw(rt, "free")
			s.facts.VGs = append(s.facts.VGs, group(name, extent, free))
			named, left[name], extents[name] = append(named, name), free, extent
		}
		s.options.VG = strings.Join(named, ",")
		var devices []string
		sizes := make(map[string]int64)
		for i := range rapid.IntRange(1, 6).Draw(rt, "disks") {
			target := fmt.Sprintf("vd%c", 'a'+i)
			devices = append(devices, rawDisk(target, "/srv/"+target, ""))
			sizes[target] = rapid.Int64Range(1, 3*gib).Draw(rt, "size")
		}
		s.define(0, "", strings.Join(devices, "\n"))
		for target, size := range sizes {
			s.facts.Domains[0].Disks[target] = DiskFacts{DeviceFacts: DeviceFacts{Path: "/srv/" + target, Resolved: "/srv/" + target, ID: target, Size: size, LogicalBlock: 512, Writes: -1, ModTime: noon()}}
		}
		plan := s.plan()
		for _, disk := range plan.Disks {
			size := sizes[disk.Target]
			if disk.Payload != roundUp(size, 4096) {
				rt.Fatalf("%s: %d bytes became a payload of %d", disk.Target, size, disk.Payload)
			}
			refused := false
			for _, blocker := range plan.Blockers {
				refused = refused || blocker.Disk == disk.Target && blocker.Code == VGFull
			}
			if refused {
				for _, vg := range s.facts.VGs {
					vg.FreeExtents = left[vg.Name]
					if sizing, err := lvm.Size(lvm.SizeRequest{Payload: disk.Payload, Header: disk.Header, VG: vg}); err == nil && sizing.Extents <= left[vg.Name] {
						rt.Fatalf("%s is refused, and fits into %s", disk.Target, vg.Name)
					}
				}
				continue
			}
			vg, extent := disk.Volume.VG, extents[disk.Volume.VG]
			if disk.Offset < disk.Header || disk.Offset%4096 != 0 || disk.Offset+disk.Payload != disk.Volume.Size || disk.Volume.Size%extent != 0 {
				rt.Fatalf("%+v with extents of %d", disk, extent)
			}
			for _, other := range s.facts.VGs {
				need, err := lvm.Size(lvm.SizeRequest{Payload: disk.Payload, Header: disk.Header, VG: other})
				if err == nil && need.Extents <= left[other.Name] && left[other.Name]*other.ExtentSize > left[vg]*extent {
					rt.Fatalf("%s is in %s, and %s has more room", disk.Target, vg, other.Name)
				}
			}
			if left[vg] -= disk.Volume.Extents; left[vg] < 0 {
				rt.Fatalf("%s gave more than it has", vg)
			}
		}
	})
}
