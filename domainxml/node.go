package domainxml

import (
	"strconv"
	"strings"

	"github.com/beevik/etree"
)

// maxPath is how long a Change's path may be; the middle of a longer one is
// left out, so that no document makes a report of its differences huge.
const maxPath = 1024

// node is an element, text, comment or instruction prepared for comparison.
type node struct {
	// key is what a node must share with another to be compared with it: an
	// element's resolved name, or the kind of any other node.
	key    string
	parent *node
	// label is the node's own part of its path, number its place among its
	// namesakes from 1, or 0 when it has none.
	label  string
	number int
	attrs  []attr
	// text is the content of a node that is no element.
	text string
	kids []*node
	// digest is a sum of all that is in it, once it was asked for; see sum.
	digest uint64
	// source is the element, nil for any other node.
	source *etree.Element
}

// attr is an attribute: its resolved name, the name as written, its value.
type attr struct{ key, label, value string }

// nodes prepares the whole document, under a node that stands for it.
func (d *document) nodes() *node {
	top := &node{}
	top.prepare(&d.tree.Element, &scope{own: map[string]string{"xml": "http://www.w3.org/XML/1998/namespace"}})
	return top
}

// scope holds the namespaces that one element declares, and its parent's.
type scope struct {
	outer *scope
	own   map[string]string
}

func (s *scope) find(prefix string) (uri string, ok bool) {
	for ; s != nil; s = s.outer {
		if uri, ok := s.own[prefix]; ok {
			return uri, true
		}
	}
	return "", false
}

// resolve is a name with its namespace. A prefix that nothing declares stands
// for itself, as libxml2 lets it.
func (s *scope) resolve(prefix, local string) string {
	uri, ok := s.find(prefix)
	if !ok && prefix != "" {
		return prefix + ":" + local
	}
	if uri == "" {
		return local
	}
	return "{" + uri + "}" + local
}

// prepare resolves what is in an element into n's kids.
func (n *node) prepare(from *etree.Element, names *scope) {
	total := make(map[string]int)
	for _, token := range from.Child {
		total[label(token)]++
	}
	count := make(map[string]int)
	for _, token := range from.Child {
		kid := &node{parent: n, label: label(token)}
		kid.key = kid.label
		count[kid.label]++
		if total[kid.label] > 1 {
			kid.number = count[kid.label]
		}
		switch t := token.(type) {
		case *etree.Element:
			kid.element(t, names)
		case *etree.CharData:
			kid.number = 0
			// A CDATA section beside a text is one text.
			if last := len(n.kids) - 1; last >= 0 && n.kids[last].key == kid.key {
				n.kids[last].text += t.Data
				continue
			}
			kid.text = t.Data
		default:
			kid.text = content(token)
		}
		n.kids = append(n.kids, kid)
	}
}

func (n *node) element(from *etree.Element, names *scope) {
	own := make(map[string]string)
	for _, a := range from.Attr {
		if prefix, ok := declared(a); ok {
			own[prefix] = a.Value
		}
	}
	if len(own) > 0 {
		names = &scope{outer: names, own: own}
	}
	n.source, n.key = from, names.resolve(from.Space, from.Tag)
	for _, a := range from.Attr {
		key := a.FullKey()
		if _, declares := declared(a); a.Space != "" && !declares {
			key = names.resolve(a.Space, a.Key)
		}
		n.attrs = append(n.attrs, attr{key: key, label: a.FullKey(), value: a.Value})
	}
	n.prepare(from, names)
}

// declared tells a namespace declaration and the prefix it declares.
func declared(a etree.Attr) (prefix string, ok bool) {
	if a.Space == "xmlns" {
		return a.Key, true
	}
	return "", a.Space == "" && a.Key == "xmlns"
}

// label is the last part of a token's path, without a number.
func label(token etree.Token) string {
	switch t := token.(type) {
	case *etree.Element:
		return t.FullTag()
	case *etree.CharData:
		return "text()"
	case *etree.Comment:
		return "comment()"
	case *etree.ProcInst:
		return "processing-instruction('" + t.Target + "')"
	}
	return "directive()"
}

// path is the node's XPath, or an attribute's of it.
func (n *node) path(attribute ...string) string {
	var parts []string
	for at := n; at.parent != nil; at = at.parent {
		part := at.label
		if at.number > 0 {
			part += "[" + strconv.Itoa(at.number) + "]"
		}
		parts = append(parts, part)
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString("/" + parts[i])
	}
	for _, a := range attribute {
		b.WriteString("/@" + a)
	}
	path := b.String()
	if len(path) > maxPath {
		path = strings.ToValidUTF8(path[:maxPath/2], "") + "…" + strings.ToValidUTF8(path[len(path)-maxPath/2:], "")
	}
	return path
}

func (n *node) hasElements() bool {
	for _, kid := range n.kids {
		if kid.source != nil {
			return true
		}
	}
	return false
}

// significant is the kids without the blanks between elements.
func (n *node) significant(bare bool) []*node {
	if !bare {
		return n.kids
	}
	var kept []*node
	for _, kid := range n.kids {
		if kid.key != "text()" || !blank(kid.text) {
			kept = append(kept, kid)
		}
	}
	return kept
}

// String is what a Change shows of a node.
func (n *node) String() string {
	var b strings.Builder
	n.print(&b)
	if n.parent != nil && n.parent.key == "cookie" {
		return redacted
	}
	return blot(b.String())
}

// shownText is the content of a node that is no element, as a Change shows it.
func (n *node) shownText() string {
	if n.parent != nil && n.parent.key == "cookie" {
		return redacted
	}
	return n.text
}

func (n *node) print(b *strings.Builder) {
	if n.source == nil {
		if n.key == "text()" {
			b.WriteString(n.text)
		}
		return
	}
	kids := n.significant(n.hasElements())
	b.WriteString(newTag(n.source, len(kids) == 0))
	if len(kids) == 0 {
		return
	}
	for _, kid := range kids {
		if kid.source == nil && kid.key == "text()" {
			b.WriteString(escapeText(kid.text))
			continue
		}
		kid.print(b)
	}
	b.WriteString("</" + n.source.FullTag() + ">")
}

func blank(s string) bool { return strings.Trim(s, " \t\r\n\ufeff") == "" }
