package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// luksTag is how the tag begins by which a volume is known whose LUKS header is
// in a file of its own: nothing on the volume says whose it is.
const luksTag = "vmmigrate.luks="

// headerAt is where a disk's LUKS header is: on its volume, or in a file.
func (d *Disk) headerAt() string { return cmp.Or(d.HeaderFile, d.Below.Path) }

// apart finds the volume of a disk whose header is in a file of its own, and
// that header.
func (m *Manager) apart(ctx context.Context, h *host, clone *Clone, disk *Disk, activate bool) error {
	find := m.bareDevice
	if disk.VG != "" {
		find = m.bareVolume
	}
	if err := find(ctx, h, clone, disk, activate); err != nil {
		return err
	}
	if err := m.headerFile(ctx, clone, disk); err != nil {
		return err
	}
	if disk.headerProblem != nil {
		disk.problem(disk.headerProblem)
	}
	return nil
}

// headerFile reads the header in a disk's file.
func (m *Manager) headerFile(ctx context.Context, clone *Clone, disk *Disk) error {
	file := disk.HeaderFile
	lost := &HeaderLostError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), LUKS: disk.LUKS, File: file}
	there, err := m.Devices.Exists(file)
	if err == nil && !there {
		lost.Gone = true
		disk.headerProblem = lost
		return nil
	}
	var header luks.Header
	if err == nil {
		header, err = m.Encryption.Header(ctx, file)
	}
	bad := &HeaderFileError{Clone: clone.Name, Disk: disk.Target, File: file, LUKS: disk.LUKS}
	var none *luks.NotLUKSError
	switch {
	case err == nil && strings.EqualFold(header.UUID, disk.LUKS):
		disk.Header = &header
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		bad.Bears = header.UUID
		disk.headerProblem = bad
	case errors.As(err, &none):
		disk.headerProblem = lost
	default:
		bad.Err = err
		disk.headerProblem = bad
	}
	return nil
}

// bareVolume finds a logical volume that bears no header: under the disk's
// mapping, by the tag with its UUID, or by the recorded name, as a volume has
// that was there before the move.
func (m *Manager) bareVolume(ctx context.Context, h *host, clone *Clone, disk *Disk, activate bool) error {
	rank := func(lv lvm.LV) int {
		switch tag := slices.IndexFunc(lv.Tags, func(tag string) bool { return strings.HasPrefix(tag, luksTag) }); {
		case disk.Mapping != nil && lv.DMPath == disk.Mapping.Device:
			return 0
		case lv.HasTag(luksTag + disk.LUKS):
			return 1
		case tag < 0 && lv.VG == disk.VG && lv.Name == disk.LV:
			return 2
		}
		return 3
	}
	all := slices.DeleteFunc(slices.Clone(h.lvs), func(lv lvm.LV) bool { return lv.Path == "" || rank(lv) == 3 })
	if len(all) == 0 {
		disk.problem(h.lost(clone, disk, nil))
		return nil
	}
	lv := slices.MinFunc(all, func(a, b lvm.LV) int { return rank(a) - rank(b) })
	disk.Below = placeOf(lv)
	if !lv.Active {
		if !activate {
			return nil // what lies on it can't be told before it is active
		}
		if err := m.Volumes.Activate(ctx, lv.VG, lv.Name); err != nil {
			disk.problem(&VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), Reason: "it can't be activated", Err: err})
			return ctx.Err()
		}
		disk.Below.LV.Active = true
	}
	if rank(lv) < 2 {
		return nil
	}
	return m.unsigned(ctx, clone, disk)
}

// bareDevice finds the device or file that bears no header: under the disk's
// mapping, or at the path of the metadata.
func (m *Manager) bareDevice(ctx context.Context, _ *host, clone *Clone, disk *Disk, _ bool) error {
	paths := []string{disk.Path}
	if disk.Mapping != nil && !isFile(disk.Path) {
		paths = append(paths, disk.Mapping.Device)
	}
	for _, path := range paths {
		size, err := m.Devices.Size(path)
		if errors.Is(err, fs.ErrNotExist) || path == "" {
			continue
		}
		disk.Below = Place{Path: path, Size: size}
		if err != nil {
			disk.problem(&VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Path, Reason: "it can't be read", Err: err})
			return nil
		}
		if disk.Mapping != nil {
			return nil // it is open: there is no doubt
		}
		return m.unsigned(ctx, clone, disk)
	}
	reason := "it is not there"
	if isFile(disk.Path) {
		reason += "; its file system may not be mounted"
	}
	disk.problem(&VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Path, LUKS: disk.LUKS, Reason: reason})
	return nil
}

// unsigned sees that a volume that is known by its name alone is nobody else's
// by now. What lies on it is noise; with a mark of something else it would be
// opened all the same, and the guest would write over that.
func (m *Manager) unsigned(ctx context.Context, clone *Clone, disk *Disk) error {
	found, err := m.Encryption.Signatures(ctx, disk.Below.Path)
	bad := &VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), LUKS: disk.LUKS}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		bad.Reason, bad.Err = "it can't be read", err
	case len(found) > 0:
		bad.Reason = fmt.Sprintf("it bears %s, and the disk's volume bears nothing, since its header is in %s: it is another volume of that name", found[0], disk.HeaderFile)
	default:
		return nil
	}
	disk.problem(bad)
	return nil
}
