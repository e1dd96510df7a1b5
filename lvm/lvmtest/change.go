package lvmtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// act runs an act between Before and After.
func (f *Fake) act(ctx context.Context, op string, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.Before != nil {
		if err := f.Before(op); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if f.After != nil {
		return f.After(op)
	}
	return nil
}

// Create implements Client.
func (f *Fake) Create(ctx context.Context, spec lvm.Spec) (lvm.LV, error) {
	if err := errors.Join(lvm.ValidVGName(spec.VG), lvm.ValidName(spec.VG, spec.Name)); err != nil {
		return lvm.LV{}, err
	}
	if err := f.act(ctx, "create", func() error { return f.create(spec) }); err != nil {
		return lvm.LV{}, err
	}
	return f.LV(ctx, spec.VG, spec.Name)
}

func (f *Fake) create(spec lvm.Spec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.group(spec.VG)
	if i < 0 {
		return &lvm.NotFoundError{Kind: "volume group", Name: spec.VG}
	}
	group := &f.groups[i]
	if why := group.Unfit(); why != "" {
		return fmt.Errorf("no volume can be made in volume group %q: %s", spec.VG, why)
	}
	if f.find(spec.VG, spec.Name) != nil {
		return &lvm.ExistsError{VG: spec.VG, Name: spec.Name}
	}
	request := lvm.SizeRequest{Payload: spec.Size, VG: *group, Type: spec.Type, Stripes: spec.Stripes, Mirrors: spec.Mirrors, PVs: spec.PVs}
	if spec.Type == lvm.Thin {
		pool := f.find(spec.VG, spec.ThinPool)
		if pool == nil || pool.Type != "thin-pool" {
			return &lvm.NotFoundError{Kind: "thin pool", Name: spec.VG + "/" + spec.ThinPool}
		}
		// A thin volume may be larger than its pool; that it is not is
		// for Size to see.
		request.Pool = lvm.LV{Name: pool.Name, Size: 1 << 55}
	}
	for _, disk := range spec.PVs {
		if !slices.ContainsFunc(group.PVs, func(p lvm.PV) bool { return p.Name == disk }) {
			return &lvm.NotFoundError{Kind: "physical volume", Name: disk}
		}
	}
	sizing, err := lvm.Size(request)
	if err != nil {
		return err
	}
	if sizing.Size != spec.Size {
		return fmt.Errorf("a volume of %d bytes can't be made in volume group %q", spec.Size, spec.VG)
	}
	f.add(group, spec, sizing.Extents)
	return nil
}

// add makes the volume, whose extents are known to be there.
func (f *Fake) add(group *lvm.VG, spec lvm.Spec, extents int64) {
	f.serial++
	v := &volume{taken: map[string]int64{}, LV: lvm.LV{
		VG: spec.VG, VGUUID: group.UUID, Name: spec.Name, UUID: f.uuid(), Size: spec.Size, Type: string(cmp.Or(spec.Type, lvm.Linear)),
		Path: "/dev/" + spec.VG + "/" + spec.Name, DMPath: mapperPath(spec.VG, spec.Name),
		Tags: slices.Clone(spec.Tags), Active: true, Attr: "-wi-a-----", Pool: spec.ThinPool, Major: 254, Minor: f.serial,
	}}
	slices.Sort(v.Tags)
	// Which disk gives how much is simplified: the fullest free disk gives
	// first, so no disk that Size counted on is short.
	disks := slices.Clone(group.PVs)
	slices.SortFunc(disks, func(a, b lvm.PV) int { return cmp.Compare(b.FreeExtents, a.FreeExtents) })
	for _, disk := range disks {
		if len(spec.PVs) > 0 && !slices.Contains(spec.PVs, disk.Name) {
			continue
		}
		n := min(disk.FreeExtents, extents)
		v.taken[disk.Name] = n
		extents -= n
	}
	f.give(group, v, -1)
	f.volumes = append(f.volumes, v)
}

// give gives a volume's extents back to its group, or takes them when sign is
// negative.
func (f *Fake) give(group *lvm.VG, v *volume, sign int64) {
	for i := range group.PVs {
		group.PVs[i].FreeExtents += sign * v.taken[group.PVs[i].Name]
	}
	f.count(group)
}

// AddPool puts a thin pool into a group, for tests that make thin volumes.
func (f *Fake) AddPool(vg, name string, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.group(vg); i >= 0 {
		f.add(&f.groups[i], lvm.Spec{VG: vg, Name: name, Size: size, Type: "thin-pool"}, size/f.groups[i].ExtentSize)
		f.volumes[len(f.volumes)-1].Path = ""
	}
}

// Remove implements Client.
func (f *Fake) Remove(ctx context.Context, vg, name, tag string) error {
	return f.act(ctx, "remove", func() error {
		path, err := f.remove(vg, name, tag)
		if err == nil && path != "" && f.Removed != nil {
			f.Removed(path)
		}
		return err
	})
}

func (f *Fake) remove(vg, name, tag string) (path string, err error) {
	used := f.inUse("/dev/" + vg + "/" + name)
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.find(vg, name)
	switch {
	case v == nil:
		return "", nil
	case tag == "" || !v.HasTag(tag):
		return "", &lvm.NotOursError{VG: vg, Name: name, Tag: tag, Tags: v.Tags}
	case v.open || used:
		return "", &lvm.InUseError{VG: vg, Name: name}
	}
	var all []lvm.LV
	for _, other := range f.volumes {
		all = append(all, other.LV)
	}
	if snapshots := v.Dependent(all); len(snapshots) > 0 {
		return "", &lvm.SnapshotError{VG: vg, Name: name, Snapshots: snapshots}
	}
	f.give(&f.groups[f.group(vg)], v, 1)
	f.volumes = slices.DeleteFunc(f.volumes, func(other *volume) bool { return other == v })
	return v.DMPath, nil
}

// Deactivate implements Client.
func (f *Fake) Deactivate(ctx context.Context, device string) ([]string, error) {
	var done []string
	err := f.act(ctx, "deactivate", func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, g := range f.guests[device] {
			if !g.active {
				continue
			}
			if g.open {
				return &lvm.InUseError{VG: g.Name}
			}
			g.active = false
			done = append(done, g.Name)
		}
		return nil
	})
	return done, err
}

// ActiveOn are the guests' groups that are active on device and so keep it
// open.
func (f *Fake) ActiveOn(device string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, g := range f.guests[device] {
		if g.active {
			names = append(names, g.Name)
		}
	}
	return names
}
