package domainxml

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/beevik/etree"
	"libvirt.org/go/libvirtxml"
)

// Kind is what a migration does with a disk.
type Kind string

const (
	// Move is a disk whose content is moved to an encrypted volume.
	Move Kind = "move"
	// Keep is a disk that stays as it is, shared with the original: nothing
	// can be written to it, or there is nothing in it.
	Keep Kind = "keep"
	// Refuse is a disk that can't be moved. It blocks a migration, unless the
	// user skips it.
	Refuse Kind = "refuse"
)

// Disk is one <disk> of a domain.
type Disk struct {
	// Target is the name inside the domain, such as "vda". It is unique, and
	// the only thing a disk is found by.
	Target string `json:"target"`
	// Bus is how the guest sees it, such as "virtio"; "" when libvirt chooses.
	Bus string `json:"bus,omitempty"`
	// Device is "disk", "cdrom", "floppy" or "lun".
	Device string `json:"device"`
	// SourceType is "file", "block", "volume", "dir", "network", "nvme",
	// "vhostuser" or "vhostvdpa".
	SourceType string `json:"source_type"`
	// Path is the host's file or device of types file and block, else "".
	Path string `json:"path,omitempty"`
	// Pool, Volume and Mode are those of type volume. Mode is "host",
	// "direct" or "".
	Pool   string `json:"pool,omitempty"`
	Volume string `json:"volume,omitempty"`
	Mode   string `json:"mode,omitempty"`
	// Format is the driver's, such as "raw" or "qcow2".
	Format string `json:"format"`
	// FormatAssumed is set when the XML names no format. QEMU's driver of
	// libvirt then takes raw and never probes (docs/formatdomain.rst,
	// allow_disk_format_probing), and so do we.
	FormatAssumed bool `json:"format_assumed,omitempty"`
	// Backing are the files behind the disk's own image that the XML itself
	// names in <backingStore>, the nearest first, and BackingFormats their
	// formats. BackingGiven is set when it says anything about them, also that
	// there are none; otherwise the image's header does.
	Backing        []string `json:"backing,omitempty"`
	BackingFormats []string `json:"backing_formats,omitempty"`
	BackingGiven   bool     `json:"backing_given,omitempty"`
	// Discard is the driver's discard attribute: "unmap", "ignore" or "".
	Discard string `json:"discard,omitempty"`
	// Serial is the serial number the guest reads, or "".
	Serial string `json:"serial,omitempty"`
	// ReadOnly, Shareable, Transient and Mirror are the flags of the same
	// element names. Encrypted is set when the disk is encrypted by QEMU.
	ReadOnly  bool `json:"read_only,omitempty"`
	Shareable bool `json:"shareable,omitempty"`
	Transient bool `json:"transient,omitempty"`
	Mirror    bool `json:"mirror,omitempty"`
	Encrypted bool `json:"encrypted,omitempty"`
	// Element is the disk's path in the XML.
	Element string `json:"element"`
	// Kind is what a migration does with it, and Reason says why, in a
	// sentence.
	Kind   Kind   `json:"kind"`
	Reason string `json:"reason"`
}

// readDisk reads the facts. What libvirtxml can't tell (an unknown type of
// source leaves its model empty) comes from the element itself.
func readDisk(e *etree.Element, path string, model libvirtxml.DomainDisk) (Disk, error) {
	d := Disk{
		Device:     cmp.Or(attrValue(e, "device"), "disk"),
		SourceType: cmp.Or(attrValue(e, "type"), "file"),
		ReadOnly:   model.ReadOnly != nil,
		Shareable:  model.Shareable != nil,
		Transient:  model.Transient != nil,
		Mirror:     model.Mirror != nil,
		Encrypted:  model.Encryption != nil,
		Serial:     model.Serial,
		Format:     "raw",
		Element:    path,
	}
	if model.Target != nil {
		d.Target, d.Bus = model.Target.Dev, model.Target.Bus
	}
	if d.Target == "" {
		return Disk{}, &InvalidError{Path: path, Reason: "the disk has no <target dev=…>, so nothing tells it from others"}
	}
	d.FormatAssumed = model.Driver == nil || model.Driver.Type == ""
	if model.Driver != nil {
		d.Discard = model.Driver.Discard
		if model.Driver.Type != "" {
			d.Format = model.Driver.Type
		}
	}
	if s := model.Source; s != nil {
		d.Encrypted = d.Encrypted || s.Encryption != nil
		switch {
		case s.File != nil:
			d.Path = s.File.File
		case s.Block != nil:
			d.Path = s.Block.Dev
		case s.Volume != nil:
			d.Pool, d.Volume, d.Mode = s.Volume.Pool, s.Volume.Volume, s.Volume.Mode
		}
	}
	d.readBacking(kid(e, "backingStore"))
	d.Kind, d.Reason = d.judge(e, model)
	return d, nil
}

// judge says what can be done with a disk. The order matters: a cdrom stays
// whatever its source is.
func (d *Disk) judge(e *etree.Element, model libvirtxml.DomainDisk) (Kind, string) {
	switch {
	case d.Device == "cdrom" || d.Device == "floppy":
		return Keep, fmt.Sprintf("it is a %s drive and stays shared as it is", d.Device)
	case d.ReadOnly:
		return Keep, "it is read-only and stays shared as it is"
	case d.Device == "lun":
		return Refuse, "it hands a whole SCSI device to the guest, which then sends it commands of its own"
	case d.Device != "disk":
		return Refuse, fmt.Sprintf("its device type %q is not known", d.Device)
	}
	if kid(e, "source") == nil {
		return Keep, "it has no source, so there is nothing to move"
	}
	if reason, bad := unmovable[d.SourceType]; bad {
		return Refuse, reason
	}
	if kind, reason := d.judgeSource(); kind != Move {
		return kind, reason
	}
	switch {
	case d.Shareable:
		return Refuse, "it is shareable, so another guest may write to it at the same time"
	case d.Transient:
		return Refuse, "it is transient: what the guest writes to it is thrown away at every stop"
	case d.Mirror:
		return Refuse, "a block job is mirroring it to another image; finish or abort that first (virsh blockjob)"
	case d.Encrypted:
		return Refuse, "it is already encrypted by QEMU"
	case model.Source.Slices != nil:
		return Refuse, "the guest sees only a slice of its file, not the whole"
	case !slices.Contains(movable, d.Format):
		return Refuse, fmt.Sprintf("its format is %s, and only %s can be moved; make one of them of it with qemu-img convert", d.Format, strings.Join(movable, ", "))
	case d.Format != "raw":
		return Move, fmt.Sprintf("what the guest sees of its %s image moves to an encrypted volume", d.Format)
	case d.FormatAssumed:
		return Move, "no format is named, which libvirt takes for raw; its content moves to an encrypted volume"
	}
	return Move, "its content moves to an encrypted volume"
}

// movable are the formats that can be read, raw first.
var movable = []string{"raw", "qcow2", "vmdk", "vdi"}

// readBacking follows <backingStore>, which holds that of the image behind it
// (docs/formatdomain.rst, backingStore). An empty one ends the chain.
func (d *Disk) readBacking(e *etree.Element) {
	for ; e != nil; e = kid(e, "backingStore") {
		d.BackingGiven = true
		source, format := kid(e, "source"), kid(e, "format")
		if source == nil {
			return
		}
		path := cmp.Or(attrValue(source, "file"), attrValue(source, "dev"))
		name := "raw"
		if format != nil {
			name = attrValue(format, "type")
		}
		// What has no path on this host is kept as a name that no file has,
		// and so never agrees with an image's header.
		d.Backing = append(d.Backing, cmp.Or(path, "a source of type "+attrValue(e, "type")))
		d.BackingFormats = append(d.BackingFormats, name)
	}
}

// unmovable are the types of source that have no bytes on this host, or none
// that could be read while the guest is off.
var unmovable = map[string]string{
	"network":   "its data is on another machine, reached over the network",
	"vhostuser": "another program serves its data over vhost-user",
	"vhostvdpa": "a vDPA device serves its data",
	"nvme":      "it is an NVMe drive that QEMU drives itself, past the host's kernel",
	"dir":       "it shows a folder of the host as a disk and has no image",
}

func (d *Disk) judgeSource() (Kind, string) {
	switch d.SourceType {
	case "file", "block":
		if d.Path == "" {
			return Keep, "it has no source, so there is nothing to move"
		}
	case "volume":
		if d.Pool == "" || d.Volume == "" {
			return Refuse, "it is a pool's volume, but pool and volume are not both named"
		}
		if d.Mode == "direct" {
			return Refuse, "QEMU itself reaches it over iSCSI (mode 'direct'), past the host's kernel"
		}
	default:
		return Refuse, fmt.Sprintf("its source type %q is not known", d.SourceType)
	}
	return Move, ""
}

// where names a movable disk's source for a message.
func (d *Disk) where() string {
	if d.SourceType == "volume" {
		return "volume " + strconv.Quote(d.Volume) + " of pool " + strconv.Quote(d.Pool)
	}
	return d.Path
}

// source names any disk's source for a message.
func (d *Disk) source() string {
	if d.Path != "" || d.Volume != "" {
		return d.where()
	}
	return "type " + d.SourceType
}
