package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden compares a text with a file of testdata, which -update writes anew.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what is said now; look at the difference, and write it with go test ./cmd/vmmigrate -update:\n%s", path, diff)
	}
}

// What is said of each error, to be read as a page: the exit code, then the
// very lines that the user gets.
func TestEveryErrorSaysWhatFailedInWhatStateAndWhatToTypeNext(t *testing.T) {
	var b strings.Builder
	for _, c := range explained() {
		a := explain(c.err)
		fmt.Fprintf(&b, "# %s: exit %d\n", c.name, a.exit)
		a.write(&b)
		b.WriteByte('\n')
	}
	golden(t, "testdata/explain.golden", b.String())
}

func TestEveryExplanationHoldsTogether(t *testing.T) {
	for _, c := range explained() {
		a := explain(c.err)
		switch {
		case a.what == "":
			t.Errorf("%s: it does not say what failed", c.name)
		case strings.HasSuffix(a.what, "."):
			t.Errorf("%s: %q ends in a full stop", c.name, a.what)
		case a.exit == exitRefused && strings.Contains(a.state, "kept"):
			t.Errorf("%s: exit 3 promises that nothing was changed, and the state is %q", c.name, a.state)
		case a.exit == exitResumable && a.state == "":
			t.Errorf("%s: exit 4 leaves disks behind or not, and no state is told", c.name)
		}
	}
}

// The table has to grow with the errors: a new one that nobody thought of an
// advice for fails here.
func TestEveryTypedErrorIsInTheTable(t *testing.T) {
	covered := make(map[string]bool)
	for _, c := range explained() {
		mark(covered, c.err)
	}
	for _, dir := range []string{"migrate", "migrate/journal", "planfile", "lifecycle", "boot", "filesystem", "lvm", "luks", "domainxml", "hypervisor", "blockcopy", "internal/command", "cmd/vmmigrate"} {
		for _, name := range errorTypes(t, filepath.Join("../..", dir)) {
			if name = filepath.Base(dir) + "." + name; dir == "cmd/vmmigrate" {
				name = "main" + strings.TrimPrefix(name, "vmmigrate")
			}
			if !covered[name] {
				t.Errorf("%s is in no case of explained(): say there what the user is told, and in explain.go where needed", name)
			}
		}
	}
}

// mark records the types of an error and all that it wraps.
func mark(covered map[string]bool, err error) {
	if err == nil {
		return
	}
	covered[strings.TrimPrefix(reflect.TypeOf(err).String(), "*")] = true
	switch wraps := err.(type) { //nolint:errorlint // each layer is looked at, one by one
	case interface{ Unwrap() error }:
		mark(covered, wraps.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range wraps.Unwrap() {
			mark(covered, one)
		}
	}
}

// errorTypes are the types with an Error method that a package declares.
func errorTypes(t *testing.T, dir string) []string {
	t.Helper()
	files := token.NewFileSet()
	entries, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if strings.HasSuffix(entry, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, filepath.Join(dir, entry), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range file.Decls {
			method, ok := declared.(*ast.FuncDecl)
			if !ok || method.Recv == nil || method.Name.Name != "Error" {
				continue
			}
			receiver := method.Recv.List[0].Type
			if pointer, ok := receiver.(*ast.StarExpr); ok {
				receiver = pointer.X
			}
			names = append(names, receiver.(*ast.Ident).Name)
		}
	}
	if len(names) == 0 {
		t.Fatalf("no error type was found in %s: does this test still look in the right place?", dir)
	}
	slices.Sort(names)
	return names
}
