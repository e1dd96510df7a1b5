package lvm_test

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/lvm"
)

const mib = 1 << 20

// disks is a group of disks with so many free extents each.
func disks(extent int64, free ...int64) lvm.VG {
	group := lvm.VG{Name: "vg0", ExtentSize: extent}
	for i, n := range free {
		group.PVs = append(group.PVs, lvm.PV{Name: string(rune('a' + i)), FreeExtents: n, Free: n * extent, Allocatable: true})
		group.FreeExtents += n
	}
	group.Free = group.FreeExtents * extent
	return group
}

func TestSizeIsPayloadAndHeaderInWholeExtents(t *testing.T) {
	for _, test := range []struct {
		claim string
		in    lvm.SizeRequest
		want  lvm.Sizing
	}{
		{
			"a source of whole extents leaves the header its extents",
			lvm.SizeRequest{Payload: 100 * mib, Header: 16 * mib, VG: disks(4*mib, 1000)},
			lvm.Sizing{Payload: 100 * mib, Size: 116 * mib, Slack: 16 * mib, Extents: 29},
		},
		{
			"one byte more takes one extent more, and the payload a block more",
			lvm.SizeRequest{Payload: 100*mib + 1, Header: 16 * mib, VG: disks(4*mib, 1000)},
			lvm.Sizing{Payload: 100*mib + 4096, Size: 120 * mib, Slack: 20*mib - 4096, Extents: 30},
		},
		{
			"large extents give the slack to the header",
			lvm.SizeRequest{Payload: 1 << 30, Header: 2 * mib, VG: disks(1<<30, 3)},
			lvm.Sizing{Payload: 1 << 30, Size: 2 << 30, Slack: 1 << 30, Extents: 2},
		},
		{
			"extents smaller than a block are rounded to blocks too",
			lvm.SizeRequest{Payload: 4096, Header: 1, VG: disks(1024, 1000)},
			lvm.Sizing{Payload: 4096, Size: 8192, Slack: 4096, Extents: 8},
		},
		{
			"stripes have as many extents each",
			lvm.SizeRequest{Payload: 9 * mib, VG: disks(mib, 10, 10, 10), Type: lvm.Striped, Stripes: 2},
			lvm.Sizing{Payload: 9 * mib, Size: 10 * mib, Slack: mib, Extents: 10},
		},
		{
			"a mirror has every extent twice, and metadata",
			lvm.SizeRequest{Payload: 10 * mib, VG: disks(mib, 20, 20), Type: lvm.RAID1},
			lvm.Sizing{Payload: 10 * mib, Size: 10 * mib, Extents: 22},
		},
		{
			"two further copies are three images",
			lvm.SizeRequest{Payload: 10 * mib, VG: disks(mib, 20, 20, 20), Type: lvm.RAID1, Mirrors: 2},
			lvm.Sizing{Payload: 10 * mib, Size: 10 * mib, Extents: 33},
		},
		{
			"a striped mirror has both",
			lvm.SizeRequest{Payload: 9 * mib, VG: disks(mib, 20, 20, 20, 20), Type: lvm.RAID10},
			lvm.Sizing{Payload: 9 * mib, Size: 10 * mib, Slack: mib, Extents: 24},
		},
		{
			// 12234 and 3 extents an image, as lvm2 2.03.16 allocated.
			"small extents need more of them for a mirror's metadata",
			lvm.SizeRequest{Payload: 33_333_333, Header: 16 * mib, VG: disks(4096, 20_000, 20_000), Type: lvm.RAID1},
			lvm.Sizing{Payload: 33_337_344, Size: 50_114_560, Slack: 16 * mib, Extents: 24_476},
		},
		{
			"a thin volume takes nothing of the group",
			lvm.SizeRequest{Payload: 10 * mib, VG: disks(mib, 0), Type: lvm.Thin, Pool: lvm.LV{Name: "pool", Size: 20 * mib, DataPercent: 49}},
			lvm.Sizing{Payload: 10 * mib, Size: 10 * mib},
		},
	} {
		t.Run(test.claim, func(t *testing.T) {
			if got, err := lvm.Size(test.in); err != nil || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestWhatCannotFitIsRefusedWithTheNumbers(t *testing.T) {
	missing := disks(mib, 10, 10)
	missing.PVs[1].Missing = true
	locked := disks(mib, 10, 10)
	locked.PVs[0].Allocatable = false
	for _, test := range []struct {
		claim string
		in    lvm.SizeRequest
		want  lvm.NoSpaceError
	}{
		{"one extent short", lvm.SizeRequest{Payload: 10 * mib, Header: 1, VG: disks(mib, 10)}, lvm.NoSpaceError{VG: "vg0", Need: 11 * mib, Free: 10 * mib}},
		{"a group whose disks are not known", lvm.SizeRequest{Payload: 2 * mib, VG: lvm.VG{Name: "vg0", ExtentSize: mib, FreeExtents: 1}}, lvm.NoSpaceError{VG: "vg0", Need: 2 * mib, Free: mib}},
		{"a mirror on one disk", lvm.SizeRequest{Payload: mib, VG: disks(mib, 100), Type: lvm.RAID1}, lvm.NoSpaceError{VG: "vg0", Need: 4 * mib, Free: 2 * mib}},
		{"a mirror on a large and a small disk", lvm.SizeRequest{Payload: 10 * mib, VG: disks(mib, 100, 5), Type: lvm.RAID1}, lvm.NoSpaceError{VG: "vg0", Need: 22 * mib, Free: 16 * mib}},
		{"a disk that is missing", lvm.SizeRequest{Payload: 15 * mib, VG: missing}, lvm.NoSpaceError{VG: "vg0", Need: 15 * mib, Free: 10 * mib}},
		{"a disk that may not be allocated from", lvm.SizeRequest{Payload: 15 * mib, VG: locked}, lvm.NoSpaceError{VG: "vg0", Need: 15 * mib, Free: 10 * mib}},
		{"other disks than those to be used", lvm.SizeRequest{Payload: 15 * mib, VG: disks(mib, 10, 10), PVs: []string{"b"}}, lvm.NoSpaceError{VG: "vg0", Need: 15 * mib, Free: 10 * mib}},
		{"a pool that is too full", lvm.SizeRequest{Payload: 60 * mib, VG: disks(mib, 100), Type: lvm.Thin, Pool: lvm.LV{Name: "pool", Size: 100 * mib, DataPercent: 50}}, lvm.NoSpaceError{VG: "vg0", Pool: "pool", Need: 60 * mib, Free: 100 * mib / 10000 * 4999}},
		{"a pool that is not there", lvm.SizeRequest{Payload: mib, VG: disks(mib, 100), Type: lvm.Thin}, lvm.NoSpaceError{VG: "vg0", Need: mib}},
	} {
		t.Run(test.claim, func(t *testing.T) {
			sizing, err := lvm.Size(test.in)
			var full *lvm.NoSpaceError
			if !errors.As(err, &full) || *full != test.want {
				t.Errorf("got %v, want %+v", err, test.want)
			}
			if sizing.Size == 0 {
				t.Error("the size that was needed is not told")
			}
		})
	}
}

func TestNonsenseIsAnErrorAndNoSize(t *testing.T) {
	for claim, in := range map[string]lvm.SizeRequest{
		"no payload":             {VG: disks(mib, 10)},
		"a negative payload":     {Payload: -1, VG: disks(mib, 10)},
		"a negative header":      {Payload: 1, Header: -1, VG: disks(mib, 10)},
		"no extent size":         {Payload: 1},
		"an odd extent size":     {Payload: 1, VG: disks(1000, 10)},
		"a size beyond int64":    {Payload: math.MaxInt64 - 10, VG: disks(mib, 10)},
		"an unknown layout":      {Payload: 1, VG: disks(mib, 10), Type: "raid5"},
		"negative stripes":       {Payload: 1, VG: disks(mib, 10), Type: lvm.Striped, Stripes: -1},
		"too many stripes":       {Payload: 1, VG: disks(mib, 10), Type: lvm.Striped, Stripes: 129},
		"too many copies":        {Payload: 1, VG: disks(mib, 10), Type: lvm.RAID1, Mirrors: 10},
		"a RAID of tiny extents": {Payload: 1, VG: disks(1024, 10, 10), Type: lvm.RAID1},
	} {
		sizing, err := lvm.Size(in)
		var full *lvm.NoSpaceError
		if err == nil || errors.As(err, &full) || sizing != (lvm.Sizing{}) {
			t.Errorf("%s: %+v, %v", claim, sizing, err)
		}
	}
}

func TestASizeHoldsForEveryRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		extent := int64(1024) << rapid.IntRange(0, 20).Draw(t, "extent")
		if rapid.Bool().Draw(t, "an extent that is no power of two") {
			extent *= 3
		}
		in := lvm.SizeRequest{
			Payload: rapid.Int64Range(1, 1<<44).Draw(t, "payload"),
			Header:  rapid.Int64Range(0, 1<<26).Draw(t, "header"),
			VG:      lvm.VG{Name: "vg0", ExtentSize: extent, FreeExtents: math.MaxInt64},
			Type:    rapid.SampledFrom([]lvm.Type{"", lvm.Linear, lvm.Striped, lvm.RAID1, lvm.RAID10}).Draw(t, "type"),
			Stripes: rapid.IntRange(0, 8).Draw(t, "stripes"), Mirrors: rapid.IntRange(0, 3).Draw(t, "mirrors"),
		}
		got, err := lvm.Size(in)
		if extent < 4096 && (in.Type == lvm.RAID1 || in.Type == lvm.RAID10) {
			if err == nil {
				t.Fatal("a RAID of tiny extents was sized")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got.Payload < in.Payload || got.Payload >= in.Payload+4096 || got.Payload%4096 != 0 {
			t.Errorf("a payload of %d became %d", in.Payload, got.Payload)
		}
		if got.Size%extent != 0 || got.Size%4096 != 0 || got.Slack%4096 != 0 {
			t.Errorf("%+v is not whole", got)
		}
		if got.Slack < in.Header || got.Payload+got.Slack != got.Size {
			t.Errorf("%+v has no room for a header of %d", got, in.Header)
		}
		if got.Extents < got.Size/extent {
			t.Errorf("%+v costs too little", got)
		}
		if in.Type == "" || in.Type == lvm.Linear {
			if waste := got.Slack - in.Header; waste >= 3*max(extent, 4096)+4096 {
				t.Errorf("%+v wastes %d", got, waste)
			}
		}
	})
}

func TestSizeNeverRefusesWhatAnAllocatorCouldPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		free := rapid.SliceOfN(rapid.Int64Range(0, 12), 1, 5).Draw(t, "free extents by disk")
		images := rapid.IntRange(2, 4).Draw(t, "images")
		each := rapid.Int64Range(1, 10).Draw(t, "extents an image")
		// Place row by row, always on the disks that have the most left:
		// the rows are what images have in parallel, each on its own disk.
		left, placed := append([]int64(nil), free...), true
		for range each {
			for n := range images {
				most := n
				if most >= len(left) {
					placed = false
					break
				}
				for i := n; i < len(left); i++ {
					if left[i] > left[most] {
						most = i
					}
				}
				left[n], left[most] = left[most], left[n]
				if left[n] == 0 {
					placed = false
				}
				left[n]--
			}
			if !placed {
				break
			}
		}
		_, err := lvm.Size(lvm.SizeRequest{Payload: each * int64(images) * mib, VG: disks(mib, free...), Type: lvm.Striped, Stripes: images})
		if placed != (err == nil) {
			t.Errorf("disks %v, %d images of %d: placed %v, sized %v", free, images, each, placed, err)
		}
	})
}

func TestALayoutIsKnownByItsName(t *testing.T) {
	for _, text := range []string{"linear", "striped", "raid1", "raid10", "thin"} {
		if got, err := lvm.ParseType(text); err != nil || string(got) != text {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if got, err := lvm.ParseType(""); err != nil || got != lvm.Linear {
		t.Errorf("nothing: %q, %v", got, err)
	}
	for _, text := range []string{"raid5", "Linear", " linear"} {
		if _, err := lvm.ParseType(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
