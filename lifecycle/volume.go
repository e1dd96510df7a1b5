package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// host is what LVM and device-mapper say at one time.
type host struct {
	vgs      []lvm.VG
	lvs      []lvm.LV
	mappings []luks.Mapping
}

func (m *Manager) host(ctx context.Context) (*host, error) {
	var h host
	var err error
	if h.vgs, err = m.Volumes.VGs(ctx); err != nil {
		return nil, err
	}
	if h.lvs, err = m.Volumes.LVs(ctx); err != nil {
		return nil, err
	}
	if h.mappings, err = m.Encryption.Mappings(ctx); err != nil {
		return nil, err
	}
	return &h, nil
}

// look finds the volume, header and mapping of each of a clone's disks. What
// is wrong with a disk is in its Problem; the error is of the tools. With
// activate a volume that LVM has not activated is, as after a reboot.
func (m *Manager) look(ctx context.Context, clone *Clone, activate bool) error {
	h, err := m.host(ctx)
	if err != nil {
		return err
	}
	return m.lookOn(ctx, h, clone, activate)
}

// Examine finds the volume, header and mapping of each of a clone's disks, and
// changes nothing. What is wrong with a disk is in its Problem.
func (m *Manager) Examine(ctx context.Context, clone *Clone) error { return m.look(ctx, clone, false) }

func (m *Manager) lookOn(ctx context.Context, h *host, clone *Clone, activate bool) error {
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		disk.Mapping, disk.Header, disk.Below, disk.Problem, disk.headerProblem = nil, nil, Place{}, nil, nil
		h.mapping(clone, disk)
		if err := m.lookMounted(ctx, disk); err != nil {
			return err
		}
		var err error
		if disk.HeaderFile != "" {
			err = m.apart(ctx, h, clone, disk, activate)
		} else if disk.VG != "" {
			err = m.volume(ctx, h, clone, disk, activate)
		} else {
			err = m.place(ctx, clone, disk)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mapping finds what opens the disk's volume, by the LUKS UUID, and whether
// its name is free if nothing does.
func (h *host) mapping(clone *Clone, disk *Disk) {
	for i := range h.mappings {
		mapping := &h.mappings[i]
		if mapping.UUID == "" || !strings.EqualFold(mapping.UUID, disk.LUKS) || h.opensSnapshot(clone, disk, *mapping) {
			continue
		}
		if disk.Mapping == nil || mapping.Name == disk.Mapper {
			disk.Mapping = mapping
		}
	}
	switch {
	case disk.Mapping == nil:
		for _, mapping := range h.mappings {
			if mapping.Name == disk.Mapper {
				taken := &NameTakenError{Clone: clone.Name, Disk: disk.Target, Mapper: disk.Mapper, Holds: mapping.UUID}
				if h.opensSnapshot(clone, disk, mapping) {
					taken.Snapshot = mapping.Device
				}
				disk.Problem = taken
			}
		}
	case disk.Mapping.Name != disk.Mapper:
		disk.Problem = &OpenElsewhereError{Clone: clone.Name, Disk: disk.Target, Mapper: disk.Mapping.Name, Want: disk.Mapper}
	case disk.Mapping.ReadOnly:
		disk.Problem = &OpenElsewhereError{Clone: clone.Name, Disk: disk.Target, Mapper: disk.Mapping.Name, Want: disk.Mapper, ReadOnly: true}
	}
}

// aside says whether a volume is a snapshot that somebody made, of the disk's
// volume or another: it bears the header of what it was made of, and an older
// state. The volume that the clone was moved to may be one itself.
func aside(lv lvm.LV, clone *Clone, disk *Disk) bool {
	return lv.IsSnapshot() && !lv.HasTag(clone.Tag()) && (lv.VG != disk.VG || lv.Name != disk.LV)
}

// opensSnapshot says whether a mapping lies on such a snapshot.
func (h *host) opensSnapshot(clone *Clone, disk *Disk, mapping luks.Mapping) bool {
	return slices.ContainsFunc(h.lvs, func(lv lvm.LV) bool { return lv.DMPath == mapping.Device && aside(lv, clone, disk) })
}

// volume finds the disk's volume: the one under its mapping; that of the
// recorded name; one with the job's tag, as after a rename; or any other that
// bears the header, save snapshots.
func (m *Manager) volume(ctx context.Context, h *host, clone *Clone, disk *Disk, activate bool) error {
	var blank []lvm.LV // volumes of ours that bear no header at all
	for _, lv := range h.candidates(clone, disk) {
		recorded := lv.VG == disk.VG && lv.Name == disk.LV
		if !lv.Active {
			// Which header it bears can't be told before it is active. One of
			// the recorded name with the job's tag is the volume, until then.
			if !activate {
				if recorded && lv.HasTag(clone.Tag()) {
					disk.Below = placeOf(lv)
				}
				continue
			}
			if !recorded && !lv.HasTag(clone.Tag()) {
				continue // not ours to activate
			}
			if err := m.Volumes.Activate(ctx, lv.VG, lv.Name); err != nil {
				disk.problem(&VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: lv.VG + "/" + lv.Name, Reason: "it can't be activated", Err: err})
				return ctx.Err()
			}
			lv.Active = true
		}
		header, err := m.Encryption.Header(ctx, lv.Path)
		var none *luks.NotLUKSError
		switch {
		case errors.As(err, &none):
			if lv.HasTag(clone.Tag()) {
				blank = append(blank, lv)
			}
		case err == nil && strings.EqualFold(header.UUID, disk.LUKS):
			disk.Below, disk.Header = placeOf(lv), &header
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && recorded:
			// Another's volume may be unreadable for reasons of its own.
			disk.problem(&VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: lv.VG + "/" + lv.Name, Reason: "its header can't be read", Err: err})
			disk.Below = placeOf(lv)
			return nil
		}
	}
	if disk.Found() {
		return nil // inactive, and nobody asked for more
	}
	disk.problem(h.lost(clone, disk, blank))
	return nil
}

// problem keeps the first thing that is wrong.
func (d *Disk) problem(err error) {
	if d.Problem == nil {
		d.Problem = err
	}
}

// candidates are the volumes that may be the disk's, the likeliest first.
func (h *host) candidates(clone *Clone, disk *Disk) []lvm.LV {
	rank := func(lv lvm.LV) int {
		switch {
		case disk.Mapping != nil && lv.DMPath == disk.Mapping.Device:
			return 0
		case lv.VG == disk.VG && lv.Name == disk.LV:
			return 1
		case lv.HasTag(clone.Tag()):
			return 2
		}
		return 3
	}
	all := slices.DeleteFunc(slices.Clone(h.lvs), func(lv lvm.LV) bool { return lv.Path == "" || aside(lv, clone, disk) })
	slices.SortStableFunc(all, func(a, b lvm.LV) int { return rank(a) - rank(b) })
	return all
}

// lost says why a volume was not found. blank are the volumes of ours without
// a header: the one under the mapping is the disk's, or that of the recorded
// name, or the only one there is.
func (h *host) lost(clone *Clone, disk *Disk, blank []lvm.LV) error {
	name := disk.OriginDisk.Volume()
	for _, lv := range blank {
		if disk.Mapping != nil && lv.DMPath == disk.Mapping.Device || lv.VG+"/"+lv.Name == name || len(blank) == 1 && !h.has(name) {
			disk.Below = placeOf(lv)
			return &HeaderLostError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), LUKS: disk.LUKS}
		}
	}
	gone := &VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: name, LUKS: disk.LUKS, VG: disk.VG}
	i := slices.IndexFunc(h.vgs, func(vg lvm.VG) bool { return vg.Name == disk.VG })
	switch {
	case i < 0:
		gone.Reason, gone.Group = "there is no volume group of that name", GroupMissing
	case h.vgs[i].Exported:
		gone.Reason, gone.Group = "its volume group is exported", GroupExported
	case h.vgs[i].Partial:
		gone.Reason, gone.Group = "a disk of its volume group is missing", GroupPartial
	default:
		gone.Reason = "no volume bears the LUKS header " + disk.LUKS
		if disk.HeaderFile != "" {
			gone.Reason = "it is not there, and no volume bears the tag " + luksTag + disk.LUKS
		}
	}
	return gone
}

func (h *host) has(name string) bool {
	return slices.ContainsFunc(h.lvs, func(lv lvm.LV) bool { return lv.VG+"/"+lv.Name == name })
}
