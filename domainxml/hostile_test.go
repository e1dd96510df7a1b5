package domainxml

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"
)

// A billion laughs (CVE-2003-1564) and its kin need a DOCTYPE.
const laughs = `<?xml version="1.0"?>
<!DOCTYPE domain [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<domain type='kvm'><name>&b;</name></domain>`

func TestTextsThatLibvirtWouldNotReadAreRefusedWithTheirLine(t *testing.T) {
	wide := utf16.Encode([]rune("\ufeff<domain type='kvm'/>"))
	var utf16le []byte
	for _, u := range wide {
		utf16le = append(utf16le, byte(u), byte(u>>8))
	}
	for name, c := range map[string]struct {
		text   string
		line   int
		reason string
	}{
		"empty":                    {"", 0, "no element"},
		"only blanks":              {" \n\t", 0, "no element"},
		"billion laughs":           {laughs, 2, "DOCTYPE"},
		"an external entity":       {"<!DOCTYPE domain SYSTEM \"file:///etc/passwd\">\n<domain type='kvm'/>", 1, "DOCTYPE"},
		"an unknown entity":        {"<domain type='kvm'>\n<name>&x;</name></domain>", 2, "not well-formed"},
		"a NUL":                    {"<domain type='kvm'>\n<name>a\x00b</name></domain>", 2, "NUL"},
		"a NUL by reference":       {"<domain type='kvm'><name>&#0;</name></domain>", 1, "not well-formed"},
		"a control character":      {"<domain type='kvm'><name>\x01</name></domain>", 1, "not well-formed"},
		"not UTF-8":                {"<domain type='kvm'>\n\n<name>t\xe4st</name></domain>", 3, "not valid UTF-8"},
		"UTF-16":                   {string(utf16le), 1, "UTF-16"},
		"declared Latin-1":         {"<?xml version='1.0' encoding='ISO-8859-1'?><domain type='kvm'/>", 1, "not well-formed"},
		"two roots":                {"<domain type='kvm'/>\n<domain type='kvm'/>", 2, "second root"},
		"text behind the root":     {"<domain type='kvm'/>\nboo", 2, "outside"},
		"text before the root":     {"boo <domain type='kvm'/>", 1, "outside"},
		"a declaration too late":   {"\n<?xml version='1.0'?><domain type='kvm'/>", 2, "declaration"},
		"not closed":               {"<domain type='kvm'><name>", 1, "<name> is not closed"},
		"closed crosswise":         {"<domain><a><b></a></b></domain>", 1, "closed by </a>"},
		"closed twice":             {"<domain/></domain>", 1, "closes nothing"},
		"an attribute twice":       {"<domain type='kvm' type='xen'/>", 1, "the attribute type twice"},
		"an attribute unquoted":    {"<domain type=kvm/>", 1, "not well-formed"},
		"JSON":                     {"{\"domain\": {}}", 1, "outside"},
		"a torn multi-byte letter": {"<domain type='kvm'><name>\xe2\x82", 1, "not valid UTF-8"},
	} {
		_, err := Parse([]byte(c.text))
		var bad *SyntaxError
		if !errors.As(err, &bad) || bad.Line != c.line || !strings.Contains(bad.Error(), c.reason) {
			t.Errorf("%s: %v", name, err)
		}
		if _, again := Rewrite([]byte(c.text), Edit{Name: "x"}); again == nil || again.Error() != err.Error() {
			t.Errorf("%s: Rewrite says %v", name, again)
		}
	}
}

func TestDocumentsThatAreNoQEMUDomainAreRefused(t *testing.T) {
	var root *NotDomainError
	for _, text := range []string{"<network/>", "<domainsnapshot><domain type='kvm'/></domainsnapshot>", "<x:domain xmlns:x='urn:x' type='kvm'/>", "<domain xmlns='urn:x' type='kvm'/>"} {
		if _, err := Parse([]byte(text)); !errors.As(err, &root) {
			t.Errorf("%s: %v", text, err)
		}
	}
	var other *HypervisorError
	for _, text := range []string{"<domain/>", "<domain type='xen'><name>x</name></domain>", "<domain type='KVM'><name>x</name></domain>"} {
		if _, err := Parse([]byte(text)); !errors.As(err, &other) {
			t.Errorf("%s: %v", text, err)
		}
	}
	var invalid *InvalidError
	for _, text := range []string{"<domain type='kvm'/>", "<domain type='kvm'><name> </name></domain>", "<domain type='kvm'><name>a</name><name>b</name></domain>", "<domain type='kvm'><x:name xmlns:x='urn:x'>a</x:name></domain>"} {
		if _, err := Parse([]byte(text)); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// cpu is the processor time this process has used: on a busy machine, the
// clock on the wall says little.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Whatever is thrown at it, the answer comes within a second (more under the
// race detector) and with some 200 MiB allocated, most of it garbage.
func TestHugeTextsAreRefusedQuicklyAndInBoundedMemory(t *testing.T) {
	const open, shut = "<domain type='kvm'><name>a</name>", "</domain>"
	repeat := func(s string, bytes int) string { return strings.Repeat(s, bytes/len(s)) }
	for _, c := range []struct{ name, text string }{
		{"100 MB of blanks", open + repeat(" ", 100<<20) + shut},
		{"100 MB without an end", open + repeat("<a>", 100<<20)},
		{"deep nesting", open + repeat("<a>", MaxBytes/2)},
		{"deep nesting, closed", open + strings.Repeat("<a>", maxLevels) + strings.Repeat("</a>", maxLevels) + shut},
		{"many elements", open + repeat("<a/>", MaxBytes-64) + shut},
		{"many attributes", "<domain type='kvm' " + repeat("a='' ", MaxBytes-64) + "/>"},
		{"many comments", open + repeat("<!---->", MaxBytes-64) + shut},
	} {
		refused(t, c.name, []byte(c.text))
	}
}

// endless is a file without an end, such as /dev/zero.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestNoMoreIsReadThanCanBeADomain(t *testing.T) {
	var large *TooLargeError
	if text, err := ReadText(endless{}); !errors.As(err, &large) || text != nil {
		t.Errorf("%v", err)
	}
	if text, err := ReadText(strings.NewReader("<domain/>")); err != nil || string(text) != "<domain/>" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := ReadText(iotest.ErrReader(errors.New("torn"))); err == nil || err.Error() != "torn" {
		t.Errorf("%v", err)
	}
}

func refused(t *testing.T, name string, text []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := cpu(t)
	_, err := Rewrite(text, Edit{Name: "x"})
	took := cpu(t) - begin
	runtime.ReadMemStats(&after)
	var bad *TooLargeError
	if !errors.As(err, &bad) {
		t.Errorf("%s: %v", name, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; took > patience || used > 256<<20 {
		t.Errorf("%s: took %s and %d MiB", name, took, used>>20)
	}
}

// Texts just within the limits, of the shapes that cost most.
func TestTextsWithinTheLimitsAreQuickToo(t *testing.T) {
	var names bytes.Buffer
	for i := range 20_000 {
		names.WriteString("<y z" + strings.Repeat("q", i%7) + "='1'/>")
	}
	var spaces strings.Builder
	for i := range 200 {
		spaces.WriteString("<n:a xmlns:n='urn:" + strings.Repeat("x", i) + "' n:b='1'>")
	}
	deep := spaces.String() + strings.Repeat("<n:c n:d='1'/>", 20_000) + strings.Repeat("</n:a>", 200)
	for name, inner := range map[string]string{
		"one long text":        "<description>" + strings.Repeat("x", MaxBytes-200) + "</description>",
		"many siblings":        strings.Repeat("<x/>", 99_000),
		"many namesakes":       names.String(),
		"namespaces in a nest": deep,
		"long names in a nest": strings.Repeat("<"+strings.Repeat("n", 5000)+">", 200) + strings.Repeat("</"+strings.Repeat("n", 5000)+">", 200),
		"name after name":      "<devices><serial type='file'><source path='/" + strings.Repeat("a-", MaxBytes/4) + "'/></serial></devices>",
	} {
		text := []byte("<domain type='kvm'><name>a</name>" + inner + "</domain>")
		begin := cpu(t)
		if _, err := Rewrite(text, Edit{Name: "b", UUID: cloneUUID}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rewrite := cpu(t) - begin
		d, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		begin = cpu(t)
		if _, err := d.NotModelled(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		compare := cpu(t) - begin
		if max(rewrite, compare) > 2*patience {
			t.Errorf("%s: rewritten in %s, compared in %s", name, rewrite, compare)
		}
	}
}
