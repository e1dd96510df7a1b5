package domainxml

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiffNamesWhatCameWentAndChanged(t *testing.T) {
	for _, c := range []struct {
		name, a, b string
		want       []Change
	}{
		{"order of attributes, quotes, blanks", `<a  x="1" y='2'><b></b></a>`, "<a y='2' x='1'>\n <b/>\n</a>", nil},
		{"CDATA is text", "<a>x&amp;y</a>", "<a><![CDATA[x&]]>y</a>", nil},
		{"an attribute", "<a><b x='1'/></a>", "<a><b x='2'/></a>", []Change{{Op: Changed, Path: "/a/b/@x", Old: "1", New: "2"}}},
		{"an attribute lost", "<a x='1' y=''/>", "<a x='1'/>", []Change{{Op: Removed, Path: "/a/@y"}}},
		{"a text", "<a><b>x</b></a>", "<a><b> x</b></a>", []Change{{Op: Changed, Path: "/a/b/text()", Old: "x", New: " x"}}},
		{"the second of two", "<a><b/><b x='1'/></a>", "<a><b/><b/></a>", []Change{{Op: Removed, Path: "/a/b[2]/@x", Old: "1"}}},
		{"an element in between", "<a><b/><d/></a>", "<a><b/><c x='1'>y</c><d/></a>", []Change{{Op: Added, Path: "/a/c", New: "<c x='1'>y</c>"}}},
		{"a comment lost", "<a><!--x--><b/></a>", "<a><b/></a>", []Change{{Op: Removed, Path: "/a/comment()"}}},
		{"a comment changed", "<a><!--x--><b/></a>", "<a><!--y--><b/></a>", []Change{{Op: Changed, Path: "/a/comment()", Old: "x", New: "y"}}},
		{"order of siblings", "<a><b/><c/></a>", "<a><c/><b/></a>", []Change{{Op: Removed, Path: "/a/b", Old: "<b/>"}, {Op: Added, Path: "/a/b", New: "<b/>"}}},
		{"another namespace of the same look", "<a><m:b xmlns:m='urn:1'/></a>", "<a><m:b xmlns:m='urn:2'/></a>", []Change{
			{Op: Removed, Path: "/a/m:b", Old: "<m:b xmlns:m='urn:1'/>"}, {Op: Added, Path: "/a/m:b", New: "<m:b xmlns:m='urn:2'/>"},
		}},
		{"a declaration lost", "<a xmlns:m='urn:1'><b/></a>", "<a><b/></a>", []Change{{Op: Removed, Path: "/a/@xmlns:m", Old: "urn:1"}}},
		{"a password", "<a><g passwd='x'/></a>", "<a><g passwd='y'/></a>", []Change{{Op: Changed, Path: "/a/g/@passwd", Old: "[redacted]", New: "[redacted]"}}},
		{"a password barred", "<a><g passwd=''/></a>", "<a><g/></a>", []Change{{Op: Removed, Path: "/a/g/@passwd"}}},
		{"an element with a password", "<a><g passwd='x'/><b/></a>", "<a><b/></a>", []Change{{Op: Removed, Path: "/a/g", Old: "<g passwd='[redacted]'/>"}}},
	} {
		got, err := Diff([]byte(c.a), []byte(c.b))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s:\n%s", c.name, d)
		}
	}
}

// Rewrite's guard is only as good as this: a loss anywhere is seen.
func TestEveryLossInARealDomainIsSeen(t *testing.T) {
	text := sample(t, "imap.xml")
	document, err := load(text)
	if err != nil {
		t.Fatal(err)
	}
	var spans []span
	for _, o := range document.origins {
		if o.start.to > o.start.from && strings.TrimSpace(string(text[o.start.from:o.start.to])) != "" && o.start.from > 0 {
			spans = append(spans, span{o.start.from, max(o.start.to, o.end.to)})
		}
	}
	for _, s := range spans {
		torn := append(append([]byte(nil), text[:s.from]...), text[s.to:]...)
		changes, err := Diff(text, torn)
		if err != nil || len(changes) == 0 {
			t.Errorf("the loss of %q is not seen: %v", text[s.from:s.to], err)
		}
	}
}

func TestTheGuardRefusesWhatWasNotMeant(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*editor)
		want  string
	}{
		"an attribute lost":   {func(e *editor) { e.root().Attr = nil }, "/domain/@type: would be lost (kvm)"},
		"an element lost":     {func(e *editor) { e.root().RemoveChildAt(kid(e.root(), "devices").Index()) }, "/domain/devices: would be lost"},
		"a text changed":      {func(e *editor) { kid(e.root(), "name").SetText("x") }, `/domain/name/text(): would change from "imap" to "x"`},
		"an element added":    {func(e *editor) { e.root().CreateElement("x") }, `/domain/x: would change from "" to "<x/>"`},
		"a change that isn't": {func(e *editor) { e.note(Changed, "/domain/title", "a", "b", "") }, "/domain/title: the intended change"},
	} {
		d, err := Parse(domain("<emulator>/usr/bin/kvm</emulator>"))
		if err != nil {
			t.Fatal(err)
		}
		e, err := newEditor(d, Edit{})
		if err != nil {
			t.Fatal(err)
		}
		c.spoil(e)
		if got, err := e.finish(); err == nil || !strings.HasPrefix(err.Error(), c.want) || got.XML != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCompareTellsNormalisationFromLoss(t *testing.T) {
	wanted := domain(
		"<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/a'/><target dev='vda' bus='virtio'/></disk>",
		"<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/b'/><target dev='vdb' bus='virtio'/><serial>B</serial></disk>",
		"<interface type='bridge'><mac address='52:54:00:AA:00:01'/><source bridge='br0'/><target dev='vnet1'/></interface>",
		"<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-1-imap/x'/><target type='virtio' name='x'/></channel>",
		"<graphics type='vnc' port='-1' autoport='yes' passwd=''/>",
		"<memballoon model='virtio'><address type='pci' slot='5'/></memballoon>",
	)
	dumped := domain(
		"<emulator>/usr/bin/qemu-system-x86_64</emulator>",
		"<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/b'/><target dev='vdb' bus='virtio'/><serial>B</serial><address type='pci'/></disk>",
		"<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/a'/><target dev='vda' bus='virtio'/></disk>",
		"<controller type='pci' index='0' model='pci-root'/>",
		"<interface type='bridge'><mac address='52:54:00:aa:00:01'/><source bridge='br0'/></interface>",
		"<channel type='unix'><target type='virtio' name='x'/></channel>",
		"<graphics type='vnc' port='-1' autoport='yes' passwd=''><listen type='address'/></graphics>",
		"<memballoon model='virtio'><address type='pci' slot='0x05'/></memballoon>",
	)
	got, err := Compare(wanted, dumped)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Lost) != 0 || len(got.Normalised) != 4 || len(got.Added) != 4 {
		t.Errorf("lost %v\nnormalised %v\nadded %v", got.Lost, got.Normalised, got.Added)
	}
	for _, c := range [][2]string{
		{" passwd=''", "/domain/devices/graphics/@passwd"},
		{"<serial>B</serial>", "/domain/devices/disk[2]/serial"},
		{"<source dev='/dev/a'/>", "/domain/devices/disk[1]/source"},
		{"<source bridge='br0'/>", "/domain/devices/interface/source"},
		{"<uuid>7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60</uuid>", "/domain/uuid"},
	} {
		got, err := Compare(wanted, []byte(strings.Replace(string(dumped), c[0], "", 1)))
		if err != nil || len(got.Lost) != 1 || got.Lost[0].Path != c[1] {
			t.Errorf("the loss of %s: %v, %v", c[0], got.Lost, err)
		}
	}
}

func TestOneSizeInTwoUnitsIsNoLoss(t *testing.T) {
	a := []byte("<domain><memory unit='GiB'>2</memory><vcpu cpuset='0-3,^2'>4</vcpu><x n='1'/></domain>")
	got, err := Compare(a, []byte("<domain><memory unit='KiB'>2097152</memory><vcpu cpuset='0-1,3'>4</vcpu><x n='1'/></domain>"))
	if err != nil || len(got.Lost) != 0 {
		t.Errorf("%v, %v", got.Lost, err)
	}
	got, err = Compare(a, []byte("<domain><memory unit='KiB'>2097151</memory><vcpu cpuset='0-2'>4</vcpu><x n='2'/></domain>"))
	if err != nil || len(got.Lost) != 4 {
		t.Errorf("%v, %v", got.Lost, err)
	}
}
