package domainxml

import (
	"bytes"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// write is the text of the edited tree. etree's own writer would normalise
// what it prints: double quotes for single ones, <a/> for <a></a>, one blank
// between attributes, &apos; for an apostrophe, LF for CRLF. So every token
// that did not change is written with the bytes it was read from, and in a
// start tag that did change only the attributes concerned are touched.
func (d *document) write() []byte {
	w := &writer{document: d}
	w.children(&d.tree.Element)
	return w.out.Bytes()
}

type writer struct {
	*document
	out bytes.Buffer
}

func (w *writer) children(parent *etree.Element) {
	for _, token := range parent.Child {
		o, known := w.origins[token]
		element, isElement := token.(*etree.Element)
		switch {
		case isElement:
			w.element(element, o, known)
		case known && content(token) == o.data:
			w.out.Write(w.text[o.start.from:o.start.to])
		default:
			w.fresh(token)
		}
	}
}

// fresh writes a text or comment that is new or was changed.
func (w *writer) fresh(token etree.Token) {
	if text, ok := token.(*etree.CharData); ok && !text.IsCData() {
		w.out.WriteString(escapeText(text.Data))
		return
	}
	token.WriteTo(&w.out, &etree.WriteSettings{})
}

func (w *writer) element(e *etree.Element, o original, known bool) {
	closed := len(e.Child) == 0
	if known {
		// What had an end tag keeps it, even when it holds nothing.
		closed = closed && o.end.from == o.end.to
		w.out.WriteString(w.startTag(e, o, closed))
	} else {
		w.out.WriteString(newTag(e, closed))
	}
	if closed {
		return
	}
	w.children(e)
	if known && o.end.from != o.end.to {
		w.out.Write(w.text[o.end.from:o.end.to])
		return
	}
	w.out.WriteString("</" + e.FullTag() + ">")
}

// startTag is the start tag of an element that was read.
func (w *writer) startTag(e *etree.Element, o original, closed bool) string {
	raw := string(w.text[o.start.from:o.start.to])
	if !slices.EqualFunc(e.Attr, o.attrs, sameAttr) {
		raw = patch(raw, e.Attr, o.attrs)
	}
	if !closed && strings.HasSuffix(raw, "/>") {
		raw = strings.TrimRight(strings.TrimSuffix(raw, "/>"), " \t\r\n") + ">"
	}
	return raw
}

func sameAttr(a, b etree.Attr) bool {
	return a.Space == b.Space && a.Key == b.Key && a.Value == b.Value
}

// newTag is the start tag of an element that was not read, with the single
// quotes that libvirt writes.
func newTag(e *etree.Element, closed bool) string {
	var b strings.Builder
	b.WriteString("<" + e.FullTag())
	for _, a := range e.Attr {
		b.WriteString(" " + a.FullKey() + "='" + escapeAttr(a.Value, '\'') + "'")
	}
	if closed {
		b.WriteByte('/')
	}
	b.WriteByte('>')
	return b.String()
}

// rawAttr is an attribute as it stands in a start tag: the blanks before it,
// its name with the equals sign, its quote, and its value still escaped.
type rawAttr struct {
	lead, name string
	quote      byte
	value      string
}

// patch is a start tag with want's attributes in the place of had's: those
// of equal name and value keep their bytes, those of equal name their blanks
// and quotes.
func patch(raw string, want, had []etree.Attr) string {
	head, attrs, tail := splitTag(raw)
	var b strings.Builder
	b.WriteString(head)
	quote := byte('\'')
	if len(attrs) > 0 {
		quote = attrs[0].quote
	}
	for _, a := range want {
		i := slices.IndexFunc(had, func(h etree.Attr) bool { return h.Space == a.Space && h.Key == a.Key })
		switch {
		case i < 0 || i >= len(attrs):
			b.WriteString(" " + a.FullKey() + "=" + string(quote) + escapeAttr(a.Value, quote) + string(quote))
		case had[i].Value == a.Value:
			r := attrs[i]
			b.WriteString(r.lead + r.name + string(r.quote) + r.value + string(r.quote))
		default:
			r := attrs[i]
			b.WriteString(r.lead + r.name + string(r.quote) + escapeAttr(a.Value, r.quote) + string(r.quote))
		}
	}
	b.WriteString(tail)
	return b.String()
}

// splitTag takes a start tag apart. The strict tokeniser has read it before,
// so every attribute has an equals sign and a quoted value.
func splitTag(raw string) (head string, attrs []rawAttr, tail string) {
	const blank = " \t\r\n"
	at := len(raw) - len(strings.TrimLeft(raw[1:], blank)) // never more than one: no blank follows <
	for at < len(raw) && !strings.ContainsRune(blank+"/>", rune(raw[at])) {
		at++
	}
	head = raw[:at]
	for {
		begin := at
		for at < len(raw) && strings.IndexByte(blank, raw[at]) >= 0 {
			at++
		}
		if at >= len(raw) || raw[at] == '/' || raw[at] == '>' {
			return head, attrs, raw[begin:]
		}
		name := at
		for at < len(raw) && raw[at] != '"' && raw[at] != '\'' {
			at++
		}
		if at >= len(raw) {
			return head, attrs, raw[begin:]
		}
		quote, value := raw[at], at+1
		length := strings.IndexByte(raw[value:], quote)
		if length < 0 {
			return head, attrs, raw[begin:]
		}
		attrs = append(attrs, rawAttr{lead: raw[begin:name], name: raw[name:at], quote: quote, value: raw[value : value+length]})
		at = value + length + 1
	}
}

// escapeAttr escapes an attribute's value. A tab or newline would be read
// back as a blank (XML 1.0, 3.3.3) and so becomes a reference.
func escapeAttr(s string, quote byte) string {
	if !strings.ContainsAny(s, "&<>\t\n\r\"'") {
		return s // nearly all of them; making a Replacer takes far longer than using it
	}
	pairs := []string{"&", "&amp;", "<", "&lt;", ">", "&gt;", "\t", "&#9;", "\n", "&#10;", "\r", "&#13;"}
	if quote == '"' {
		pairs = append(pairs, `"`, "&quot;")
	} else {
		pairs = append(pairs, "'", "&apos;")
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

func escapeText(s string) string {
	if !strings.ContainsAny(s, "&<>\r") {
		return s
	}
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;").Replace(s)
}

// representable reports whether XML can hold s at all (XML 1.0, 2.2).
func representable(s string) bool {
	for i, r := range s {
		if r == 0xfffd && !strings.HasPrefix(s[i:], "\ufffd") {
			return false // not UTF-8
		}
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	return true
}
