package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// schemas makes JSON Schemas (draft 2020-12) of Go types: what is in them
// follows from the types, and what is said of it from the comments in the
// source, so that neither can lag behind.
type schemas struct {
	t *testing.T
	// sources are the parsed packages by import path.
	sources map[string]*source
	// defs are the schemas of the named structs.
	defs map[string]any
}

// source is what the text of a package tells that reflection does not.
type source struct {
	// fields are the comments at fields, by type and field, and types those
	// at types.
	fields, types map[string]string
	// values are the constants of each named string type.
	values map[string][]string
}

const module = "github.com/vmmigrate/vmmigrate/"

type object = map[string]any

func (s *schemas) document(name, about string, of reflect.Type) object {
	s.defs = make(object)
	root := s.structure(of)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "https://github.com/vmmigrate/vmmigrate/docs/" + name
	root["title"] = about
	if len(s.defs) > 0 {
		root["$defs"] = s.defs
	}
	return root
}

func (s *schemas) of(t reflect.Type) object {
	if t == reflect.TypeFor[time.Time]() {
		return object{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		schema := object{"type": "string"}
		if values := s.source(t).values[t.Name()]; len(values) > 0 {
			schema["enum"] = values
		}
		return schema
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if _, made := s.defs[t.Name()]; !made {
			s.defs[t.Name()] = nil // it may hold itself
			s.defs[t.Name()] = s.structure(t)
		}
		return object{"$ref": "#/$defs/" + t.Name()}
	}
	s.t.Fatalf("a %s has no schema yet", t)
	return nil
}

func (s *schemas) structure(t reflect.Type) object {
	properties, required := make(object), []string{}
	s.collect(t, properties, &required)
	schema := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = required
	}
	if about := s.source(t).types[t.Name()]; about != "" {
		schema["description"] = about
	}
	return schema
}

func (s *schemas) collect(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		field := t.Field(i)
		if field.Anonymous {
			embedded := field.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			s.collect(embedded, properties, required)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue // for Go alone
		}
		if name == "" {
			s.t.Errorf("%s.%s has no name in JSON", t, field.Name)
			continue
		}
		property := s.of(field.Type)
		if about := s.source(t).fields[t.Name()+"."+field.Name]; about != "" {
			property["description"] = about
		}
		properties[name] = property
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
}

// source reads the package that a type comes from.
func (s *schemas) source(t reflect.Type) *source {
	path := t.PkgPath()
	if known := s.sources[path]; known != nil {
		return known
	}
	read := &source{make(map[string]string), make(map[string]string), make(map[string][]string)}
	s.sources[path] = read
	dir, ours := strings.CutPrefix(path, module)
	if !ours {
		return read
	}
	names, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, declared := range file.Decls {
			if general, ok := declared.(*ast.GenDecl); ok {
				read.add(general)
			}
		}
	}
	return read
}

func (r *source) add(declared *ast.GenDecl) {
	for _, spec := range declared.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			r.types[spec.Name.Name] = about(spec.Name.Name, prose(declared.Doc))
			last := ""
			for _, field := range structure.Fields.List {
				if said := prose(field.Doc); said != "" {
					last = said
				}
				for _, name := range field.Names {
					// One comment may tell of the fields below it as well.
					if prose(field.Doc) != "" || slices.Contains(strings.FieldsFunc(last, notLetter), name.Name) {
						r.fields[spec.Name.Name+"."+name.Name] = last
					}
				}
			}
		case *ast.ValueSpec:
			kind, ok := spec.Type.(*ast.Ident)
			if !ok || declared.Tok != token.CONST {
				continue
			}
			for _, value := range spec.Values {
				if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					if text, err := strconv.Unquote(literal.Value); err == nil && !slices.Contains(r.values[kind.Name], text) {
						r.values[kind.Name] = append(r.values[kind.Name], text)
					}
				}
			}
		}
	}
}

func prose(comment *ast.CommentGroup) string {
	return strings.Join(strings.Fields(comment.Text()), " ")
}

// about is a type's comment for people who never see the type.
func about(name, comment string) string {
	for _, verb := range []string{" is ", " are "} {
		if said, ok := strings.CutPrefix(comment, name+verb); ok {
			return strings.ToUpper(said[:1]) + said[1:]
		}
	}
	return comment
}

func notLetter(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
}

// eventWords are the words of each event besides event, time, job and vm: those
// that are always there, and those that may be.
var eventWords = map[string][2][]string{
	"job-started":  {{}, {"message"}},
	"step-started": {{"step"}, {"disk"}},
	"step-done":    {{"step", "seconds"}, {"disk", "message"}},
	"progress":     {{"step", "disk", "bytes", "total", "bytes_per_second"}, {"eta_seconds"}},
	"warning":      {{"message"}, {"step", "disk"}},
	"job-done":     {{"seconds"}, {"clone", "disks", "message"}},
	"job-failed":   {{"error", "exit_code", "next"}, {"step"}},
}

// events is the schema of the event stream: one alternative for each event.
func (s *schemas) events(name string) object {
	root := s.document(name, "A line of vmmigrate run, resume, rollback, cutover and retire --output json", reflect.TypeFor[event]())
	all := root["properties"].(object)
	used := make(map[string]bool)
	var alternatives []any
	for _, kind := range slices.Sorted(maps.Keys(eventWords)) {
		required := append([]string{"event", "time", "job", "vm"}, eventWords[kind][0]...)
		properties := make(object)
		for _, word := range append(slices.Clone(required), eventWords[kind][1]...) {
			if all[word] == nil {
				s.t.Errorf("the event %s is said to have %q, which no event has", kind, word)
			}
			properties[word], used[word] = object{"$ref": "#/$defs/words/properties/" + word}, true
		}
		properties["event"] = object{"const": kind}
		alternatives = append(alternatives, object{
			"title": kind, "type": "object", "required": required, "properties": properties, "additionalProperties": false,
		})
	}
	for word := range all {
		if !used[word] {
			s.t.Errorf("no event has the word %q", word)
		}
	}
	delete(root, "type")
	delete(root, "properties")
	delete(root, "required")
	delete(root, "additionalProperties")
	s.defs["words"] = object{"properties": all}
	root["$defs"], root["oneOf"] = s.defs, alternatives
	return root
}
