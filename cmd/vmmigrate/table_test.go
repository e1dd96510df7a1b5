package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func vms() *listing {
	l := &listing{headings: []string{"VM", "CLONE", "SIZE"}}
	l.add("täst", "täst-luks", "1.0 GiB")
	l.add("mail server (alt)", "mail", "20 GiB")
	l.add("日本", "x", "")
	return l
}

func TestColumnsAreAlignedWhateverTheLetters(t *testing.T) {
	want := strings.Join([]string{
		"  VM                 CLONE      SIZE",
		"  täst               täst-luks  1.0 GiB",
		"  mail server (alt)  mail       20 GiB",
		"  日本               x",
	}, "\n")
	if diff := cmp.Diff(want, vms().text(2)); diff != "" {
		t.Error(diff)
	}
}

func TestATableThatDoesNotFitBecomesRecordsWithNothingLost(t *testing.T) {
	l := vms()
	l.width = 20
	want := strings.Join([]string{
		"täst", "  CLONE  täst-luks", "  SIZE   1.0 GiB",
		"mail server (alt)", "  CLONE  mail", "  SIZE   20 GiB",
		"日本", "  CLONE  x", "  SIZE",
	}, "\n")
	if diff := cmp.Diff(want, l.text(0)); diff != "" {
		t.Error(diff)
	}
	l.width = 39
	if got := l.text(2); !strings.HasPrefix(got, "  VM   ") {
		t.Errorf("a table that just fits is none:\n%s", got)
	}
}
