package domainxml

import (
	"errors"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"github.com/beevik/etree"
	"libvirt.org/go/libvirtxml"
)

// hypervisors are the types of domain that libvirt's QEMU driver runs.
var hypervisors = []string{"qemu", "kvm", "hvf"}

// Domain is a domain's XML, read.
type Domain struct {
	// Name is the domain's name.
	Name string
	// UUID is its UUID as the XML writes it, or "" when it has none.
	UUID string
	// Type is "kvm", "qemu" or "hvf".
	Type string

	document   *document
	model      libvirtxml.Domain
	paths      map[*etree.Element]*node
	top        *node
	disks      []Disk
	interfaces []Interface
}

// Interface is one network <interface> of a domain.
type Interface struct {
	// MAC is the guest's hardware address as the XML writes it, or "" when
	// libvirt is to choose one.
	MAC string `json:"mac,omitempty"`
	// Type is "network", "bridge", "direct", "user" and so on.
	Type string `json:"type"`
	// Target is the host-side device, such as "vnet3", or "".
	Target string `json:"target,omitempty"`
	// Element is the interface's path in the XML.
	Element string `json:"element"`
}

// Parse reads a domain's XML. It returns a *SyntaxError or *TooLargeError
// when libvirt would not read it either, a *NotDomainError, a
// *HypervisorError, or an *InvalidError when the domain has no name, a disk
// no target, or two disks the same one.
func Parse(text []byte) (*Domain, error) {
	document, err := load(text)
	if err != nil {
		return nil, err
	}
	root := document.root()
	d := &Domain{Type: attrValue(root, "type"), document: document, top: document.nodes(), paths: make(map[*etree.Element]*node)}
	d.top.index(d.paths)
	// A default namespace makes it another vocabulary's <domain>.
	if d.paths[root].key != "domain" {
		return nil, &NotDomainError{Root: d.paths[root].key}
	}
	if !slices.Contains(hypervisors, d.Type) {
		return nil, &HypervisorError{Type: d.Type}
	}
	if err := d.model.Unmarshal(string(text)); err != nil {
		return nil, d.misread(err)
	}
	if d.Name, err = d.text("name"); err != nil {
		return nil, err
	}
	if d.UUID, err = d.text("uuid"); err != nil {
		return nil, err
	}
	if strings.TrimSpace(d.Name) == "" {
		return nil, &InvalidError{Path: "/domain/name", Reason: "the domain has no name"}
	}
	if err := d.readDisks(); err != nil {
		return nil, err
	}
	d.readInterfaces()
	return d, nil
}

// misread finds the element that libvirtxml could not take, by reading one at
// a time: its own error names none.
func (d *Domain) misread(err error) error {
	alone := func(e *etree.Element, before, after string) error {
		o := d.document.origins[e]
		text := string(d.document.text[o.start.from:max(o.start.to, o.end.to)])
		var again libvirtxml.Domain
		if err := again.Unmarshal("<domain>" + before + text + after + "</domain>"); err != nil {
			reason := err.Error()
			var number *strconv.NumError
			if errors.As(err, &number) {
				reason = strconv.Quote(number.Num) + " is not a number that fits here"
			}
			return &InvalidError{Path: d.path(e), Reason: "it can't be read: " + reason}
		}
		return nil
	}
	for _, e := range d.document.root().ChildElements() {
		if e.Tag != "devices" {
			if bad := alone(e, "", ""); bad != nil {
				return bad
			}
			continue
		}
		for _, device := range e.ChildElements() {
			if bad := alone(device, "<devices>", "</devices>"); bad != nil {
				return bad
			}
		}
	}
	return &SyntaxError{Reason: "holds a value that is not of its kind", Err: err}
}

// Disks lists the disks in the order of the document.
func (d *Domain) Disks() []Disk { return slices.Clone(d.disks) }

// Disk finds a disk by its target. It returns a *NoDiskError when there is
// none.
func (d *Domain) Disk(target string) (Disk, error) {
	var have []string
	for _, disk := range d.disks {
		if disk.Target == target {
			return disk, nil
		}
		have = append(have, disk.Target)
	}
	return Disk{}, &NoDiskError{Target: target, Have: have}
}

// Interfaces lists the network interfaces in the order of the document, which
// is the order of Edit.MACs.
func (d *Domain) Interfaces() []Interface { return slices.Clone(d.interfaces) }

// NotModelled lists the elements and attributes that libvirtxml does not know
// and that no decision here took into account. They are kept as they are.
func (d *Domain) NotModelled() ([]string, error) {
	known, err := d.model.Marshal()
	if err != nil {
		return nil, &SyntaxError{Reason: "can't be written again", Err: err}
	}
	document, err := load([]byte(known))
	if err != nil {
		return nil, err
	}
	c := &comparer{seed: maphash.MakeSeed()}
	c.kids(d.top, document.nodes())
	var paths []string
	for _, lost := range append(c.Lost, c.Normalised...) {
		if lost.Op == Removed && !strings.HasPrefix(lost.Path, "/domain/metadata/") {
			paths = append(paths, lost.Path)
		}
	}
	return paths, nil
}

// text is the text of one of the root's children, "" when there is none. Two
// of them would leave it open which one libvirt takes.
func (d *Domain) text(tag string) (string, error) {
	found := kids(d.document.root(), tag)
	if len(found) > 1 {
		return "", &InvalidError{Path: d.path(found[1]), Reason: "the domain has a second <" + tag + ">"}
	}
	if len(found) == 0 {
		return "", nil
	}
	return found[0].Text(), nil
}

func (d *Domain) path(e *etree.Element) string { return d.paths[e].path() }

func (n *node) index(paths map[*etree.Element]*node) {
	for _, kid := range n.kids {
		if kid.source != nil {
			paths[kid.source] = kid
			kid.index(paths)
		}
	}
}

// devices are the elements of one name below <devices>.
func (d *document) devices(tag string) []*etree.Element {
	var found []*etree.Element
	for _, devices := range kids(d.root(), "devices") {
		found = append(found, kids(devices, tag)...)
	}
	return found
}

func (d *Domain) readDisks() error {
	var models []libvirtxml.DomainDisk
	if d.model.Devices != nil {
		models = d.model.Devices.Disks
	}
	elements := d.document.devices("disk")
	if len(models) != len(elements) {
		return &InvalidError{Path: "/domain/devices", Reason: "its disks are read in two ways by two readers"}
	}
	seen := make(map[string]string)
	for i, e := range elements {
		disk, err := readDisk(e, d.path(e), models[i])
		if err != nil {
			return err
		}
		if other, twice := seen[disk.Target]; twice {
			return &InvalidError{Path: disk.Element, Reason: "the disk has the same target as " + other + ", " + disk.Target}
		}
		seen[disk.Target] = disk.Element
		d.disks = append(d.disks, disk)
	}
	return nil
}

func (d *Domain) readInterfaces() {
	for _, e := range d.document.devices("interface") {
		i := Interface{Type: attrValue(e, "type"), Element: d.path(e)}
		if mac := kid(e, "mac"); mac != nil {
			i.MAC = attrValue(mac, "address")
		}
		if target := kid(e, "target"); target != nil {
			i.Target = attrValue(target, "dev")
		}
		d.interfaces = append(d.interfaces, i)
	}
}
