package domainxml

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// The texts are long, and shrinking each interesting one takes most of the
// time; so: go test -run - -fuzz FuzzRewrite -fuzzminimizetime 1x ./domainxml

func seeds(f *testing.F) {
	f.Helper()
	for _, name := range []string{"imap.xml", "odd.xml"} {
		f.Add(sample(f, name))
	}
	f.Add([]byte(laughs))
	f.Add(domain("<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>", "<interface type='user'/>"))
	f.Add(domain("<graphics type='spice' port='1' tlsPort='2'/>", "<serial type='unix'><source mode='bind' path='/imap'/></serial>"))
	f.Add([]byte("<domain type='kvm'><name>a<!-- b -->c</name><uuid/><metadata>x<y/></metadata><genid>1</genid></domain>"))
	f.Add([]byte("\ufeff<?xml version='1.0'?><domain type=\"qemu\" id='3'><name><![CDATA[a]]></name><os><nvram>a</nvram></os></domain>"))
}

// known reports whether an error is one of those the package promises.
func known(err error) bool {
	var (
		syntax   *SyntaxError
		large    *TooLargeError
		domain   *NotDomainError
		kind     *HypervisorError
		invalid  *InvalidError
		edit     *EditError
		firmware *FirmwareError
		lost     *LostError
		other    *UnintendedChangeError
	)
	return errors.As(err, &syntax) || errors.As(err, &large) || errors.As(err, &domain) || errors.As(err, &kind) || errors.As(err, &invalid) ||
		errors.As(err, &edit) || errors.As(err, &firmware) || errors.As(err, &lost) || errors.As(err, &other)
}

func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if err != nil {
			if !known(err) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if again := d.document.write(); !bytes.Equal(text, again) {
			t.Fatalf("read and written, %q became %q", text, again)
		}
		for _, disk := range d.Disks() {
			if disk.Target == "" || disk.Kind == "" || disk.Reason == "" || disk.Element == "" {
				t.Fatalf("%+v", disk)
			}
		}
		d.Firmware()
		d.Origin()
		if _, err := d.NotModelled(); err != nil && !known(err) {
			t.Fatal(err)
		}
		if changes, err := Diff(text, text); err != nil || len(changes) != 0 {
			t.Fatalf("a document differs from itself: %v, %v", changes, err)
		}
	})
}

func FuzzRewrite(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		edit := moveAll(d)
		got, err := Rewrite(text, edit)
		if err != nil {
			if !known(err) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		after, err := Parse(got.XML)
		if err != nil {
			t.Fatalf("the result can't be read: %v\n%s", err, got.XML)
		}
		if after.Name != edit.Name || !sameUUID(after.UUID, edit.UUID) {
			t.Fatalf("the clone is %q, %q", after.Name, after.UUID)
		}
		for _, de := range edit.Disks {
			if disk, err := after.Disk(de.Target); err != nil || disk.Path != de.Device || disk.SourceType != "block" || disk.Format != "raw" {
				t.Fatalf("disk %q became %+v, %v", de.Target, disk, err)
			}
		}
		if origin, ok := after.Origin(); !ok || origin.Name != d.Name || len(origin.Disks) != len(edit.Disks) {
			t.Fatalf("origin %+v", origin)
		}
		again, err := Rewrite(text, edit)
		if err != nil || !bytes.Equal(again.XML, got.XML) || !slices.Equal(again.Warnings, got.Warnings) {
			t.Fatalf("the same edit gave two results, %v", err)
		}
		if _, err := Rewrite(got.XML, Edit{}); err != nil {
			t.Fatalf("the result can't be rewritten: %v", err)
		}
		inverse(t, text, d)
	})
}

// inverse moves the disks that can be moved back, and back: type, source and
// driver type were those of a block device already.
func inverse(t *testing.T, text []byte, d *Domain) {
	t.Helper()
	there := Edit{Name: "other", UUID: d.UUID, MACs: make([]string, len(d.interfaces))}
	back := Edit{Name: d.Name, UUID: d.UUID, MACs: make([]string, len(d.interfaces))}
	for _, disk := range d.Disks() {
		if disk.Kind == Move && disk.SourceType == "block" && badPath(disk.Path) == "" && disk.Path != "/dev/there" {
			there.Disks = []DiskEdit{{Target: disk.Target, Device: "/dev/there"}}
			back.Disks = []DiskEdit{{Target: disk.Target, Device: disk.Path}}
		}
	}
	for i, n := range d.interfaces {
		if badMAC(n.MAC) == "" && there.MACs != nil && i == 0 {
			there.MACs[i], back.MACs[i] = "52:54:00:00:00:07", n.MAC
		}
	}
	moved, err := Rewrite(text, there)
	if err != nil {
		return
	}
	for _, c := range moved.Changes {
		// What is dropped, and a path with the new name, can't be undone by
		// an edit.
		if c.Op != Changed || strings.HasSuffix(c.Path, "/@path") || strings.HasSuffix(c.Path, "/@port") || strings.HasSuffix(c.Path, "/@autoport") ||
			strings.HasSuffix(c.Path, "/@tlsPort") || strings.HasSuffix(c.Path, "/@websocket") || strings.HasSuffix(c.Path, "/@auto") || strings.HasSuffix(c.Path, "/@discard") ||
			strings.HasSuffix(c.Path, "/@file") || strings.HasSuffix(c.Path, "/@socket") || strings.HasSuffix(c.Path, "/@logFile") || strings.Contains(c.Path, "/nvram") ||
			strings.Contains(c.Path, "/varstore") || strings.Contains(c.Path, "/path") {
			return
		}
	}
	restored, err := Rewrite(moved.XML, back)
	if err != nil {
		var bad *EditError
		if errors.As(err, &bad) {
			return // the original's own name or UUID is none that libvirt takes
		}
		t.Fatalf("the inverse edit: %v", err)
	}
	if changes, err := Diff(text, restored.XML); err != nil || len(changes) != 0 {
		t.Fatalf("there and back, %v differ (%v)", changes, err)
	}
}

func FuzzDiff(f *testing.F) {
	text := sample(f, "imap.xml")
	f.Add(text, bytes.ReplaceAll(text, []byte("vda"), []byte("vdx")))
	f.Add([]byte("<a><b/><c/><b/></a>"), []byte("<a><c/><b x='1'/></a>"))
	f.Add([]byte("<a xmlns='urn:a'>x<!--y--></a>"), []byte("<p:a xmlns:p='urn:a'>x</p:a>"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		there, err := Diff(a, b)
		if err != nil {
			return
		}
		back, err := Diff(b, a)
		if err != nil || (len(there) == 0) != (len(back) == 0) {
			t.Fatalf("one way %v, the other %v", there, back)
		}
		if _, err := Compare(a, b); err != nil {
			t.Fatal(err)
		}
		Unified(a, b, RenderOptions{From: "a", To: "b", Context: 3, Color: true})
	})
}
