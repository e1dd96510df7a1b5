package domainxml

import (
	"fmt"
	"slices"
	"strings"

	"github.com/beevik/etree"
	"github.com/google/uuid"
)

// editor changes a second reading of the text and notes every change by its
// path in the first, so that what came out can be held against what was meant.
type editor struct {
	edit   Edit
	before *Domain
	*document
	// twins are the elements of the first reading, by those of the second.
	twins map[*etree.Element]*etree.Element
	// clone is set when the result is another domain than the original.
	clone    bool
	intents  []Change
	added    []addition
	warnings []Warning
}

// addition is an element that was put in; its path is known at the end.
type addition struct {
	element *etree.Element
	why     string
}

func newEditor(before *Domain, edit Edit) (*editor, error) {
	second, err := load(before.document.text)
	if err != nil {
		return nil, err
	}
	e := &editor{edit: edit, before: before, document: second, twins: make(map[*etree.Element]*etree.Element)}
	pair(&second.tree.Element, &before.document.tree.Element, e.twins)
	e.clone = !edit.Same && (edit.Name != "" && edit.Name != before.Name || edit.UUID != "" && !sameUUID(edit.UUID, before.UUID))
	return e, nil
}

// pair walks two readings of one text in step.
func pair(a, b *etree.Element, twins map[*etree.Element]*etree.Element) {
	twins[a] = b
	for i, token := range a.Child {
		if kid, ok := token.(*etree.Element); ok {
			pair(kid, b.Child[i].(*etree.Element), twins)
		}
	}
}

func sameUUID(a, b string) bool {
	x, errX := uuid.Parse(strings.TrimSpace(a))
	y, errY := uuid.Parse(strings.TrimSpace(b))
	return errX == nil && errY == nil && x == y
}

func (e *editor) path(element *etree.Element, attribute ...string) string {
	return e.before.paths[e.twins[element]].path(attribute...)
}

func (e *editor) note(op Op, path, before, after, why string) {
	e.intents = append(e.intents, Change{Op: op, Path: path, Old: before, New: after, Why: why})
}

func (e *editor) warn(format string, args ...any) {
	e.warnOf(AnyWarning, "", format, args...)
}

// warnOf says everything once.
func (e *editor) warnOf(kind WarningKind, disk, format string, args ...any) {
	warning := Warning{kind, disk, fmt.Sprintf(format, args...)}
	if !slices.Contains(e.warnings, warning) {
		e.warnings = append(e.warnings, warning)
	}
}

// set gives an attribute a value, in its place when it has one.
func (e *editor) set(element *etree.Element, key, value, why string) {
	at := attrIndex(element, key)
	if at < 0 {
		e.note(Added, e.path(element, key), "", value, why)
		element.Attr = append(element.Attr, etree.Attr{Key: key, Value: value})
		return
	}
	if old := element.Attr[at].Value; old != value {
		e.note(Changed, e.path(element, key), old, value, why)
		element.Attr[at].Value = value
	}
}

// drop takes an attribute away.
func (e *editor) drop(element *etree.Element, key, why string) {
	if at := attrIndex(element, key); at >= 0 {
		e.note(Removed, e.path(element, key), element.Attr[at].Value, "", why)
		element.Attr = slices.Delete(element.Attr, at, at+1)
	}
}

// setText replaces all of an element's text.
func (e *editor) setText(element *etree.Element, value, why string) {
	old := element.Text()
	path := e.path(element) + "/text()"
	switch {
	case old == value:
		return
	case old == "":
		e.note(Added, path, "", value, why)
	case value == "":
		e.note(Removed, path, old, "", why)
	default:
		e.note(Changed, path, old, value, why)
	}
	element.SetText(value)
}

// remove takes an element away, with the line break before it.
func (e *editor) remove(element *etree.Element, why string) {
	node := e.before.paths[e.twins[element]]
	e.note(Removed, node.path(), node.String(), "", why)
	parent, at := element.Parent(), element.Index()
	parent.RemoveChildAt(at)
	if at > 0 {
		if text, ok := parent.Child[at-1].(*etree.CharData); ok && blank(text.Data) && !text.IsCData() {
			parent.RemoveChildAt(at - 1)
		}
	}
}

// addFirst puts a new element before all other elements of parent.
func (e *editor) addFirst(parent, element *etree.Element, why string) {
	kids := parent.ChildElements()
	if len(kids) == 0 {
		e.addLast(parent, element, why)
		return
	}
	at := kids[0].Index()
	lead := indent(kids[0])
	parent.InsertChildAt(at, element)
	if lead != "" {
		parent.InsertChildAt(at+1, etree.NewText(lead))
	}
	e.added = append(e.added, addition{element, why})
}

// addAfter puts a new element behind one of its siblings.
func (e *editor) addAfter(sibling, element *etree.Element, why string) {
	parent, at := sibling.Parent(), sibling.Index()+1
	if lead := indent(sibling); lead != "" {
		parent.InsertChildAt(at, etree.NewText(lead))
		at++
	}
	parent.InsertChildAt(at, element)
	e.added = append(e.added, addition{element, why})
}

// addLast puts a new element behind all other elements of parent.
func (e *editor) addLast(parent, element *etree.Element, why string) {
	if kids := parent.ChildElements(); len(kids) > 0 {
		e.addAfter(kids[len(kids)-1], element, why)
		return
	}
	for len(parent.Child) > 0 {
		text, ok := parent.Child[len(parent.Child)-1].(*etree.CharData)
		if !ok || !blank(text.Data) {
			break
		}
		parent.RemoveChildAt(len(parent.Child) - 1)
	}
	lead := indent(parent)
	if lead != "" {
		parent.AddChild(etree.NewText(lead + unit))
	}
	parent.AddChild(element)
	if lead != "" {
		parent.AddChild(etree.NewText(lead))
	}
	e.added = append(e.added, addition{element, why})
}

// unit is one level of libvirt's indentation.
const unit = "  "

// indent is the line break and blanks before an element, "" when it stands on
// no line of its own.
func indent(element *etree.Element) string {
	if parent, at := element.Parent(), element.Index(); parent != nil && at > 0 {
		if text, ok := parent.Child[at-1].(*etree.CharData); ok && blank(text.Data) {
			if line := strings.LastIndexByte(text.Data, '\n'); line >= 0 {
				return text.Data[line:]
			}
		}
	}
	return ""
}

// finish writes the text, reads it again and holds every difference against
// what was meant.
func (e *editor) finish() (Rewritten, error) {
	text := e.write()
	after, err := load(text)
	if err != nil {
		return Rewritten{}, err
	}
	top := e.nodes()
	paths := make(map[*etree.Element]*node)
	top.index(paths)
	for _, a := range e.added {
		e.note(Added, paths[a.element].path(), "", paths[a.element].String(), a.why)
	}
	e.leftovers()

	type where struct {
		op   Op
		path string
	}
	meant := make(map[where]Change, len(e.intents))
	for _, c := range e.intents {
		meant[where{c.Op, c.Path}] = c
	}
	d := &differ{}
	d.nodes(e.before.top, after.nodes())
	for i, c := range d.changes {
		intent, ok := meant[where{c.Op, c.Path}]
		if !ok || intent.Old != c.Old || intent.New != c.New {
			if c.Op == Removed {
				return Rewritten{}, &LostError{Path: c.Path, Old: c.Old}
			}
			return Rewritten{}, &UnintendedChangeError{Change: c}
		}
		d.changes[i].Why = intent.Why
		delete(meant, where{c.Op, c.Path})
	}
	for _, c := range e.intents {
		if _, missing := meant[where{c.Op, c.Path}]; missing {
			return Rewritten{}, &UnintendedChangeError{Change: c, Missing: true}
		}
	}
	return Rewritten{XML: text, Changes: d.changes, Warnings: e.warnings}, nil
}
