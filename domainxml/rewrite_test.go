package domainxml

import (
	"os"
	"path/filepath"
	"testing"
)

// sample reads a domain of testdata.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAnEmptyEditChangesNoByte(t *testing.T) {
	text := sample(t, "imap.xml")
	got, err := Rewrite(text, Edit{})
	if err != nil {
		t.Fatal(err)
	}
	if string(got.XML) != string(text) || len(got.Changes) != 0 || len(got.Warnings) != 0 {
		t.Errorf("changes %v, warnings %v", got.Changes, got.Warnings)
	}
}
