package planfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxBytes bounds the file: 30 VMs take some 10 KiB.
	maxBytes = 1 << 20
	// maxDepth bounds how far things are nested; ours are by five.
	maxDepth = 16
)

// document parses a plan file's text into the node of its only document.
func document(text []byte) (ast.Node, *Error) {
	if len(text) > maxBytes {
		return nil, &Error{Reason: fmt.Sprintf("it is larger than %d KiB, which no plan is", maxBytes>>10)}
	}
	tokens := lexer.Tokenize(string(text))
	if err := tame(tokens); err != nil {
		return nil, err
	}
	// A key that is there twice is found below, in words that quote nothing.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var bad yaml.Error
		if errors.As(err, &bad) && bad.GetToken() != nil {
			return nil, at(bad.GetToken(), "this is no YAML: %s", bad.GetMessage())
		}
		return nil, &Error{Reason: "this is no YAML"}
	}
	var found ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if found != nil {
			return nil, at(doc.Body.GetToken(), "a second document begins here; a plan is one")
		}
		found = doc.Body
	}
	if found == nil {
		return nil, &Error{Reason: "it is empty"}
	}
	return found, nil
}

// tame refuses what a plan has no use for and what can make a small file a
// large one: references, tags and nesting without end.
func tame(tokens token.Tokens) *Error {
	depth, line, dashes := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return at(t, "references (&, *, <<) are not for plans; write it out")
		case token.TagType:
			return at(t, "tags (!) are not for plans")
		case token.DirectiveType:
			return at(t, "directives (%%) are not for plans")
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType:
			if t.Position.Line != line {
				line, dashes = t.Position.Line, 0
			}
			dashes++
		default:
		}
		if depth > maxDepth || dashes > maxDepth || t.Position != nil && t.Position.IndentNum > 8*maxDepth {
			return at(t, "this is nested too deep for a plan")
		}
	}
	return nil
}

func at(t *token.Token, format string, args ...any) *Error {
	e := &Error{Reason: fmt.Sprintf(format, args...)}
	if t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}

func where(n ast.Node) position {
	t := n.GetToken()
	if pair, ok := n.(*ast.MappingValueNode); ok {
		t = pair.Key.GetToken()
	}
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{t.Position.Line, t.Position.Column}
}

// reader walks through a document and keeps the first thing that is wrong.
type reader struct{ err *Error }

func (r *reader) fail(p position, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{Line: p.line, Column: p.column, Reason: fmt.Sprintf(format, args...)}
	}
}

// fields are the entries of a mapping that have not been asked for yet.
type fields struct {
	r     *reader
	what  string
	at    position
	names []string
	byKey map[string]ast.Node
	place map[string]position
	asked []string
	// hush keeps names and values out of errors: a key may be among them.
	hush bool
}

// mapping reads a node that has to be a mapping; of any other it returns one
// without entries.
func (r *reader) mapping(node ast.Node, what string, hush bool) *fields {
	f := &fields{r: r, what: what, hush: hush, byKey: map[string]ast.Node{}, place: map[string]position{}}
	if node == nil {
		return f
	}
	f.at = where(node)
	var pairs []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		r.fail(f.at, "%s has to be lines of the form `key: value`, not %s", what, kind(node))
		return f
	}
	if len(pairs) > 0 {
		f.at = where(pairs[0])
	}
	for _, pair := range pairs {
		key, ok := pair.Key.(*ast.StringNode)
		p := where(pair)
		if !ok {
			r.fail(p, "a key of %s is no text; put it into quotes", what)
			continue
		}
		if _, twice := f.byKey[key.Value]; twice {
			r.fail(p, "%s is there twice in %s", f.quote(key.Value), what)
		}
		f.names = append(f.names, key.Value)
		f.byKey[key.Value], f.place[key.Value] = pair.Value, p
	}
	return f
}

func (f *fields) quote(name string) string {
	if f.hush {
		return "a key"
	}
	return fmt.Sprintf("%q", name)
}

// take returns a value and where it is; nil if it is not there or has none.
func (f *fields) take(key string) (ast.Node, position) {
	f.asked = append(f.asked, key)
	node, there := f.byKey[key]
	if !there {
		return nil, f.at
	}
	if node == nil || node.Type() == ast.NullType {
		f.r.fail(f.place[key], "%s of %s has no value; leave the line out for the default", key, f.what)
		return nil, f.place[key]
	}
	return node, where(node)
}

func (f *fields) text(key string) string {
	node, p := f.take(key)
	if node == nil {
		return ""
	}
	text, ok := textOf(node)
	if !ok {
		f.r.fail(p, "%s of %s has to be text, not %s; put it into quotes", key, f.what, kind(node))
	} else if text == "" {
		f.r.fail(p, "%s of %s is empty; leave the line out for the default", key, f.what)
	}
	return text
}

func textOf(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func (f *fields) boolean(key string) *bool {
	node, p := f.take(key)
	if node == nil {
		return nil
	}
	value, ok := node.(*ast.BoolNode)
	if !ok {
		f.r.fail(p, "%s of %s has to be true or false, not %s", key, f.what, kind(node))
		return nil
	}
	return &value.Value
}

// number reads a number from 1 to 2^31-1.
func (f *fields) number(key string) int {
	node, p := f.take(key)
	if node == nil {
		return 0
	}
	const most = 1<<31 - 1
	value, ok := node.(*ast.IntegerNode)
	if ok {
		if n, ok := value.Value.(uint64); ok && n > 0 && n <= most {
			return int(n)
		}
		if n, ok := value.Value.(int64); ok && n > 0 && n <= most {
			return int(n)
		}
	}
	f.r.fail(p, "%s of %s has to be a whole number above 0", key, f.what)
	return 0
}

// size reads a size with its unit, in bytes.
func (f *fields) size(key string) int64 {
	node, p := f.take(key)
	if node == nil {
		return 0
	}
	text, isText := textOf(node)
	if !isText {
		text = node.GetToken().Value
	}
	size, err := parseSize(text)
	if err != nil {
		f.r.fail(p, "%v", err)
	}
	return size
}

func (f *fields) list(key string) []ast.Node {
	node, p := f.take(key)
	if node == nil {
		return nil
	}
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		f.r.fail(p, "%s of %s has to be a list, not %s", key, f.what, kind(node))
		return nil
	}
	return list.Values
}

func (f *fields) mapping(key, what string, hush bool) *fields {
	node, _ := f.take(key)
	return f.r.mapping(node, what, hush)
}

// end refuses the entries that were not asked for.
func (f *fields) end() {
	for _, name := range f.names {
		if slices.Contains(f.asked, name) {
			continue
		}
		if f.hush {
			f.r.fail(f.place[name], "%s does not know this; it is one of %s, and never the key itself", f.what, strings.Join(f.asked, ", "))
			return
		}
		f.r.fail(f.place[name], "%s does not know %q; it knows %s", f.what, name, strings.Join(f.asked, ", "))
		return
	}
}

// kind names a node's kind for people.
func kind(node ast.Node) string {
	switch node.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return "a number"
	case ast.BoolType:
		return "true or false"
	case ast.StringType, ast.LiteralType:
		return "text"
	}
	return "nothing"
}
