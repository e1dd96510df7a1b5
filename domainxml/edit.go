package domainxml

import (
	"cmp"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Edit says what a clone's XML is to have in place of the original's. What
// the zero value leaves empty is kept; the zero Edit changes nothing.
//
// When Name or UUID differ from the original's, the result is another domain,
// and so whatever two domains must not share is changed too: see the package
// comment.
type Edit struct {
	// Same says that the result is the same guest under another name: Name,
	// UUID, MACs and Origin change and nothing else does, since the two
	// definitions are never defined side by side for long and never run so.
	Same bool
	// Name is the clone's name.
	Name string
	// UUID is the clone's UUID.
	UUID string
	// MACs are the interfaces' hardware addresses in the order of the
	// document; "" keeps one, nil keeps all.
	MACs []string
	// Disks are the disks that moved. All others stay as they are.
	Disks []DiskEdit
	// AllowDiscards lets the guest's discards reach the encrypted volume
	// (driver discard='unmap'). Without it a moved disk's discards are ignored.
	AllowDiscards bool
	// NVRAM is the path of the clone's own firmware variables.
	NVRAM string
	// TPMState is the path of the clone's own TPM state, for a domain whose
	// XML names the original's; see Firmware.
	TPMState string
	// Origin, when given, is put into <metadata> so that the clone tells where
	// it comes from.
	Origin *Origin
}

// DiskEdit says where a disk moved.
type DiskEdit struct {
	// Target is the disk's target, such as "vda".
	Target string
	// Device is the host's block device that holds its content now, or Image the
	// qcow2 image, which has none behind it: one of the two.
	Device string
	Image  string
	// GuestSize, in bytes, is what the guest is to see of the device, from its
	// start; 0 is the whole.
	GuestSize int64
}

// Rewritten is a clone's XML.
type Rewritten struct {
	// XML is the text: the original's, byte for byte, but for Changes.
	XML []byte
	// Changes are all differences, in the order of the document, each with its
	// reason.
	Changes []Change
	// Warnings are sentences about what was kept although it names the
	// original, or what the user should know before starting the clone.
	Warnings []Warning
}

// Rewrite makes a clone's XML from a domain's. It returns what Parse returns;
// an *EditError, *NoDiskError, *NotMovableError or *FirmwareError when the
// edit can't be carried out; and a *LostError or *UnintendedChangeError when
// the result, read again, differs from the original in any other way than the
// edit says.
func Rewrite(text []byte, edit Edit) (Rewritten, error) {
	before, err := Parse(text)
	if err != nil {
		return Rewritten{}, err
	}
	if err := edit.check(before); err != nil {
		return Rewritten{}, err
	}
	e, err := newEditor(before, edit)
	if err != nil {
		return Rewritten{}, err
	}
	for _, step := range []func() error{
		e.identity, e.interfaces, e.disks, e.firmware, e.graphics, e.hostPaths, e.origin,
	} {
		if err := step(); err != nil {
			return Rewritten{}, err
		}
	}
	return e.finish()
}

// check refuses values that libvirt would refuse or that would break the
// clone, before anything is edited.
func (edit *Edit) check(d *Domain) error {
	if err := edit.checkIdentity(); err != nil {
		return err
	}
	if edit.MACs != nil && len(edit.MACs) != len(d.interfaces) {
		return &EditError{Field: "MACs", Value: strings.Join(edit.MACs, " "), Reason: "the domain has " + strconv.Itoa(len(d.interfaces)) + " interfaces, not " + strconv.Itoa(len(edit.MACs))}
	}
	macs := make(map[string]bool)
	for i, mac := range edit.MACs {
		if mac == "" {
			continue
		}
		if reason := badMAC(mac); reason != "" {
			return &EditError{Field: "MACs[" + strconv.Itoa(i) + "]", Value: mac, Reason: reason}
		}
		if low := strings.ToLower(mac); macs[low] {
			return &EditError{Field: "MACs[" + strconv.Itoa(i) + "]", Value: mac, Reason: "another interface gets the same address"}
		} else {
			macs[low] = true
		}
	}
	if err := edit.checkDisks(d); err != nil {
		return err
	}
	for _, p := range []struct{ field, value string }{{"NVRAM", edit.NVRAM}, {"TPMState", edit.TPMState}} {
		if p.value != "" {
			if reason := badPath(p.value); reason != "" {
				return &EditError{Field: p.field, Value: p.value, Reason: reason}
			}
		}
	}
	return edit.Origin.check()
}

// checkIdentity holds to what libvirt's virDomainDefPostParse and
// virDomainDefNameParse take as a name.
func (edit *Edit) checkIdentity() error {
	if n := edit.Name; n != "" {
		switch {
		case !representable(n):
			return &EditError{Field: "Name", Value: n, Reason: "it has characters that XML can't hold"}
		case strings.ContainsAny(n, "/\n"):
			return &EditError{Field: "Name", Value: n, Reason: "libvirt takes no slash and no line break in a name"}
		case strings.TrimSpace(n) == "":
			return &EditError{Field: "Name", Value: n, Reason: "it is blank"}
		case n == "." || n == "..":
			return &EditError{Field: "Name", Value: n, Reason: "it names a folder"}
		}
	}
	if edit.UUID != "" {
		if _, err := uuid.Parse(edit.UUID); err != nil || len(edit.UUID) != len("00000000-0000-0000-0000-000000000000") {
			return &EditError{Field: "UUID", Value: edit.UUID, Reason: "it is no UUID"}
		}
	}
	return nil
}

func (edit *Edit) checkDisks(d *Domain) error {
	targets, devices := make(map[string]bool), make(map[string]string)
	for _, de := range edit.Disks {
		field := "Disks[" + de.Target + "]"
		disk, err := d.Disk(de.Target)
		switch {
		case err != nil:
			return err
		case disk.Kind != Move:
			return &NotMovableError{Target: disk.Target, Path: disk.Element, Kind: disk.Kind, Reason: disk.Reason}
		case targets[de.Target]:
			return &EditError{Field: field, Value: de.Target, Reason: "the disk is moved twice"}
		case de.Device != "" && de.Image != "":
			return &EditError{Field: field + ".Image", Value: de.Image, Reason: "the disk moves to the device " + de.Device + " already"}
		case de.Image != "" && disk.Format != "qcow2":
			return &EditError{Field: field + ".Image", Value: de.Image, Reason: "the disk is " + disk.Format + ", and stays in its format"}
		case devices[de.where()] != "":
			return &EditError{Field: field + de.field(), Value: de.where(), Reason: "disk " + devices[de.where()] + " moves to the same " + de.what()}
		case de.GuestSize < 0 || de.GuestSize%512 != 0:
			return &EditError{Field: field + ".GuestSize", Value: strconv.FormatInt(de.GuestSize, 10), Reason: "a disk's size is a whole number of 512-byte sectors"}
		}
		if reason := badPath(de.where()); reason != "" {
			return &EditError{Field: field + de.field(), Value: de.where(), Reason: reason}
		}
		targets[de.Target], devices[de.where()] = true, de.Target
	}
	return nil
}

// where is the device or image that holds the disk now.
func (de DiskEdit) where() string { return cmp.Or(de.Image, de.Device) }

func (de DiskEdit) field() string {
	if de.Image != "" {
		return ".Image"
	}
	return ".Device"
}

func (de DiskEdit) what() string {
	if de.Image != "" {
		return "image"
	}
	return "device"
}

func badPath(p string) string {
	switch {
	case !path.IsAbs(p):
		return "it is no absolute path"
	case !representable(p):
		return "it has characters that XML can't hold"
	}
	return ""
}

func badMAC(mac string) string {
	hw, err := net.ParseMAC(mac)
	switch {
	case err != nil || len(hw) != 6 || strings.Contains(mac, "."):
		return "it is no hardware address such as 52:54:00:12:34:56"
	case hw[0]&1 == 1:
		return "it is a multicast address"
	}
	return ""
}

// WarningKind says what a Warning is about, as far as callers tell them apart.
type WarningKind int

// The kinds of warnings.
const (
	// AnyWarning is about none of the following.
	AnyWarning WarningKind = iota
	// KeptMAC: original and clone have a hardware address in common.
	KeptMAC
	// UnmovedDisk: both have a disk in common that both write to.
	UnmovedDisk
)

// Warning is a sentence about what was kept.
type Warning struct {
	Kind WarningKind
	// Disk is the target of an UnmovedDisk, and "" otherwise.
	Disk string
	Text string
}
