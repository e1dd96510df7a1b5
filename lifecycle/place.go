package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// Place is where a disk's LUKS volume lies on this host.
type Place struct {
	// Path is the device's or file's, and Size its bytes.
	Path string
	Size int64
	// LV is the logical volume that it is, without a name if it is none.
	LV lvm.LV
}

func placeOf(lv lvm.LV) Place { return Place{Path: lv.Path, Size: lv.Size, LV: lv} }

// String is VG/LV, or the path of what is no logical volume.
func (p Place) String() string {
	if p.LV.Name != "" {
		return p.LV.VG + "/" + p.LV.Name
	}
	return p.Path
}

// File says whether it is a file, which is opened through a loop device: so is
// all that is not below /dev.
func (p Place) File() bool { return isFile(p.Path) }

func isFile(path string) bool { return path != "" && !strings.HasPrefix(path, "/dev/") }

// Active says whether there is a device: a logical volume may be without.
func (p Place) Active() bool { return p.LV.Name == "" || p.LV.Active }

// paths are all that it may be called by.
func (p Place) paths() []string {
	if p.LV.Name != "" {
		return []string{p.LV.Path, p.LV.DMPath}
	}
	return []string{p.Path}
}

// place finds the LUKS volume of a disk that is on no logical volume: at the
// path of the metadata, under its mapping, or wherever udev has seen its UUID.
func (m *Manager) place(ctx context.Context, clone *Clone, disk *Disk) error {
	paths := []string{disk.Path}
	if !isFile(disk.Path) {
		if disk.Mapping != nil {
			paths = append(paths, disk.Mapping.Device)
		}
		paths = append(paths, "/dev/disk/by-uuid/"+strings.ToLower(disk.LUKS))
	}
	blank, failed := false, error(nil)
	for i, path := range slices.Compact(paths) {
		size, err := m.Devices.Size(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		header, headerErr := m.Encryption.Header(ctx, path)
		err = errors.Join(err, headerErr)
		var none *luks.NotLUKSError
		switch {
		case err == nil && strings.EqualFold(header.UUID, disk.LUKS):
			disk.Below, disk.Header = Place{Path: path, Size: size}, &header
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case i > 0:
		case errors.As(err, &none):
			blank, disk.Below = true, Place{Path: path, Size: size}
		case err != nil:
			failed, disk.Below = err, Place{Path: path, Size: size}
		}
	}
	switch {
	case blank:
		disk.problem(&HeaderLostError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Path, LUKS: disk.LUKS})
	case failed != nil:
		disk.problem(&VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Path, Reason: "its header can't be read", Err: failed})
	case isFile(disk.Path):
		disk.problem(&VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Path, LUKS: disk.LUKS, Reason: "it is not there, or bears another LUKS header; its file system may not be mounted"})
	default:
		disk.problem(&VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Path, LUKS: disk.LUKS, Reason: "it is not there, and no other device bears the LUKS header " + disk.LUKS})
	}
	return nil
}

// directIO has the files below a clone's mappings read and written past the page
// cache: the guest's own is above them. It has no effect where that is so already.
func (m *Manager) directIO(ctx context.Context, clone *Clone) {
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		if !disk.Below.File() {
			continue
		}
		if err := m.Encryption.DirectIO(ctx, disk.Mapper); err != nil {
			m.report(Event{Event: Warning, VM: clone.Name, Disk: disk.Target, Message: fmt.Sprintf("the loop device of %s goes through the page cache: %v", disk.Volume(), err)})
		}
	}
}

// device is the block device that a place is, or that a file is opened through
// by this mapping; "" while there is none.
func (d *Disk) device() string {
	switch {
	case !d.Below.File():
		return d.Below.Path
	case d.Mapping != nil:
		return d.Mapping.Device
	}
	return ""
}
