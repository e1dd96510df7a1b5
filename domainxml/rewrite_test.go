package domainxml

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update writes the golden files anew, for review in the diff:
// go test ./domainxml -update
var update = flag.Bool("update", false, "write golden files anew")

// sample reads a domain of testdata.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s is out of date; look at the difference and run with -update:\n%s", name, d)
	}
}

// domain is a small domain with the given devices, one a line.
func domain(devices ...string) []byte {
	return []byte(`<domain type='kvm'>
  <name>imap</name>
  <uuid>7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60</uuid>
  <devices>
    ` + strings.Join(devices, "\n    ") + `
  </devices>
</domain>
`)
}

// clone rewrites with a new name and UUID.
func clone(t *testing.T, text []byte, edit Edit) Rewritten {
	t.Helper()
	edit.Name, edit.UUID = "imap-luks", cloneUUID
	got, err := Rewrite(text, edit)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// inside is the lines between <devices> and </devices>, trimmed.
func inside(text []byte) []string {
	var got []string
	_, rest, _ := strings.Cut(string(text), "<devices>\n")
	rest, _, _ = strings.Cut(rest, "</devices>")
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); line != "" {
			got = append(got, line)
		}
	}
	return got
}

const cloneUUID = "0f4d5e6a-1111-4222-8333-944455556666"

// moveAll is an edit that changes everything it can.
func moveAll(d *Domain) Edit {
	edit := Edit{
		Name: d.Name + "-luks", UUID: cloneUUID, MACs: make([]string, len(d.Interfaces())),
		Origin: &Origin{Job: "20260101-1", Name: d.Name, UUID: d.UUID},
	}
	for i := range edit.MACs {
		edit.MACs[i] = fmt.Sprintf("52:54:00:ff:%02x:%02x", i/256, i%256)
	}
	for i, disk := range d.Disks() {
		if disk.Kind == Move {
			mapper := fmt.Sprintf("cr_%d", i)
			edit.Disks = append(edit.Disks, DiskEdit{Target: disk.Target, Device: "/dev/mapper/" + mapper, GuestSize: int64(i%2) * 512})
			edit.Origin.Disks = append(edit.Origin.Disks, OriginDisk{Target: disk.Target, Source: disk.Path, VG: "vg0", LV: "lv", LUKS: cloneUUID, Mapper: mapper})
		}
	}
	return edit
}

func TestAnEmptyEditChangesNoByte(t *testing.T) {
	for _, name := range []string{"imap.xml", "odd.xml"} {
		text := sample(t, name)
		got, err := Rewrite(text, Edit{})
		if err != nil {
			t.Fatal(err)
		}
		if string(got.XML) != string(text) || len(got.Changes) != 0 || len(got.Warnings) != 0 {
			t.Errorf("%s: changes %v, warnings %v", name, got.Changes, got.Warnings)
		}
	}
}

// The whole of it, to be read: what changes, why, and what is warned about.
func TestACloneDiffersOnlyWhereItIsMeantTo(t *testing.T) {
	text := sample(t, "imap.xml")
	got := clone(t, text, Edit{
		MACs: []string{"52:54:00:00:00:01", "52:54:00:00:00:02"},
		Disks: []DiskEdit{
			{Target: "vda", Device: "/dev/mapper/cr_imap_vda"},
			{Target: "vdb", Device: "/dev/mapper/cr_imap_vdb", GuestSize: 1_000_448},
		},
		Origin: &Origin{Job: "20260101-1", Name: "imap", UUID: "7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60", Disks: []OriginDisk{
			{Target: "vda", Source: "/dev/vg0/lvimap_hd0", VG: "vg0", LV: "imap-vda-luks", LUKS: cloneUUID, Mapper: "cr_imap_vda"},
		}},
	})
	var report strings.Builder
	for _, c := range got.Changes {
		fmt.Fprintf(&report, "%s %s\n  - %s\n  + %s\n  because %s\n", c.Op, c.Path, c.Old, c.New, c.Why)
	}
	for _, w := range said(got.Warnings) {
		fmt.Fprintf(&report, "warning: %s\n", w)
	}
	golden(t, "imap.diff", Unified(text, got.XML, RenderOptions{From: "imap", To: "imap-luks", Context: 0}))
	golden(t, "imap.changes", report.String())
}

// The owner's strange text is none of our business: mixed quotes, no quotes'
// order, CRLF, empty elements with end tags, blanks in tags, entities, CDATA.
func TestOddTextStaysByteForByteAroundTheChanges(t *testing.T) {
	text := string(sample(t, "odd.xml"))
	got := clone(t, []byte(text), Edit{Disks: []DiskEdit{{Target: "vda", Device: "/dev/mapper/it's"}}})
	want := text
	for _, r := range [][2]string{
		{"<name >imap</name\t>", "<name >imap-luks</name\t>"},
		{"7AB5DAE4-2A1C-4C38-A1C5-1B2C3D4E5F60", cloneUUID},
		{`<disk device = "disk"   type="file">`, `<disk device = "disk"   type="block">`},
		{"<source\r\n        file = '/srv/&apos;a&apos;.img'></source>", "<source dev='/dev/mapper/it&apos;s'></source>"},
	} {
		if !strings.Contains(want, r[0]) {
			t.Fatalf("odd.xml has no %q", r[0])
		}
		want = strings.Replace(want, r[0], r[1], 1)
	}
	if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(string(got.XML), "\n")); d != "" {
		t.Error(d)
	}
}

func TestTheInverseEditGivesTheOriginalBack(t *testing.T) {
	text := domain(
		"<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg0/a'/><target dev='vda'/></disk>",
		`<interface type="network"><mac address="52:54:00:aa:bb:01"/></interface>`,
	)
	got := clone(t, text, Edit{Disks: []DiskEdit{{Target: "vda", Device: "/dev/mapper/a"}}, MACs: []string{"52:54:00:00:00:01"}})
	back, err := Rewrite(got.XML, Edit{
		Name: "imap", UUID: "7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60",
		Disks: []DiskEdit{{Target: "vda", Device: "/dev/vg0/a"}}, MACs: []string{"52:54:00:aa:bb:01"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(text), string(back.XML)); d != "" {
		t.Error(d)
	}
}

func TestEditsThatCannotBeRightAreRefusedBeforeAnything(t *testing.T) {
	text := domain(
		"<disk type='block' device='disk'><source dev='/dev/vg0/a'/><target dev='vda'/></disk>",
		"<disk type='block' device='disk'><source dev='/dev/vg0/b'/><target dev='vdb'/></disk>",
		"<interface type='network'/>", "<interface type='network'/>",
	)
	for field, edit := range map[string]Edit{
		"Name":                 {Name: "a/b"},
		"UUID":                 {UUID: "not-a-uuid"},
		"MACs":                 {MACs: []string{"52:54:00:00:00:01"}},
		"MACs[0]":              {MACs: []string{"nonsense", ""}},
		"MACs[1]":              {MACs: []string{"52:54:00:00:00:0a", "52:54:00:00:00:0A"}},
		"Disks[vda]":           {Disks: []DiskEdit{{Target: "vda", Device: "/dev/a"}, {Target: "vda", Device: "/dev/b"}}},
		"Disks[vda].Device":    {Disks: []DiskEdit{{Target: "vda", Device: "relative"}}},
		"Disks[vdb].Device":    {Disks: []DiskEdit{{Target: "vda", Device: "/dev/a"}, {Target: "vdb", Device: "/dev/a"}}},
		"Disks[vda].GuestSize": {Disks: []DiskEdit{{Target: "vda", Device: "/dev/a", GuestSize: 1000}}},
		"NVRAM":                {NVRAM: "/var/lib/x_VARS.fd"},
		"TPMState":             {TPMState: "/var/lib/x"},
		"Origin":               {Origin: &Origin{Name: "a\x00b"}},
	} {
		_, err := Rewrite(text, edit)
		var bad *EditError
		if !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, name := range []string{" ", ".", "..", "a\nb", "a\x01b", "a\xffb"} {
		var bad *EditError
		if _, err := Rewrite(text, Edit{Name: name}); !errors.As(err, &bad) {
			t.Errorf("the name %q: %v", name, err)
		}
	}
	var none *NoDiskError
	if _, err := Rewrite(text, Edit{Disks: []DiskEdit{{Target: "vdx", Device: "/dev/a"}}}); !errors.As(err, &none) || cmp.Diff([]string{"vda", "vdb"}, none.Have) != "" {
		t.Errorf("a target that is not there: %v", err)
	}
}

func TestNamesThatAreHardToWriteAreWrittenRight(t *testing.T) {
	text := domain("<disk type='block' device='disk'><source dev='/dev/vg0/a'/><target dev='vda'/></disk>")
	for _, name := range []string{"mail server (alt)", "-rf", "täst", strings.Repeat("x", 200), `a&b<c>"d'e`, "日本\u00a0", "a]]>b", "-->"} {
		device := "/dev/mapper/" + name
		got, err := Rewrite(text, Edit{Name: name, UUID: cloneUUID, Disks: []DiskEdit{{Target: "vda", Device: device}}, Origin: &Origin{Job: name, Name: name}})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		after, err := Parse(got.XML)
		if err != nil {
			t.Fatal(err)
		}
		disk, _ := after.Disk("vda")
		origin, _ := after.Origin()
		if after.Name != name || disk.Path != device || origin.Job != name || origin.Name != name {
			t.Errorf("%q came back as %q, %q, %+v", name, after.Name, disk.Path, origin)
		}
	}
}
