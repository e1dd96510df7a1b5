package domainxml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"
)

// MaxBytes is the length of the longest text that is read. It is the longest
// string libvirt's own wire format carries (REMOTE_STRING_MAX in its
// src/remote/remote_protocol.x), so no longer domain can be dumped or defined.
const MaxBytes = 4 << 20

const (
	// maxLevels is libxml2's xmlParserMaxDepth, beyond which libvirt reads no
	// document.
	maxLevels = 256
	// maxNodes bounds the memory: elements, attributes, texts, comments and
	// instructions together. The largest domain of libvirt's own test suites
	// has fewer than 10,000.
	maxNodes = 100_000
)

// ReadText reads a domain's text from a file or pipe, and no more of it than
// can be one. It returns a *TooLargeError or the reader's error.
func ReadText(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err == nil && len(text) > MaxBytes {
		return nil, &TooLargeError{What: "bytes", Limit: MaxBytes, Size: int64(len(text))}
	}
	return text, err
}

// span is a stretch of the original text, in bytes.
type span struct{ from, to int }

// original is what a token was when it was read, so that a token that did not
// change is written with its own bytes.
type original struct {
	// start is the whole token, or an element's start tag.
	start span
	// end is an element's end tag; it is empty for <a/>.
	end span
	// attrs are an element's attributes, data any other token's content.
	attrs []etree.Attr
	data  string
}

// document is a domain's text beside the tree that was read from it.
type document struct {
	text    []byte
	tree    *etree.Document
	origins map[etree.Token]original
}

func (d *document) root() *etree.Element { return d.tree.Root() }

// load reads a text within the limits above. It returns a *SyntaxError or a
// *TooLargeError.
func load(text []byte) (*document, error) {
	found, err := scan(text)
	if err != nil {
		return nil, err
	}
	tree := etree.NewDocument()
	tree.ReadSettings = etree.ReadSettings{PreserveCData: true, PreserveDuplicateAttrs: true, MaxDepth: maxLevels}
	if err := tree.ReadFromBytes(text); err != nil {
		return nil, &SyntaxError{Reason: "is not well-formed", Err: err}
	}
	d := &document{text: text, tree: tree, origins: make(map[etree.Token]original, len(found))}
	if left := d.place(&tree.Element, found); len(left) != 0 {
		return nil, &SyntaxError{Reason: "is read in two ways by two readers"}
	}
	return d, nil
}

// place gives every token below parent its bytes. etree reads with the same
// tokeniser as scan, so both come in the same order.
func (d *document) place(parent *etree.Element, found []original) []original {
	for _, token := range parent.Child {
		if len(found) == 0 {
			return []original{{}}
		}
		o := found[0]
		found = found[1:]
		switch t := token.(type) {
		case *etree.Element:
			o.attrs = append([]etree.Attr(nil), t.Attr...)
			found = d.place(t, found)
		default:
			o.data = content(token)
		}
		d.origins[token] = o
	}
	return found
}

// content is what a token other than an element holds.
func content(token etree.Token) string {
	switch t := token.(type) {
	case *etree.CharData:
		return t.Data
	case *etree.Comment:
		return t.Data
	case *etree.ProcInst:
		return t.Target + " " + t.Inst
	case *etree.Directive:
		return t.Data
	}
	return ""
}

// scanner reads a text's tokens once, without building anything, and refuses
// what libxml2 would refuse or what passes a limit.
type scanner struct {
	decoder *xml.Decoder
	found   []original
	open    []int
	names   []string
	nodes   int64
	rooted  bool
}

func scan(text []byte) ([]original, error) {
	if len(text) > MaxBytes {
		return nil, &TooLargeError{What: "bytes", Limit: MaxBytes, Size: int64(len(text))}
	}
	if err := encoded(text); err != nil {
		return nil, err
	}
	s := &scanner{decoder: xml.NewDecoder(bytes.NewReader(text))}
	s.decoder.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("it says it is encoded in %s; only UTF-8 is read", charset)
	}
	for {
		from := int(s.decoder.InputOffset())
		token, err := s.decoder.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, _ := s.decoder.InputPos()
			return nil, &SyntaxError{Line: line, Reason: "is not well-formed", Err: err}
		}
		if err := s.token(token, span{from, int(s.decoder.InputOffset())}); err != nil {
			return nil, err
		}
		if s.nodes > maxNodes {
			return nil, &TooLargeError{What: "nodes", Limit: maxNodes, Size: s.nodes}
		}
	}
	if len(s.open) > 0 {
		return nil, s.fail("<%s> is not closed", s.names[len(s.names)-1])
	}
	if !s.rooted {
		return nil, &SyntaxError{Reason: "holds no element"}
	}
	return s.found, nil
}

// encoded tells texts that are no UTF-8 before the tokeniser stumbles on them
// with a message about something else.
func encoded(text []byte) error {
	if bytes.HasPrefix(text, []byte{0xfe, 0xff}) || bytes.HasPrefix(text, []byte{0xff, 0xfe}) {
		return &SyntaxError{Line: 1, Reason: "is encoded in UTF-16; only UTF-8 is read"}
	}
	line := func(at int) int { return 1 + bytes.Count(text[:at], []byte{'\n'}) }
	if at := bytes.IndexByte(text, 0); at >= 0 {
		return &SyntaxError{Line: line(at), Reason: "holds a NUL byte"}
	}
	for at := 0; at < len(text); {
		r, width := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && width == 1 {
			return &SyntaxError{Line: line(at), Reason: "is not valid UTF-8"}
		}
		at += width
	}
	return nil
}

func (s *scanner) fail(format string, args ...any) error {
	line, _ := s.decoder.InputPos()
	return &SyntaxError{Line: line, Reason: fmt.Sprintf(format, args...)}
}

func (s *scanner) token(token xml.Token, at span) error {
	if end, ok := token.(xml.EndElement); ok {
		return s.end(end, at)
	}
	s.nodes++
	switch t := token.(type) {
	case xml.StartElement:
		return s.start(t, at)
	case xml.CharData:
		if len(s.open) == 0 && strings.Trim(string(t), " \t\r\n") != "" && (at.from != 0 || string(bytes.TrimSpace(t)) != "\ufeff") {
			return s.fail("text stands outside the root element")
		}
	case xml.ProcInst:
		// A byte order mark may stand before it (XML 1.0, appendix F).
		if t.Target == "xml" && at.from != 0 && (len(s.found) != 1 || at.from != len("\ufeff")) {
			return s.fail("the XML declaration does not stand at the start")
		}
	case xml.Directive:
		return s.fail("holds <!%s>; a domain needs no DOCTYPE and no entities", first(string(t)))
	}
	s.found = append(s.found, original{start: at})
	return nil
}

func (s *scanner) start(t xml.StartElement, at span) error {
	name := fullName(t.Name)
	if len(s.open) == 0 {
		if s.rooted {
			return s.fail("a second root element, <%s>, follows the first", name)
		}
		s.rooted = true
	}
	if len(s.open) == maxLevels {
		return &TooLargeError{What: "levels", Limit: maxLevels, Size: maxLevels + 1}
	}
	s.nodes += int64(len(t.Attr))
	if s.nodes > maxNodes {
		return nil // the caller says so; no need to look at each
	}
	// encoding/xml lets an attribute stand twice, and which of the two libvirt
	// would believe is not for us to guess: libxml2 refuses it.
	if len(t.Attr) > 1 {
		seen := make(map[xml.Name]bool, len(t.Attr))
		for _, a := range t.Attr {
			if seen[a.Name] {
				return s.fail("<%s> has the attribute %s twice", name, fullName(a.Name))
			}
			seen[a.Name] = true
		}
	}
	s.open, s.names = append(s.open, len(s.found)), append(s.names, name)
	s.found = append(s.found, original{start: at})
	return nil
}

func (s *scanner) end(t xml.EndElement, at span) error {
	name := fullName(t.Name)
	if len(s.open) == 0 {
		return s.fail("</%s> closes nothing", name)
	}
	last := len(s.open) - 1
	if s.names[last] != name {
		return s.fail("<%s> is closed by </%s>", s.names[last], name)
	}
	s.found[s.open[last]].end = at
	s.open, s.names = s.open[:last], s.names[:last]
	return nil
}

func fullName(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// first is the first word of a directive, enough to name it.
func first(s string) string {
	if at := strings.IndexAny(s, " \t\r\n["); at >= 0 {
		s = s[:at]
	}
	if len(s) > 20 {
		s = s[:20]
	}
	return s
}
