//go:build corpus

package domainxml

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// libvirt's own grammar of a domain, read by libxml2, is the judge that knows
// nothing of this package.
func TestLibvirtsSchemaTakesEveryCloneWhoseOriginalItTook(t *testing.T) {
	folder := t.TempDir()
	files := make(map[string][]string)
	eachDomain(t, func(name string, text []byte) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		edit := moveAll(d)
		edit.AllowDiscards = len(name)%2 == 0
		got, err := Rewrite(text, edit)
		if err != nil {
			return
		}
		release, _, _ := strings.Cut(name, "/")
		base := strings.ReplaceAll(name, "/", "__")
		for kind, text := range map[string][]byte{"before": text, "after": got.XML} {
			if err := os.MkdirAll(filepath.Join(folder, kind), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, kind, base), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		files[release] = append(files[release], base)
	})
	for release, names := range files {
		schema := filepath.Join(corpus, release, "src/conf/schemas/domain.rng")
		before, after := valid(t, schema, filepath.Join(folder, "before"), names), valid(t, schema, filepath.Join(folder, "after"), names)
		for name := range before {
			if !after[name] {
				t.Errorf("%s is valid, its clone is not", name)
			}
		}
		t.Logf("%s: of %d domains %d are valid, and %d clones", release, len(names), len(before), len(after))
		if len(before)*100 < len(names)*95 {
			t.Errorf("%s: only %d of %d domains are valid before anything is done", release, len(before), len(names))
		}
	}
}

// valid is the files of a folder that a RELAX NG schema takes.
func valid(t *testing.T, schema, folder string, names []string) map[string]bool {
	t.Helper()
	args := []string{"--noout", "--relaxng", schema}
	for _, name := range names {
		args = append(args, filepath.Join(folder, name))
	}
	// It exits with 3 when one file is not valid.
	result, err := command.Local{}.Run(t.Context(), command.Cmd{Name: "xmllint", Args: args})
	var missing *command.NotFoundError
	if errors.As(err, &missing) {
		t.Fatal("xmllint is not installed; it comes with the package libxml2-utils")
	}
	took := make(map[string]bool)
	for line := range strings.Lines(string(result.Stderr)) {
		if file, ok := strings.CutSuffix(strings.TrimSpace(line), " validates"); ok {
			took[filepath.Base(file)] = true
		}
	}
	return took
}
