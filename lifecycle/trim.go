package lifecycle

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Trim is how far a guest's discards get, disk by disk.
type Trim struct {
	// VM is the clone, and Disks are its encrypted disks.
	VM    string     `json:"vm"`
	Disks []DiskTrim `json:"disks"`
}

// DiskTrim is how far the discards on one disk get.
type DiskTrim struct {
	// Target is its name in the domain.
	Target string `json:"target"`
	// Layers are what lies between the guest and the hardware, from the top.
	Layers []TrimLayer `json:"layers"`
	// StopsAt is the kind of the first layer that does not pass them on, or ""
	// when they reach the bottom.
	StopsAt LayerKind `json:"stops_at,omitempty"`
	// Problem is why not all layers could be looked at, in a sentence, and
	// Next are the commands that help. Whoever shows them fills them in: the
	// one from Err.
	Problem string   `json:"problem,omitempty"`
	Next    []string `json:"next,omitempty"`
	Err     error    `json:"-"`
}

// OnFile says whether the volume is a file: what is below that file's file system
// was not looked at.
func (t *DiskTrim) OnFile() bool {
	return slices.ContainsFunc(t.Layers, func(l TrimLayer) bool {
		return l.Layer == LayerVolume && isFile(l.Name) && strings.HasPrefix(l.Name, "/")
	})
}

// LayerKind is a kind of layer between a guest and the hardware.
type LayerKind string

// The kinds of layer, from the guest down.
const (
	LayerGuest  LayerKind = "virtual disk"
	LayerImage  LayerKind = "image"
	LayerFiles  LayerKind = "file system"
	LayerCrypt  LayerKind = "dm-crypt"
	LayerVolume LayerKind = "volume"
	LayerPool   LayerKind = "thin pool"
	LayerDevice LayerKind = "device"
)

// TrimLayer is one layer.
type TrimLayer struct {
	// Layer is its kind.
	Layer LayerKind `json:"layer"`
	// Name is the disk's target, the mapping, the volume or the device.
	Name string `json:"name"`
	// Passes is whether it passes discards on, and Why says why.
	Passes bool   `json:"passes"`
	Why    string `json:"why"`
}

// CheckTrim says for each disk of a clone whether discards pass every layer
// down to the hardware, and which one stops them. It changes nothing. What
// keeps a layer from being looked at is the disk's Err.
func (m *Manager) CheckTrim(ctx context.Context, name string) (Trim, error) {
	clone, err := m.Find(ctx, name)
	if err != nil {
		return Trim{}, err
	}
	if err := m.look(ctx, clone, false); err != nil {
		return Trim{}, err
	}
	trim := Trim{VM: clone.Name, Disks: []DiskTrim{}}
	for i := range clone.Disks {
		one, err := m.trim(ctx, clone, &clone.Disks[i])
		if err != nil {
			return Trim{}, err
		}
		trim.Disks = append(trim.Disks, one)
	}
	return trim, nil
}

func (m *Manager) trim(ctx context.Context, clone *Clone, disk *Disk) (DiskTrim, error) {
	t := DiskTrim{Target: disk.Target, Layers: disk.upperLayers(), Err: disk.Problem}
	if device := disk.device(); device != "" && disk.Below.Active() {
		layers, err := m.Devices.Below(ctx, device)
		if err != nil {
			return t, err
		}
		for i, layer := range layers {
			t.Layers = append(t.Layers, disk.deviceLayer(i, layer))
		}
	} else if t.Err == nil && disk.Below.File() {
		t.Err = &VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), LUKS: disk.LUKS, Reason: "it is a file, and what its loop device passes on is only known while the disk is unlocked"}
	} else if t.Err == nil {
		t.Err = &VolumeError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), LUKS: disk.LUKS, Reason: "it is not active, so what lies below it is not known"}
	}
	for _, layer := range t.Layers {
		if !layer.Passes && t.StopsAt == "" {
			t.StopsAt = layer.Layer
		}
	}
	return t, nil
}

func (d *Disk) guestLayer() TrimLayer {
	l := TrimLayer{Layer: LayerGuest, Name: d.Target}
	switch {
	case !d.Attached:
		l.Why = fmt.Sprintf("the definition no longer uses %s for it", d.Where())
	case d.Discard == "unmap":
		l.Passes, l.Why = true, "the definition says discard='unmap'"
	case d.Discard == "":
		l.Why = "the definition says nothing of discards, and QEMU then ignores them"
	default:
		l.Why = fmt.Sprintf("the definition says discard='%s'", d.Discard)
	}
	return l
}

func (d *Disk) cryptLayer() TrimLayer {
	l := TrimLayer{Layer: LayerCrypt, Name: d.Mapper, Passes: d.passesDiscards()}
	switch {
	case d.Mapping != nil && l.Passes:
		l.Name, l.Why = d.Mapping.Name, "it is open with allow_discards"
	case d.Mapping != nil:
		l.Name, l.Why = d.Mapping.Name, "it is open without allow_discards"
	case d.Header == nil:
		l.Why = "it is locked, and its header can't be read"
	case l.Passes:
		l.Why = "it is locked, and will be opened with allow_discards"
	default:
		l.Why = "it is locked, and will be opened without allow_discards"
	}
	return l
}

// deviceLayer is the i-th device from the volume down. issue_discards of
// lvm.conf has no part in it: that is about what LVM itself gives back.
func (d *Disk) deviceLayer(i int, layer Layer) TrimLayer {
	l := TrimLayer{Layer: LayerDevice, Name: layer.Path(), Passes: layer.Discard > 0}
	if i == 0 {
		l.Layer, l.Name = LayerVolume, d.Volume()
	}
	if layer.Pool() {
		l.Layer = LayerPool
	}
	switch {
	case layer.Pool() && !l.Passes:
		l.Why = "it has the space back, and passes no discards on: so it is set (lvs -o +discards), or its disk takes none as large as its chunks (dmesg)"
	case layer.Pool():
		l.Why = "it has the space back, and passes discards on"
	case !l.Passes:
		l.Why = "it takes no discards (discard_max_bytes is 0)"
	case i == 0 && d.Below.LV.Type == "thin":
		l.Why = fmt.Sprintf("its thin pool %s/%s gets the space back", d.Below.LV.VG, d.Below.LV.Pool)
	case i == 0 && d.Below.File():
		l.Why = "its loop device punches holes into it, and its file system has the space back"
	default:
		l.Why = "it takes discards"
	}
	return l
}
