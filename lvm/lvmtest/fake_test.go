package lvmtest_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/lvm/lvmtest"
)

func TestTheFakeDoesWhatLVMDoes(t *testing.T) {
	for name, extent := range map[string]int64{"1 KiB": 1 << 10, "1 MiB": 1 << 20, "4 MiB": 4 << 20} {
		t.Run("extents of "+name, func(t *testing.T) {
			lvmtest.Conformance(t, lvmtest.Env{Client: lvmtest.New(lvmtest.Group("vg0", extent, 256<<20/extent)), VG: "vg0"})
		})
	}
}

func TestAnErrorBeforeAnActLeavesTheWorldAndOneAfterItDoesNot(t *testing.T) {
	fake := lvmtest.New(lvmtest.Group("vg0", 4<<20, 64))
	crash := errors.New("power cut")
	spec := lvm.Spec{VG: "vg0", Name: "a", Size: 8 << 20, Tags: []string{"x"}}

	fake.Before = func(string) error { return crash }
	if _, err := fake.Create(t.Context(), spec); !errors.Is(err, crash) {
		t.Error(err)
	}
	if all, _ := fake.LVs(t.Context()); len(all) != 0 {
		t.Errorf("made %+v", all)
	}

	fake.Before, fake.After = nil, func(string) error { return crash }
	if _, err := fake.Create(t.Context(), spec); !errors.Is(err, crash) {
		t.Error(err)
	}
	if all, _ := fake.ByTag(t.Context(), "x"); len(all) != 1 {
		t.Errorf("made %+v", all)
	}
}

func TestAGuestsGroupIsTakenDownUnlessItIsOpen(t *testing.T) {
	fake := lvmtest.New(lvmtest.Group("vg0", 4<<20, 64))
	fake.AddGuest("/dev/mapper/cr_a", "vg0", true)
	fake.SetOpen("/dev/mapper/cr_a", true)
	var used *lvm.InUseError
	if _, err := fake.Deactivate(t.Context(), "/dev/mapper/cr_a"); !errors.As(err, &used) {
		t.Error(err)
	}
	fake.SetOpen("/dev/mapper/cr_a", false)
	for _, want := range [][]string{{"vg0"}, nil} {
		done, err := fake.Deactivate(t.Context(), "/dev/mapper/cr_a")
		if err != nil || !cmp.Equal(done, want) {
			t.Errorf("deactivated %q, %v; want %q", done, err, want)
		}
	}
}

func TestARaidTakesItsCopiesAndMetadataAndGivesThemBack(t *testing.T) {
	disk := func(name string) lvm.PV { return lvm.PV{Name: name, FreeExtents: 20, Allocatable: true} }
	fake := lvmtest.New(lvm.VG{Name: "vg0", ExtentSize: 4 << 20, Size: 40 * 4 << 20, PVs: []lvm.PV{disk("/dev/a"), disk("/dev/b")}})
	if _, err := fake.Create(t.Context(), lvm.Spec{VG: "vg0", Name: "r", Size: 5 * 4 << 20, Type: lvm.RAID1, Tags: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if group, _ := fake.VG(t.Context(), "vg0"); group.FreeExtents != 40-12 {
		t.Errorf("%d extents are free", group.FreeExtents)
	}
	if err := fake.Remove(t.Context(), "vg0", "r", "x"); err != nil {
		t.Error(err)
	}
	if group, _ := fake.VG(t.Context(), "vg0"); group.FreeExtents != 40 {
		t.Errorf("%d extents are free", group.FreeExtents)
	}
}

func TestWhatIsOpenElsewhereIsNotRemoved(t *testing.T) {
	fake := lvmtest.New(lvmtest.Group("vg0", 4<<20, 64))
	fake.InUse = func(path string) bool { return path == "/dev/vg0/a" }
	if _, err := fake.Create(t.Context(), lvm.Spec{VG: "vg0", Name: "a", Size: 8 << 20, Tags: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	var used *lvm.InUseError
	if err := fake.Remove(t.Context(), "vg0", "a", "x"); !errors.As(err, &used) {
		t.Error(err)
	}
}
