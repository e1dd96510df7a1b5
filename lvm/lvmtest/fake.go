package lvmtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// Fake is a host's LVM in memory. It makes volumes of whole 4096-byte blocks
// only, as lvm.Size works them out. Its exported fields are to be set before it
// is used; its methods may be called by several goroutines.
type Fake struct {
	// Before is asked before, and After after, an act that changes
	// something: "create", "remove" or "deactivate". An error of Before's is
	// returned and the act not done; one of After's is returned when it was,
	// as if the process had died there.
	Before, After func(op string) error
	// InUse says whether something has the device at path open.
	InUse func(path string) bool
	// Removed is told the path, as Resolve gave it, of a removed volume.
	Removed func(path string)

	mu      sync.Mutex
	groups  []lvm.VG
	volumes []*volume
	guests  map[string][]*guest
	serial  int
}

type volume struct {
	lvm.LV
	taken map[string]int64 // extents by disk
	open  bool
}

type guest struct {
	lvm.VG
	active, open bool
}

// New is a host with these groups. A group without PVs gets one disk of its
// size, and one without a UUID its own.
func New(groups ...lvm.VG) *Fake {
	f := &Fake{guests: map[string][]*guest{}}
	for _, group := range groups {
		if len(group.PVs) == 0 {
			group.PVs = []lvm.PV{{Name: "/dev/disk-of-" + group.Name, Size: group.Size, Free: group.Size, FreeExtents: group.Size / group.ExtentSize, Allocatable: true}}
		}
		group.PVs = slices.Clone(group.PVs)
		group.PVCount = len(group.PVs)
		group.ExtentCount = group.Size / group.ExtentSize
		group.UUID = cmp.Or(group.UUID, f.uuid())
		f.groups = append(f.groups, group)
		f.count(&f.groups[len(f.groups)-1])
	}
	return f
}

// Group is a volume group of so many extents on one disk, for New.
func Group(name string, extent, extents int64) lvm.VG {
	return lvm.VG{Name: name, ExtentSize: extent, Size: extent * extents}
}

func (f *Fake) uuid() string {
	f.serial++
	text := fmt.Sprintf("Fake%028d", f.serial)
	return strings.Join([]string{text[:6], text[6:10], text[10:14], text[14:18], text[18:22], text[22:26], text[26:]}, "-")
}

// count works out a group's free space from its disks.
func (f *Fake) count(group *lvm.VG) {
	group.FreeExtents = 0
	for i := range group.PVs {
		group.PVs[i].Free = group.PVs[i].FreeExtents * group.ExtentSize
		group.FreeExtents += group.PVs[i].FreeExtents
	}
	group.Free = group.FreeExtents * group.ExtentSize
}

// Set changes a group, such as to make it exported.
func (f *Fake) Set(name string, change func(*lvm.VG)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.group(name); i >= 0 {
		change(&f.groups[i])
	}
}

// SetOpen makes a volume, or a guest's group inside a device, open or not.
func (f *Fake) SetOpen(path string, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.volumes {
		if v.Path == path {
			v.open = open
		}
	}
	for _, g := range f.guests[path] {
		g.open = open
	}
}

// AddGuest puts a guest's volume group on device, as the host's LVM sees it
// once the device is opened, and has activated it or not.
func (f *Fake) AddGuest(device, name string, active bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guests[device] = append(f.guests[device], &guest{VG: lvm.VG{Name: name, UUID: f.uuid()}, active: active})
}

// AddSnapshot gives a volume a snapshot, which takes nothing from the group, with
// these tags.
func (f *Fake) AddSnapshot(vg, origin, name string, tags ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := f.find(vg, origin)
	f.serial++
	f.volumes = append(f.volumes, &volume{taken: map[string]int64{}, LV: lvm.LV{
		VG: vg, VGUUID: of.VGUUID, Name: name, UUID: f.uuid(), Size: of.Size, Type: string(lvm.Linear), Origin: origin, Pool: of.Pool, Tags: tags,
		Path: "/dev/" + vg + "/" + name, DMPath: mapperPath(vg, name), Active: true, Attr: "swi-a-s---", Major: 254, Minor: f.serial,
	}})
}

// mapperPath is /dev/mapper/VG-LV, in which a name's own dashes are doubled.
func mapperPath(vg, name string) string {
	dashed := func(name string) string { return strings.ReplaceAll(name, "-", "--") }
	return "/dev/mapper/" + dashed(vg) + "-" + dashed(name)
}

// DeviceSize is the size of the volume at path in bytes, or a
// *lvm.NotFoundError.
func (f *Fake) DeviceSize(path string) (int64, error) {
	v, err := f.LVByPath(context.Background(), path)
	return v.Size, err
}

// Resolve is a device's one true name: /dev/mapper/VG-LV of a volume, and any
// other path itself.
func (f *Fake) Resolve(path string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.volumes {
		if v.Path == path {
			return v.DMPath
		}
	}
	return path
}

func (f *Fake) group(name string) int {
	return slices.IndexFunc(f.groups, func(g lvm.VG) bool { return g.Name == name })
}

func (f *Fake) find(vg, name string) *volume {
	for _, v := range f.volumes {
		if v.VG == vg && v.Name == name {
			return v
		}
	}
	return nil
}

// VGs implements Client.
func (f *Fake) VGs(ctx context.Context) ([]lvm.VG, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	groups := slices.Clone(f.groups)
	for i := range groups {
		groups[i].PVs = slices.Clone(groups[i].PVs)
	}
	return groups, ctx.Err()
}

// VG implements Client.
func (f *Fake) VG(ctx context.Context, name string) (lvm.VG, error) {
	groups, err := f.VGs(ctx)
	if err != nil {
		return lvm.VG{}, err
	}
	if i := slices.IndexFunc(groups, func(g lvm.VG) bool { return g.Name == name }); i >= 0 {
		return groups[i], nil
	}
	return lvm.VG{}, &lvm.NotFoundError{Kind: "volume group", Name: name}
}

// LVs implements Client.
func (f *Fake) LVs(ctx context.Context) ([]lvm.LV, error) {
	f.mu.Lock()
	var all []lvm.LV
	for _, v := range f.volumes {
		one := v.LV
		one.Tags, one.Open = slices.Clone(v.Tags), v.open
		all = append(all, one)
	}
	f.mu.Unlock()
	for i := range all {
		all[i].Open = all[i].Open || f.inUse(all[i].Path)
	}
	slices.SortFunc(all, func(a, b lvm.LV) int { return cmp.Or(cmp.Compare(a.VG, b.VG), cmp.Compare(a.Name, b.Name)) })
	return all, ctx.Err()
}

// inUse is asked without f.mu held: who answers may ask back.
func (f *Fake) inUse(path string) bool { return f.InUse != nil && f.InUse(path) }

// LV implements Client.
func (f *Fake) LV(ctx context.Context, vg, name string) (lvm.LV, error) {
	return f.where(ctx, &lvm.NotFoundError{Kind: "logical volume", Name: vg + "/" + name}, func(v lvm.LV) bool { return v.VG == vg && v.Name == name })
}

// LVByPath implements Client.
func (f *Fake) LVByPath(ctx context.Context, path string) (lvm.LV, error) {
	return f.where(ctx, &lvm.NotFoundError{Kind: "logical volume", Name: path}, func(v lvm.LV) bool { return v.Path == path || v.DMPath == path })
}

func (f *Fake) where(ctx context.Context, missing error, is func(lvm.LV) bool) (lvm.LV, error) {
	all, err := f.LVs(ctx)
	if err != nil {
		return lvm.LV{}, err
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], nil
	}
	return lvm.LV{}, missing
}

// ByTag implements Client.
func (f *Fake) ByTag(ctx context.Context, tag string) ([]lvm.LV, error) {
	all, err := f.LVs(ctx)
	return slices.DeleteFunc(all, func(v lvm.LV) bool { return !v.HasTag(tag) }), err
}

// On implements Client.
func (f *Fake) On(ctx context.Context, device string) ([]lvm.VG, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var groups []lvm.VG
	for _, g := range f.guests[device] {
		groups = append(groups, lvm.VG{Name: g.Name, UUID: g.UUID})
	}
	return groups, ctx.Err()
}
