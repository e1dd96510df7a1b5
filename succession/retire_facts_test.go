package succession

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestTheLimitsAreThoseOfTheMethodAndTheKindOfDisk(t *testing.T) {
	for _, c := range []struct {
		method Method
		kind   string
		facts  PlainFacts
		says   []string
	}{
		{Zero, "linear logical volume", PlainFacts{Block: true, Flash: true}, []string{"SSD", "secure erase", "pvmove"}},
		{Random, "linear logical volume", PlainFacts{Block: true}, []string{"spare"}},
		{Discard, "thin logical volume", PlainFacts{Block: true, Flash: true}, []string{"tells the storage", "thin", "pool"}},
		{Zero, "raid1 logical volume", PlainFacts{Block: true}, []string{"leg", "failed"}},
		{Zero, "file on btrfs", PlainFacts{FS: "btrfs"}, []string{"copies elsewhere", "snapshots"}},
		{Zero, "file on xfs", PlainFacts{FS: "xfs"}, []string{"reflink"}},
		{Discard, "file on nfs", PlainFacts{FS: "nfs"}, []string{"server"}},
	} {
		words := strings.Join(limits(c.method, c.kind, c.facts), "\n")
		for _, part := range append(c.says, "backups") {
			if !strings.Contains(words, part) {
				t.Errorf("%s on a %s says nothing of %q:\n%s", c.method, c.kind, part, words)
			}
		}
	}
}

// An image may rest on a template of many: that stays, and is said to.
func TestWhatAnImageRestsOnStaysAndIsNamed(t *testing.T) {
	w := newRetireWorld(t)
	w.original("qcow2")
	w.files = ImageFiles{Behind: []string{w.theirs}}
	theirs, err := os.ReadFile(w.theirs)
	no(t, err)
	plan, warnings, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: Zero})
	no(t, err)
	if !slices.ContainsFunc(warnings, func(text string) bool { return strings.Contains(text, "rests on "+w.theirs) }) {
		t.Errorf("%q", warnings)
	}
	_, err = w.Retire(t.Context(), plan)
	no(t, err)
	if now, err := os.ReadFile(w.theirs); err != nil || !bytes.Equal(now, theirs) {
		t.Error("what it rests on was written")
	}
}

// That it can't be told is no reason to keep the plain disk, and is said.
func TestAnImageWhoseOthersCantBeToldIsRetiredWithAWarning(t *testing.T) {
	w := newRetireWorld(t)
	w.original("qcow2")
	w.filesErr = errors.New("the template is gone")
	plan, warnings, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: Zero})
	no(t, err)
	if plan == nil || !slices.ContainsFunc(warnings, func(text string) bool { return strings.Contains(text, "the template is gone") }) {
		t.Errorf("%q", warnings)
	}
}
