package domainxml

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestUnifiedShowsTheChangedLinesInTheirContext(t *testing.T) {
	a := "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n"
	b := "one\ntwo\n3\nfour\nfive\nsix\nseven\neight\nnine\nten\n"
	want := "--- before\n+++ after\n@@ -2,3 +2,3 @@\n two\n-three\n+3\n four\n@@ -9,1 +9,2 @@\n nine\n+ten\n"
	if d := cmp.Diff(want, Unified([]byte(a), []byte(b), RenderOptions{From: "before", To: "after", Context: 1})); d != "" {
		t.Error(d)
	}
}

func TestUnifiedOfEqualTextsIsEmpty(t *testing.T) {
	if got := Unified([]byte("a\nb\n"), []byte("a\nb\n"), RenderOptions{From: "x", To: "y", Context: 3, Color: true}); got != "" {
		t.Errorf("%q", got)
	}
}

func TestUnifiedShowsNoPasswordAndObeysNoTerminalSequence(t *testing.T) {
	a := "<graphics port='1' passwd='geheim' x=\"\u009b31m\u202e\"/>\n<g passwd=''/>\n"
	b := strings.Replace(a, "port='1'", "port='-1'", 1)
	got := Unified([]byte(a), []byte(b), RenderOptions{Context: 3})
	for _, bad := range []string{"geheim", "\u009b", "\u202e"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q is in %q", bad, got)
		}
	}
	if !strings.Contains(got, "passwd=''") {
		t.Errorf("an empty password, which bars everybody, must show: %q", got)
	}
}

// The whole context gives both texts back, so no line is lost or made up.
func TestUnifiedWithAllContextHoldsBothTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "<d/>"}), 1, 12)
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		got := Unified([]byte(strings.Join(a, "\n")), []byte(strings.Join(b, "\n")), RenderOptions{Context: 99})
		var gotA, gotB []string
		for _, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
			switch {
			case got == "" || line[0] == '@':
			case line[0] == '-':
				gotA = append(gotA, line[1:])
			case line[0] == '+':
				gotB = append(gotB, line[1:])
			default:
				gotA, gotB = append(gotA, line[1:]), append(gotB, line[1:])
			}
		}
		if got == "" {
			gotA, gotB = a, a
		}
		if d := cmp.Diff([][]string{a, b}, [][]string{gotA, gotB}); d != "" {
			t.Fatal(d)
		}
	})
}
