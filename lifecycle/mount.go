package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/vmmigrate/vmmigrate/filesystem"
)

// lookMounted finds whether what an image lies on is mounted where it should be.
func (m *Manager) lookMounted(ctx context.Context, disk *Disk) error {
	disk.Mounted = false
	if disk.Filesystem == nil || !disk.mapped() {
		return nil
	}
	dirs, err := m.Filesystems.Mounts(ctx, disk.Device())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // closed since the mappings were listed
	}
	disk.Mounted = slices.Contains(dirs, disk.Filesystem.Mount)
	return err
}

// mount mounts what an open disk's image lies on, unless it is.
func (m *Manager) mount(ctx context.Context, clone *Clone, disk *Disk) error {
	f := disk.Filesystem
	if f == nil || disk.Mounted {
		return nil
	}
	began := m.Now()
	err := m.Filesystems.MakeDir(ctx, f.Mount)
	if err == nil {
		err = m.Filesystems.Mount(ctx, filesystem.MountSpec{Device: disk.Device(), Dir: f.Mount, Type: filesystem.Type(f.Type), Discard: f.Discards})
	}
	if err != nil {
		return &MountError{Clone: clone.Name, Disk: disk.Target, Err: err}
	}
	disk.Mounted = true
	m.report(Event{Event: Mounted, VM: clone.Name, Disk: disk.Target, Message: f.Mount, Elapsed: m.Now().Sub(began)})
	return nil
}

// unmount unmounts what lies under a mapping of a disk's from where it should be;
// what somebody mounted elsewhere is theirs, and keeps the mapping open.
func (m *Manager) unmount(ctx context.Context, clone *Clone, disk *Disk, mapper string) error {
	f := disk.Filesystem
	if f == nil {
		return nil
	}
	device := "/dev/mapper/" + mapper
	dirs, err := m.Filesystems.Mounts(ctx, device)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.Contains(dirs, f.Mount) {
		return nil
	}
	began := m.Now()
	if err == nil {
		err = m.Filesystems.Unmount(ctx, f.Mount, device)
	}
	if err != nil {
		return err
	}
	disk.Mounted = false
	m.report(Event{Event: Unmounted, VM: clone.Name, Disk: disk.Target, Message: f.Mount, Elapsed: m.Now().Sub(began)})
	return nil
}

// MountError says that a disk is unlocked, and the file system that its image
// lies on could not be mounted.
type MountError struct {
	Clone, Disk string
	Err         error
}

func (e *MountError) Error() string {
	return fmt.Sprintf("the file system of disk %s of %q could not be mounted: %v", e.Disk, e.Clone, e.Err)
}

// Unwrap returns the cause.
func (e *MountError) Unwrap() error { return e.Err }

// wantsDiscards says whether dm-crypt is to pass discards on: the guest's own,
// or, where its image lies on a file system, that one's.
func (d *Disk) wantsDiscards() bool {
	if d.Filesystem != nil {
		return d.Filesystem.Discards
	}
	return d.Discard == "unmap"
}

// upperLayers are those above the volume.
func (d *Disk) upperLayers() []TrimLayer {
	layers := []TrimLayer{d.guestLayer()}
	if f := d.Filesystem; f != nil {
		files := TrimLayer{Layer: LayerFiles, Name: f.Mount, Passes: f.Discards, Why: "it is mounted without discard: what is freed on it stays allocated below, until fstrim"}
		if f.Discards {
			files.Why = "it is mounted with discard"
		}
		layers = append(layers, TrimLayer{Layer: LayerImage, Name: f.Image, Passes: true, Why: "QEMU frees the clusters and punches holes into the file"}, files)
	}
	return append(layers, d.cryptLayer())
}

// FilesystemStatus is the file system that a disk's image lies on.
type FilesystemStatus struct {
	Type string `json:"type"`
	UUID string `json:"uuid"`
	// Mount is the folder that it belongs on, Unlocked whether the volume that it
	// is in is open, and Mounted whether it is where it belongs.
	Mount    string `json:"mount"`
	Unlocked bool   `json:"unlocked"`
	Mounted  bool   `json:"mounted"`
	// Size and Free are bytes, as long as it is mounted.
	Size int64 `json:"size,omitempty"`
	Free int64 `json:"free,omitempty"`
}

// filesystemStatus is how the file system of a disk stands, nil where there is
// none.
func (m *Manager) filesystemStatus(ctx context.Context, disk *Disk) (*FilesystemStatus, error) {
	f := disk.Filesystem
	if f == nil {
		return nil, nil
	}
	s := &FilesystemStatus{Type: f.Type, UUID: f.UUID, Mount: f.Mount, Mounted: disk.Mounted, Unlocked: disk.mapped()}
	if !disk.Mounted {
		return s, nil
	}
	var err error
	s.Size, s.Free, err = m.Filesystems.Free(ctx, f.Mount)
	return s, err
}
