package domainxml

import (
	"strconv"
	"strings"

	"github.com/beevik/etree"
)

// Namespace is that of our own element in a clone's <metadata>. libvirt keeps
// one element a namespace there and hands it out with
// virDomainGetMetadata(VIR_DOMAIN_METADATA_ELEMENT).
const Namespace = "https://vmmigrate.github.io/xmlns/clone/1"

// Prefix is what the names of our elements begin with where we write them.
const Prefix = "vmmigrate"

// Origin is what a clone's XML tells of where it comes from, so that it
// explains itself when no state file is left.
type Origin struct {
	// Job is the job that made the clone.
	Job string `json:"job"`
	// Name and UUID are the original domain's. UUID is "" where there never was
	// one: see Adopted.
	Name string `json:"name"`
	UUID string `json:"uuid"`
	// Disks are the disks that moved.
	Disks []OriginDisk `json:"disks,omitempty"`
	// Started is when vmmigrate first started the clone, RFC 3339, or "".
	Started string `json:"started,omitempty"`
	// Cutover is there while the clone has its original's place. UUID is that
	// of the original as it is then; Name stays the one it had when it moved.
	Cutover *Cutover `json:"cutover,omitempty"`
	// Retired is there once the original was wiped.
	Retired *Retired `json:"retired,omitempty"`
}

// Adopted says that the clone was made of disk images that no domain had. Name
// is its own then, as it was called when it was made.
func (o *Origin) Adopted() bool { return o.UUID == "" }

// Cutover is what a clone had before it took its original's place, and what
// the original had, as far as the two definitions do not tell.
type Cutover struct {
	// Name, UUID and MACs, in the order of the interfaces, were the clone's.
	Name string   `json:"name"`
	UUID string   `json:"uuid"`
	MACs []string `json:"macs,omitempty"`
	// Autostart was the original's flag.
	Autostart bool `json:"autostart"`
	// Time is when, RFC 3339.
	Time string `json:"time"`
}

// Retired says that the original is gone, or going.
type Retired struct {
	// Time is when it was gone, RFC 3339, and "" as long as it is being wiped.
	// Method is how its disks are.
	Time   string `json:"time"`
	Method string `json:"method"`
	// Kept says that the wiped disks were kept.
	Kept bool `json:"kept,omitempty"`
}

// OriginDisk says what lies under one of a clone's disks.
type OriginDisk struct {
	// Target is the disk's target, such as "vda".
	Target string `json:"target"`
	// Source is the original's file or device.
	Source string `json:"source,omitempty"`
	// SourceSize is its size in bytes, and SourceID what tells it from another
	// of the same path: "lv UUID", "file INODE" or "". Clones of before these
	// were recorded have neither.
	SourceSize int64  `json:"source_size,omitempty"`
	SourceID   string `json:"source_id,omitempty"`
	// VG and LV name the encrypted volume, or Path where that is no logical
	// volume.
	VG   string `json:"vg,omitempty"`
	LV   string `json:"lv,omitempty"`
	Path string `json:"path,omitempty"`
	// HeaderFile is the file that the volume's LUKS header is in, or "" where it
	// is on the volume.
	HeaderFile string `json:"header_file,omitempty"`
	// LUKS is the UUID in the volume's LUKS header.
	LUKS string `json:"luks"`
	// Mapper is the name of its mapping, without /dev/mapper/.
	Mapper string `json:"mapper"`
	// Filesystem is there where the disk is an image on a file system in the
	// volume, and not the volume itself.
	Filesystem *OriginFilesystem `json:"filesystem,omitempty"`
}

// OriginFilesystem is the file system between a volume and a disk's image.
type OriginFilesystem struct {
	// Type is "ext4" or "xfs", and UUID the one it bears.
	Type string `json:"type"`
	UUID string `json:"uuid"`
	// Mount is the folder that it is mounted on, and Image the image's path.
	Mount string `json:"mount"`
	Image string `json:"image"`
	// Discards says that what is freed on it is passed on to the volume.
	Discards bool `json:"discards,omitempty"`
}

// Volume names the encrypted volume: VG/LV, or its path.
func (d OriginDisk) Volume() string {
	if d.VG != "" {
		return d.VG + "/" + d.LV
	}
	return d.Path
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
				VG: attrValue(kid.source, "vg"), LV: attrValue(kid.source, "lv"), Path: attrValue(kid.source, "path"),
				LUKS: attrValue(kid.source, "luks"), Mapper: attrValue(kid.source, "mapper"),
				HeaderFile: attrValue(kid.source, "header"),
				SourceSize: number(attrValue(kid.source, "size")), SourceID: attrValue(kid.source, "id"),
				Filesystem: originFilesystem(kid.source),
			})
		case "{" + Namespace + "}started":
			origin.Started = attrValue(kid.source, "time")
		case "{" + Namespace + "}cutover":
			origin.Cutover = &Cutover{
				Name: attrValue(kid.source, "name"), UUID: attrValue(kid.source, "uuid"),
				Autostart: attrValue(kid.source, "autostart") == "yes", Time: attrValue(kid.source, "time"),
				MACs: strings.Fields(attrValue(kid.source, "macs")),
			}
		case "{" + Namespace + "}retired":
			origin.Retired = &Retired{Time: attrValue(kid.source, "time"), Method: attrValue(kid.source, "method"), Kept: attrValue(kid.source, "kept") == "yes"}
		}
	}
	return origin, true
}

// originFilesystem is nil where there is none.
func originFilesystem(e *etree.Element) *OriginFilesystem {
	if attrValue(e, "mount") == "" {
		return nil
	}
	return &OriginFilesystem{
		Type: attrValue(e, "fs"), UUID: attrValue(e, "fs-uuid"), Mount: attrValue(e, "mount"), Image: attrValue(e, "image"),
		Discards: attrValue(e, "discards") == "yes",
	}
}

// number is a size that was written as one, or 0.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Metadata is the Origin as virDomainSetMetadata takes it: libvirt itself puts
// Namespace in, with Prefix.
func (o *Origin) Metadata() ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	document := etree.NewDocument()
	top := o.element("")
	top.Space = ""
	top.RemoveAttr("xmlns:" + Prefix)
	for _, child := range top.ChildElements() {
		child.Space = ""
	}
	document.SetRoot(top)
	return document.WriteToBytes()
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
	all := append([]OriginDisk{{Target: o.Job, Source: o.Name, VG: o.UUID, LV: o.Started}}, o.Disks...)
	if c := o.Cutover; c != nil {
		all = append(all, OriginDisk{Target: c.Name, Source: c.UUID, VG: strings.Join(c.MACs, " "), LV: c.Time})
	}
	if r := o.Retired; r != nil {
		all = append(all, OriginDisk{Target: r.Time, Source: r.Method})
	}
	for _, d := range all {
		words := []string{d.Target, d.Source, d.VG, d.LV, d.Path, d.HeaderFile, d.LUKS, d.Mapper, d.SourceID}
		if f := d.Filesystem; f != nil {
			words = append(words, f.Type, f.UUID, f.Mount, f.Image)
		}
		for _, s := range words {
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
	if e.edit.Same {
		return e.sameOrigin()
	}
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

// sameOrigin changes our element in its place: which domain the original is by
// now, and what the clone was called before a cutover.
func (e *editor) sameOrigin() error {
	older := e.before.ours()
	if len(older) != 1 {
		return &EditError{Field: "Origin", Value: e.edit.Origin.Job, Reason: "the domain is no clone of ours, or has been it twice"}
	}
	var top *etree.Element
	for _, m := range kids(e.root(), "metadata") {
		for _, kid := range m.ChildElements() {
			if e.twins[kid] == older[0] {
				top = kid
			}
		}
	}
	for _, kid := range top.ChildElements() {
		switch e.before.paths[e.twins[kid]].key {
		case "{" + Namespace + "}origin":
			e.set(kid, "uuid", e.edit.Origin.UUID, "the original has another UUID")
		case "{" + Namespace + "}cutover":
			e.remove(kid, "the clone no longer has its original's place")
		}
	}
	if c := e.edit.Origin.cutover(top.FullTag()); c != nil {
		e.addLast(top, c, "the clone has its original's place")
	}
	return nil
}

// cutover is the Cutover as an element whose name has the prefix of its parent's.
func (o *Origin) cutover(parent string) *etree.Element {
	c := o.Cutover
	if c == nil {
		return nil
	}
	tag := "cutover"
	if prefix, _, found := strings.Cut(parent, ":"); found {
		tag = prefix + ":" + tag
	}
	e := etree.NewElement(tag)
	pairs := []string{"name", c.Name, "uuid", c.UUID}
	if len(c.MACs) > 0 {
		pairs = append(pairs, "macs", strings.Join(c.MACs, " "))
	}
	pairs = append(pairs, "autostart", yesNo(c.Autostart), "time", c.Time)
	for i := 0; i < len(pairs); i += 2 {
		e.CreateAttr(pairs[i], pairs[i+1])
	}
	return e
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// element is the Origin as XML, its lines beginning with lead.
func (o *Origin) element(lead string) *etree.Element {
	top := etree.NewElement(Prefix + ":clone")
	top.CreateAttr("xmlns:"+Prefix, Namespace)
	top.CreateAttr("job", o.Job)
	child := func(tag string, pairs ...string) {
		if lead != "" {
			top.AddChild(etree.NewText(lead + unit))
		}
		e := top.CreateElement(Prefix + ":" + tag)
		for i := 0; i < len(pairs); i += 2 {
			e.CreateAttr(pairs[i], pairs[i+1])
		}
	}
	child("origin", "name", o.Name, "uuid", strings.TrimSpace(o.UUID))
	for _, d := range o.Disks {
		pairs := []string{"target", d.Target, "source", d.Source}
		if d.Path != "" {
			pairs = append(pairs, "path", d.Path)
		} else {
			pairs = append(pairs, "vg", d.VG, "lv", d.LV)
		}
		if d.HeaderFile != "" {
			pairs = append(pairs, "header", d.HeaderFile)
		}
		pairs = append(pairs, "luks", d.LUKS, "mapper", d.Mapper)
		if d.SourceSize > 0 {
			pairs = append(pairs, "size", strconv.FormatInt(d.SourceSize, 10))
		}
		if d.SourceID != "" {
			pairs = append(pairs, "id", d.SourceID)
		}
		if f := d.Filesystem; f != nil {
			pairs = append(pairs, "fs", f.Type, "fs-uuid", f.UUID, "mount", f.Mount, "image", f.Image, "discards", yesNo(f.Discards))
		}
		child("disk", pairs...)
	}
	if o.Started != "" {
		child("started", "time", o.Started)
	}
	if c := o.cutover(top.FullTag()); c != nil {
		if lead != "" {
			top.AddChild(etree.NewText(lead + unit))
		}
		top.AddChild(c)
	}
	if r := o.Retired; r != nil {
		child("retired", "time", r.Time, "method", r.Method, "kept", yesNo(r.Kept))
	}
	if lead != "" {
		top.AddChild(etree.NewText(lead))
	}
	return top
}
