//go:build corpus

package domainxml

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// corpus is where corpus/fetch.sh puts libvirt's test suites.
const corpus = "../.cache/libvirt"

// domainRoot is a document whose root is a qemu or kvm domain: before it stand
// only a declaration and comments. Capabilities, status files and migration
// cookies hold a <domain> too, but are none.
var domainRoot = regexp.MustCompile(`^\s*(<\?[^>]*>\s*|<!--(?s:.*?)-->\s*)*<domain[ \t\r\n][^>]*\btype=['"](qemu|kvm)['"]`)

// eachDomain calls visit with every qemu or kvm domain of the corpus. Links
// are left out: they would count a file twice.
func eachDomain(t *testing.T, visit func(name string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(corpus, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Ext(path) != ".xml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if domainRoot.Match(text) {
			visit(strings.TrimPrefix(path, corpus+"/"), text)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("the corpus is not there; fetch it with domainxml/corpus/fetch.sh: %v", err)
	}
}

// reason sorts a refusal for the table: its type, and the element it names.
func reason(err error) string {
	var syntax *SyntaxError
	var invalid *InvalidError
	var firmware *FirmwareError
	number := regexp.MustCompile(`\[\d+\]`)
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("SyntaxError: %s: %v", syntax.Reason, syntax.Err)
	case errors.As(err, &invalid):
		return "InvalidError: " + number.ReplaceAllString(invalid.Path, "") + ": " + number.ReplaceAllString(invalid.Reason, "")
	case errors.As(err, &firmware):
		return "FirmwareError: " + firmware.Path + ": " + firmware.Reason
	}
	return fmt.Sprintf("%T: %v", err, err)
}

func TestEveryDomainOfLibvirtsSuitesComesOutOrIsRefusedByName(t *testing.T) {
	var files, out, moved int
	refused, kinds, changes := make(map[string]int), make(map[string]int), make(map[string]int)
	eachDomain(t, func(name string, text []byte) {
		files++
		d, err := Parse(text)
		if err != nil {
			refused[reason(err)]++
			t.Logf("refused: %s: %v", name, err)
			return
		}
		for _, disk := range d.Disks() {
			kinds[string(disk.Kind)+": "+disk.Reason]++
		}
		edit := moveAll(d)
		got, err := Rewrite(text, edit)
		if err != nil {
			refused[reason(err)]++
			t.Logf("refused: %s: %v", name, err)
			var lost *LostError
			var unintended *UnintendedChangeError
			if errors.As(err, &lost) || errors.As(err, &unintended) {
				t.Errorf("%s: %v", name, err)
			}
			return
		}
		out++
		moved += len(edit.Disks)
		for _, c := range got.Changes {
			changes[regexp.MustCompile(`\[\d+\]`).ReplaceAllString(c.Path, "")]++
		}
		holds(t, name, text, got, edit)
	})
	t.Logf("%d files, %d came out (%.2f %%), %d disks moved", files, out, 100*float64(out)/float64(files), moved)
	table(t, "refused", refused)
	table(t, "disks", kinds)
	table(t, "changes", changes)
	if files < 4000 {
		t.Errorf("only %d files were found; the suites have more than 4,000", files)
	}
	if out*100 < files*98 {
		t.Errorf("%d of %d files came out, less than 98 %%", out, files)
	}
}

// holds checks what a rewritten domain must be, without Rewrite's own means.
func holds(t *testing.T, name string, text []byte, got Rewritten, edit Edit) {
	t.Helper()
	after, err := Parse(got.XML)
	if err != nil {
		t.Errorf("%s: the result can't be read: %v", name, err)
		return
	}
	if after.Name != edit.Name || after.UUID != edit.UUID {
		t.Errorf("%s: the clone is %s, %s", name, after.Name, after.UUID)
	}
	for i, n := range after.Interfaces() {
		if n.MAC != edit.MACs[i] {
			t.Errorf("%s: interface %d has the address %s", name, i, n.MAC)
		}
	}
	for _, de := range edit.Disks {
		disk, err := after.Disk(de.Target)
		if err != nil || disk.SourceType != "block" || disk.Path != de.Device || disk.Format != "raw" || disk.FormatAssumed {
			t.Errorf("%s: disk %s became %+v, %v", name, de.Target, disk, err)
		}
	}
	if origin, ok := after.Origin(); !ok || len(origin.Disks) != len(edit.Disks) {
		t.Errorf("%s: origin %+v", name, origin)
	}
	// Every line that did not change in meaning is there byte for byte.
	was, is := strings.Split(string(text), "\n"), strings.Split(string(got.XML), "\n")
	differ := 0
	for _, e := range middle(was, is) {
		if e.sign != ' ' {
			differ++
		}
	}
	limit := 4*len(got.Changes) + 3*len(edit.Disks) + 8
	for _, c := range got.Changes {
		limit += strings.Count(c.Old, "<") // an element that goes takes its lines along, of a tag each
	}
	if differ > limit {
		t.Errorf("%s: %d lines differ for %d changes", name, differ, len(got.Changes))
	}
}

func table(t *testing.T, title string, counts map[string]int) {
	t.Helper()
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%6d  %s\n", counts[name], name)
	}
	t.Logf("%s:\n%s", title, b.String())
}

// libvirt's own tests hold what it reads beside what it writes of it.
func TestLibvirtsOwnOutputIsNoLossToCompare(t *testing.T) {
	files := make(map[string][]byte)
	eachDomain(t, func(name string, text []byte) { files[name] = text })
	pairs, clean := 0, 0
	losses, reasons := make(map[string]int), make(map[string]int)
	for name, text := range files {
		stem, ok := strings.CutSuffix(name, ".xml")
		if !ok || strings.HasSuffix(stem, "-latest") {
			continue
		}
		out := files[strings.Replace(stem, "qemuxml2argvdata", "qemuxml2xmloutdata", 1)+".x86_64-latest.xml"]
		if out == nil {
			continue
		}
		pairs++
		got, err := Compare(text, out)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got.Lost) == 0 {
			clean++
		}
		for _, c := range got.Lost {
			losses[fmt.Sprintf("%s %s: %s -> %s", c.Op, regexp.MustCompile(`\[\d+\]`).ReplaceAllString(c.Path, ""), c.Old, c.New)]++
		}
		for _, c := range got.Normalised {
			reasons[c.Why]++
		}
	}
	t.Logf("%d pairs, %d without loss", pairs, clean)
	// The rest are inputs in forms that libvirt has long replaced, and things
	// it does lose; the table says which.
	if clean*100 < pairs*93 {
		t.Errorf("only %d of %d pairs are without loss", clean, pairs)
	}
	table(t, "normalised", reasons)
	table(t, "lost", losses)
}

func TestWhatIsNotModelledCanBeListedForEveryDomain(t *testing.T) {
	counts := make(map[string]int)
	eachDomain(t, func(name string, text []byte) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		paths, err := d.NotModelled()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, p := range paths {
			counts[regexp.MustCompile(`\[\d+\]`).ReplaceAllString(p, "")]++
		}
	})
	table(t, "not modelled", counts)
}
