package lvm

import (
	"fmt"
	"math"
	"slices"
)

// Type is how a volume lies on its disks: the segment types of lvmcache(7),
// lvmraid(7) and lvmthin(7) that a target volume can have.
type Type string

// The layouts a target volume can have.
const (
	Linear  Type = "linear"
	Striped Type = "striped"
	RAID1   Type = "raid1"
	RAID10  Type = "raid10"
	Thin    Type = "thin"
)

// ParseType is the Type that a person wrote; "" is Linear.
func ParseType(text string) (Type, error) {
	t := Type(text)
	if text == "" {
		t = Linear
	}
	if !slices.Contains([]Type{Linear, Striped, RAID1, RAID10, Thin}, t) {
		return "", fmt.Errorf("%q is no layout of a volume: it is one of linear, striped, raid1, raid10, thin", text)
	}
	return t, nil
}

// block is what payload and slack are multiples of: the largest sector that
// dm-crypt knows, and what cryptsetup wants of --offset (it refuses any other
// for LUKS1 too: "Data offset is not multiple of 4096 bytes", 2.6.1).
const block = 4096

// minRAIDExtent is the least extent of a RAID volume's group ("Unable to
// create RAID LV: requires minimum VG extent size 4.00 KiB", lvm2 2.03.16).
const minRAIDExtent = 4096

// SizeRequest asks how large a volume must be.
type SizeRequest struct {
	// Payload is the size of the source and Header that of the LUKS header,
	// in bytes.
	Payload, Header int64
	// VG is the target group. Its PVs are taken into account when it has any.
	VG VG
	// Type is the layout; "" is Linear.
	Type Type
	// Stripes is the number of stripes, of Striped and RAID10; 0 is the
	// least that the type takes.
	Stripes int
	// Mirrors is the number of further copies, as lvcreate's --mirrors, of
	// RAID1 and RAID10; 0 is one.
	Mirrors int
	// PVs are the only ones to allocate from; none is all.
	PVs []string
	// Pool is the thin pool, for Thin.
	Pool LV
}

// Sizing is the size of a volume and what it costs.
type Sizing struct {
	// Payload is the source's size, rounded up to 4096 bytes.
	Payload int64
	// Size is the volume's, in bytes.
	Size int64
	// Slack is what Size exceeds Payload by: at least the header, and a
	// multiple of 4096 bytes. It is the offset to format with, so that the
	// payload is exactly as large as asked.
	Slack int64
	// Extents are those the group gives: every copy, and a RAID's metadata.
	// None for Thin, which takes from its pool.
	Extents int64
}

// shape is how a layout divides its extents over disks.
type shape struct {
	stripes int64 // an image's data is a part of so many
	images  int64 // areas that must lie on disks of their own
	raid    bool  // each image has metadata beside it
}

// region is what a bit of a RAID's metadata stands for: activation/
// raid_region_size of lvm.conf(5), unless it is set to another.
const region = 2 << 20

// metaExtents is a RAID image's metadata: two superblocks of 4096 bytes and a
// bit for each region (lvm2, raid_rmeta_extents).
func metaExtents(image, extent int64) int64 {
	regions := image / region
	return (2*4096 + (regions+7)/8 + extent - 1) / extent
}

func (r SizeRequest) shape() (shape, error) {
	stripes, copies := max(int64(r.Stripes), 1), int64(r.Mirrors)+1
	if r.Stripes < 0 || r.Mirrors < 0 || r.Stripes > 128 || r.Mirrors > 9 {
		return shape{}, fmt.Errorf("%d stripes and %d mirrors are not a layout: lvm2 takes up to 128 stripes and 9 mirrors", r.Stripes, r.Mirrors)
	}
	if copies == 1 && (r.Type == RAID1 || r.Type == RAID10) {
		copies = 2
	}
	switch r.Type {
	case "", Linear, Thin:
		return shape{stripes: 1, images: 1}, nil
	case Striped:
		if r.Stripes == 0 {
			stripes = 2
		}
		return shape{stripes: stripes, images: stripes}, nil
	case RAID1:
		return shape{stripes: 1, images: copies, raid: true}, nil
	case RAID10:
		if r.Stripes == 0 {
			stripes = 2
		}
		return shape{stripes: stripes, images: stripes * copies, raid: true}, nil
	}
	return shape{}, fmt.Errorf("%q is no layout of a volume", r.Type)
}

// Size is the least volume that holds payload and header, and what it takes
// from its group. The volume is a whole number of extents in every stripe, and
// of 4096-byte blocks, which matters where extents are smaller than that.
// It returns a *NoSpaceError, with the Sizing filled in, when that does not
// fit; that it fits is no promise, since lvm2 has allocation rules of its own.
func Size(r SizeRequest) (Sizing, error) {
	extent := r.VG.ExtentSize
	if extent <= 0 || extent%512 != 0 {
		return Sizing{}, fmt.Errorf("volume group %q has extents of %d bytes, which can't be", r.VG.Name, extent)
	}
	if r.Payload <= 0 || r.Header < 0 {
		return Sizing{}, fmt.Errorf("a volume for %d bytes and a header of %d can't be made", r.Payload, r.Header)
	}
	s, err := r.shape()
	if err != nil {
		return Sizing{}, err
	}
	if s.raid && extent < minRAIDExtent {
		return Sizing{}, fmt.Errorf("volume group %q has extents of %d bytes, and lvm2 makes RAID volumes only from extents of %d or more", r.VG.Name, extent, minRAIDExtent)
	}
	unit := lcm(extent*s.stripes, block)
	if r.Payload > math.MaxInt64/32-r.Header-unit {
		return Sizing{}, fmt.Errorf("%d bytes are more than any volume holds", r.Payload)
	}

	result := Sizing{Payload: roundUp(r.Payload, block)}
	result.Size = roundUp(result.Payload+roundUp(r.Header, block), unit)
	result.Slack = result.Size - result.Payload
	if r.Type == Thin {
		// A copy writes every byte, zeros too, so the pool must hold it all.
		if free := poolFree(r.Pool); free < result.Size {
			return result, &NoSpaceError{VG: r.VG.Name, Pool: r.Pool.Name, Need: result.Size, Free: free}
		}
		return result, nil
	}
	perImage := result.Size / extent / s.stripes
	if s.raid {
		perImage += metaExtents(result.Size/s.stripes, extent)
	}
	result.Extents = perImage * s.images
	if usable := r.usable(perImage, s.images); usable < result.Extents {
		return result, &NoSpaceError{VG: r.VG.Name, Need: result.Extents * extent, Free: usable * extent}
	}
	return result, nil
}

// usable is how many free extents a layout of so many images can use at most.
// Two images never share a disk at the same place, so no disk gives more than
// one image's worth; by McNaughton's rule that bound can also be reached.
func (r SizeRequest) usable(perImage, images int64) int64 {
	if len(r.VG.PVs) == 0 {
		return r.VG.FreeExtents
	}
	var sum, all int64
	for _, pv := range r.VG.PVs {
		if !pv.Allocatable || pv.Missing || len(r.PVs) > 0 && !slices.Contains(r.PVs, pv.Name) {
			continue
		}
		all += pv.FreeExtents
		if images > 1 {
			sum += min(pv.FreeExtents, perImage)
		}
	}
	if images == 1 {
		return all
	}
	return sum
}

// poolFree is the free data space of a thin pool, in bytes, rounded down to a
// whole percent's hundredth as lvs gives it.
func poolFree(pool LV) int64 {
	if pool.Size <= 0 {
		return 0
	}
	// lvs rounds to two digits; a hundredth more is taken as used.
	used := min(int64(math.Ceil(pool.DataPercent*100))+1, 10000)
	if pool.DataPercent == 0 {
		used = 0
	}
	return pool.Size / 10000 * (10000 - used)
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

func lcm(a, b int64) int64 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
