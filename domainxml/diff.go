package domainxml

// Op is what happened to an element, attribute or text.
type Op string

// The three things that can happen.
const (
	Added   Op = "added"
	Removed Op = "removed"
	Changed Op = "changed"
)

// Change is one difference between two domains.
type Change struct {
	// Op says whether it came, went or changed.
	Op Op `json:"op"`
	// Path is an XPath such as /domain/devices/disk[2]/source/@dev or
	// /domain/name/text(): in the new document for what was added, else in
	// the old. Elements that have namesakes beside them are numbered from 1.
	Path string `json:"path"`
	// Old and New are the value of the attribute or text, or the element's
	// text with all that is in it; "" where there is none. A console's password
	// is blotted out.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
	// Why says in a sentence why it changed. Diff leaves it empty.
	Why string `json:"why,omitempty"`
}

// Diff compares two documents as trees, by names with their namespaces
// resolved, and lists the differences in the order of the documents. Blanks
// between elements, the order of attributes, the kind of quotes and CDATA make
// no difference; comments, instructions and namespace declarations do. It
// returns a *SyntaxError or *TooLargeError when one can't be read.
func Diff(a, b []byte) ([]Change, error) {
	before, err := load(a)
	if err != nil {
		return nil, err
	}
	after, err := load(b)
	if err != nil {
		return nil, err
	}
	return diff(before, after), nil
}

func diff(before, after *document) []Change {
	d := &differ{}
	d.nodes(before.nodes(), after.nodes())
	return d.changes
}

type differ struct{ changes []Change }

func (d *differ) add(op Op, path, before, after string) {
	d.changes = append(d.changes, Change{Op: op, Path: path, Old: before, New: after})
}

// nodes compares two nodes of the same key.
func (d *differ) nodes(a, b *node) {
	d.attrs(a, b)
	if a.source == nil && a.text != b.text {
		d.add(Changed, a.path(), a.shownText(), b.shownText())
	}
	bare := a.hasElements() || b.hasElements()
	d.kids(a.significant(bare), b.significant(bare))
}

func (d *differ) attrs(a, b *node) {
	after := make(map[string]string, len(b.attrs))
	for _, x := range b.attrs {
		after[x.key] = x.value
	}
	before := make(map[string]bool, len(a.attrs))
	for _, x := range a.attrs {
		before[x.key] = true
		value, kept := after[x.key]
		switch {
		case !kept:
			d.add(Removed, a.path(x.label), shown(x.key, x.value), "")
		case value != x.value:
			d.add(Changed, a.path(x.label), shown(x.key, x.value), shown(x.key, value))
		}
	}
	for _, x := range b.attrs {
		if !before[x.key] {
			d.add(Added, b.path(x.label), "", shown(x.key, x.value))
		}
	}
}

// kids compares two lists of children in one walk: a child whose key does not
// come again in the other list came or went; otherwise namesakes pair up in
// order. It is linear, so that no document makes it slow.
func (d *differ) kids(a, b []*node) {
	left, right := counts(a), counts(b)
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i].key == b[j].key:
			left[a[i].key]--
			right[b[j].key]--
			d.nodes(a[i], b[j])
			i, j = i+1, j+1
		case j < len(b) && (i == len(a) || right[a[i].key] > 0 && left[b[j].key] == 0):
			right[b[j].key]--
			d.add(Added, b[j].path(), "", b[j].String())
			j++
		default:
			left[a[i].key]--
			d.add(Removed, a[i].path(), a[i].String(), "")
			i++
		}
	}
}

func counts(nodes []*node) map[string]int {
	n := make(map[string]int)
	for _, x := range nodes {
		n[x.key]++
	}
	return n
}
