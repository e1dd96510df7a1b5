package domainxml

import (
	"strings"

	"github.com/beevik/etree"
)

// Namespace is that of our own element in a clone's <metadata>. libvirt keeps
// one element a namespace there and hands it out with
// virDomainGetMetadata(VIR_DOMAIN_METADATA_ELEMENT).
const Namespace = "https://vmmigrate.github.io/xmlns/clone/1"

const prefix = "vmmigrate"

// Origin is what a clone's XML tells of where it comes from, so that it
// explains itself when no state file is left.
type Origin struct {
	// Job is the job that made the clone.
	Job string `json:"job"`
	// Name and UUID are the original domain's.
	Name string `json:"name"`
	UUID string `json:"uuid"`
	// Disks are the disks that moved.
	Disks []OriginDisk `json:"disks,omitempty"`
}

// OriginDisk says what lies under one of a clone's disks.
type OriginDisk struct {
	// Target is the disk's target, such as "vda".
	Target string `json:"target"`
	// Source is the original's file or device.
	Source string `json:"source,omitempty"`
	// VG and LV name the encrypted volume.
	VG string `json:"vg"`
	LV string `json:"lv"`
	// LUKS is the UUID in the volume's LUKS header.
	LUKS string `json:"luks"`
	// Mapper is the name of its mapping, without /dev/mapper/.
	Mapper string `json:"mapper"`
}

// Origin reads back what Rewrite put into <metadata>; ok is false when the
// domain is no clone of ours.
func (d *Domain) Origin() (origin Origin, ok bool) {
	found := d.ours()
	if len(found) == 0 {
		return Origin{}, false
	}
	top := found[0]
	origin.Job = attrValue(top, "job")
	for _, kid := range d.paths[top].kids {
		switch kid.key {
		case "{" + Namespace + "}origin":
			origin.Name, origin.UUID = attrValue(kid.source, "name"), attrValue(kid.source, "uuid")
		case "{" + Namespace + "}disk":
			origin.Disks = append(origin.Disks, OriginDisk{
				Target: attrValue(kid.source, "target"), Source: attrValue(kid.source, "source"),
				VG: attrValue(kid.source, "vg"), LV: attrValue(kid.source, "lv"),
				LUKS: attrValue(kid.source, "luks"), Mapper: attrValue(kid.source, "mapper"),
			})
		}
	}
	return origin, true
}

// ReadOrigin is Parse and Domain.Origin in one.
func ReadOrigin(text []byte) (origin Origin, ok bool, err error) {
	d, err := Parse(text)
	if err != nil {
		return Origin{}, false, err
	}
	origin, ok = d.Origin()
	return origin, ok, nil
}

// ours are our elements in <metadata>, whatever prefix they bear by now.
func (d *Domain) ours() []*etree.Element {
	var found []*etree.Element
	for _, metadata := range kids(d.document.root(), "metadata") {
		for _, kid := range d.paths[metadata].kids {
			if kid.key == "{"+Namespace+"}clone" {
				found = append(found, kid.source)
			}
		}
	}
	return found
}

func (o *Origin) check() error {
	if o == nil {
		return nil
	}
	for _, d := range append([]OriginDisk{{Target: o.Job, Source: o.Name, VG: o.UUID}}, o.Disks...) {
		for _, s := range []string{d.Target, d.Source, d.VG, d.LV, d.LUKS, d.Mapper} {
			if !representable(s) {
				return &EditError{Field: "Origin", Value: s, Reason: "it has characters that XML can't hold"}
			}
		}
	}
	return nil
}

// origin puts our element into <metadata>, in the place of an older one: the
// clone of a clone has one origin.
func (e *editor) origin() error {
	if e.edit.Origin == nil {
		return nil
	}
	const why = "the clone tells where it comes from"
	older := make(map[*etree.Element]bool)
	for _, element := range e.before.ours() {
		older[element] = true
	}
	root := e.root()
	metadata := kid(root, "metadata")
	for _, m := range kids(root, "metadata") {
		for _, kid := range m.ChildElements() {
			if older[e.twins[kid]] {
				e.remove(kid, "the origin of a clone's clone is the clone")
			}
		}
	}
	if metadata != nil {
		lead := indent(metadata)
		if lead != "" {
			lead += unit
		}
		e.addLast(metadata, e.edit.Origin.element(lead), why)
		return nil
	}
	metadata = etree.NewElement("metadata")
	// The order libvirt writes them in.
	last := kid(root, "name")
	for _, tag := range []string{"uuid", "genid", "title", "description"} {
		if found := kid(root, tag); found != nil && found.Index() > last.Index() {
			last = found
		}
	}
	lead := indent(last)
	inner := lead
	if lead != "" {
		inner += unit
		metadata.AddChild(etree.NewText(inner))
	}
	metadata.AddChild(e.edit.Origin.element(inner))
	if lead != "" {
		metadata.AddChild(etree.NewText(lead))
	}
	e.addAfter(last, metadata, why)
	return nil
}

// element is the Origin as XML, its lines beginning with lead.
func (o *Origin) element(lead string) *etree.Element {
	top := etree.NewElement(prefix + ":clone")
	top.CreateAttr("xmlns:"+prefix, Namespace)
	top.CreateAttr("job", o.Job)
	child := func(tag string, pairs ...string) {
		if lead != "" {
			top.AddChild(etree.NewText(lead + unit))
		}
		e := top.CreateElement(prefix + ":" + tag)
		for i := 0; i < len(pairs); i += 2 {
			e.CreateAttr(pairs[i], pairs[i+1])
		}
	}
	child("origin", "name", o.Name, "uuid", strings.TrimSpace(o.UUID))
	for _, d := range o.Disks {
		child("disk", "target", d.Target, "source", d.Source, "vg", d.VG, "lv", d.LV, "luks", d.LUKS, "mapper", d.Mapper)
	}
	if lead != "" {
		top.AddChild(etree.NewText(lead))
	}
	return top
}
