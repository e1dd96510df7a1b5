package domainxml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// one rewrites a device and returns what it became, and the warnings.
func one(t *testing.T, device string, edit Edit) (string, []string) {
	t.Helper()
	got := clone(t, domain(device), edit)
	return strings.Join(inside(got.XML), ""), said(got.Warnings)
}

// said are the words of warnings.
func said(warnings []Warning) []string {
	var words []string
	for _, warning := range warnings {
		words = append(words, warning.Text)
	}
	return words
}

func TestConsolesThatWouldCollideGetAFreePort(t *testing.T) {
	for _, c := range [][2]string{
		{"<graphics type='vnc' port='5907' autoport='no' listen='::1' passwd='' keymap='de'/>", "<graphics type='vnc' port='-1' autoport='yes' listen='::1' passwd='' keymap='de'/>"},
		{"<graphics type='vnc' port='5907'/>", "<graphics type='vnc' port='-1' autoport='yes'/>"},
		{"<graphics type='vnc' port='5907' autoport='yes'/>", "<graphics type='vnc' port='5907' autoport='yes'/>"},
		{"<graphics type='vnc' port='-1' autoport='yes' websocket='5700'/>", "<graphics type='vnc' port='-1' autoport='yes' websocket='-1'/>"},
		{"<graphics type='vnc' port='-1'/>", "<graphics type='vnc' port='-1'/>"},
		{"<graphics type='vnc'/>", "<graphics type='vnc'/>"},
		{"<graphics type='spice' port='5900' tlsPort='5901' autoport='no' passwd='x' defaultMode='secure'/>", "<graphics type='spice' port='-1' tlsPort='-1' autoport='yes' passwd='x' defaultMode='secure'/>"},
		// A console with TLS only must not get a port without it.
		{"<graphics type='spice' tlsPort='5901' autoport='no'/>", "<graphics type='spice' tlsPort='-1' autoport='no'/>"},
		{"<graphics type='spice' port='5901'/>", "<graphics type='spice' port='-1'/>"},
		{"<graphics type='spice' autoport='yes' port='5901'/>", "<graphics type='spice' autoport='yes' port='5901'/>"},
		{"<graphics type='rdp' port='3389' multiUser='yes'/>", "<graphics type='rdp' port='-1' multiUser='yes' autoport='yes'/>"},
		{"<graphics type='sdl' display=':0'/>", "<graphics type='sdl' display=':0'/>"},
	} {
		if got, _ := one(t, c[0], Edit{}); got != c[1] {
			t.Errorf("%s became %s", c[0], got)
		}
	}
}

func TestHostSideDevicesAreFreed(t *testing.T) {
	for _, c := range [][3]string{
		{"<interface type='bridge'><target dev='vnet3'/></interface>", "<interface type='bridge'></interface>", ""},
		{"<interface type='bridge'><target dev='tap-imap'/></interface>", "<interface type='bridge'></interface>", ""},
		{"<interface type='ethernet'><target dev='tap0' managed='yes'/></interface>", "<interface type='ethernet'><target managed='yes'/></interface>", ""},
		{"<interface type='ethernet'><target dev='tap0' managed='no'/></interface>", "<interface type='ethernet'><target dev='tap0' managed='no'/></interface>", "tap0"},
		{"<interface type='user'><portForward proto='tcp'><range start='2022' to='22'/></portForward></interface>", "<interface type='user'><portForward proto='tcp'><range start='2022' to='22'/></portForward></interface>", "port 2022"},
		{"<vsock><cid auto='no' address='4'/></vsock>", "<vsock><cid auto='yes'/></vsock>", ""},
		{"<vsock><cid address='4'/></vsock>", "<vsock><cid auto='yes'/></vsock>", ""},
		{"<vsock><cid auto='yes' address='4'/></vsock>", "<vsock><cid auto='yes' address='4'/></vsock>", ""},
	} {
		got, warnings := one(t, c[0], Edit{})
		if got != c[1] {
			t.Errorf("%s became %s", c[0], got)
		}
		if warned := strings.Join(warnings, "; "); (c[2] == "") != (warned == "") || !strings.Contains(warned, c[2]) {
			t.Errorf("%s: warnings %q", c[0], warnings)
		}
	}
}

func TestEachInterfaceGetsItsAddressInTheOrderOfTheDocument(t *testing.T) {
	text := domain("<interface type='bridge'><mac address='52:54:00:AA:00:01'/></interface>", "<interface type='bridge'><model type='e1000'/></interface>", "<interface type='bridge'><mac address='52:54:00:aa:00:03' type='static'/></interface>")
	got := clone(t, text, Edit{MACs: []string{"52:54:00:bb:00:01", "52:54:00:bb:00:02", ""}})
	want := []string{
		"<interface type='bridge'><mac address='52:54:00:bb:00:01'/></interface>",
		"<interface type='bridge'><mac address='52:54:00:bb:00:02'/><model type='e1000'/></interface>",
		"<interface type='bridge'><mac address='52:54:00:aa:00:03' type='static'/></interface>",
	}
	if d := cmp.Diff(want, inside(got.XML)); d != "" {
		t.Error(d)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0].Text, "52:54:00:aa:00:03") {
		t.Errorf("the kept address is not warned about: %q", said(got.Warnings))
	}
	kept := clone(t, text, Edit{})
	if len(kept.Warnings) != 1 || !strings.Contains(kept.Warnings[0].Text, "must never run at the same time") {
		t.Errorf("kept addresses are not warned about: %q", said(kept.Warnings))
	}
}

func TestFilesCalledAfterTheOriginalAreCalledAfterTheClone(t *testing.T) {
	for _, c := range [][3]string{
		{"<serial type='file'><source path='/l/imap.log'/></serial>", "<serial type='file'><source path='/l/imap-luks.log'/></serial>", ""},
		{"<serial type='file'><source path='/l/imap2.log'/></serial>", "<serial type='file'><source path='/l/imap2.log'/></serial>", "imap2.log"},
		{"<serial type='unix'><source mode='bind' path='/s/x_imap.sock'/></serial>", "<serial type='unix'><source mode='bind' path='/s/x_imap-luks.sock'/></serial>", ""},
		{"<serial type='unix'><source mode='connect' path='/s/imap'/></serial>", "<serial type='unix'><source mode='connect' path='/s/imap-luks'/></serial>", "another program must listen"},
		{"<serial type='pty'><log file='/l/imap/serial.log' append='on'/></serial>", "<serial type='pty'><log file='/l/imap-luks/serial.log' append='on'/></serial>", "folder /l/imap-luks must exist"},
		{"<console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/></console>", "<console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/></console>", ""},
		{"<serial type='dev'><source path='/dev/imap'/></serial>", "<serial type='dev'><source path='/dev/imap'/></serial>", ""},
		{"<serial type='tcp'><source mode='bind' host='127.0.0.1' service='4555'/></serial>", "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='4555'/></serial>", "port 4555"},
		{"<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-3-imap/a'/></channel>", "<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-3-imap-luks/a'/></channel>", ""},
		{"<channel type='unix'><source mode='bind' path='/run/libvirt/qemu/channel/3-other/a'/></channel>", "<channel type='unix'><source mode='bind' path='/run/libvirt/qemu/channel/3-other/a'/></channel>", ""},
		{"<graphics type='vnc'><listen type='socket' socket='/s/imap.vnc'/></graphics>", "<graphics type='vnc'><listen type='socket' socket='/s/imap-luks.vnc'/></graphics>", ""},
		{"<interface type='vhostuser'><source type='unix' path='/s/imap-net' mode='server'/></interface>", "<interface type='vhostuser'><source type='unix' path='/s/imap-luks-net' mode='server'/></interface>", ""},
		{"<panic model='isa'/><pstore backend='acpi-erst'><path>/l/imap.ps</path></pstore>", "<panic model='isa'/><pstore backend='acpi-erst'><path>/l/imap-luks.ps</path></pstore>", ""},
		{"<filesystem type='mount'><source dir='/srv/imap'/><target dir='t'/></filesystem>", "<filesystem type='mount'><source dir='/srv/imap'/><target dir='t'/></filesystem>", "not moved"},
		{"<filesystem type='mount'><driver type='virtiofs'/><source socket='/s/fs'/></filesystem>", "<filesystem type='mount'><driver type='virtiofs'/><source socket='/s/fs'/></filesystem>", "/s/fs"},
		{"<memory model='nvdimm'><source><path>/srv/imap.nv</path></source></memory>", "<memory model='nvdimm'><source><path>/srv/imap.nv</path></source></memory>", "not moved"},
		{"<disk type='file' device='cdrom'><source file='/iso/imap.iso'/><target dev='sda'/></disk>", "<disk type='file' device='cdrom'><source file='/iso/imap.iso'/><target dev='sda'/></disk>", ""},
	} {
		got, warnings := one(t, c[0], Edit{})
		if got != c[1] {
			t.Errorf("%s became %s", c[0], got)
		}
		if warned := strings.Join(warnings, "; "); (c[2] == "") != (warned == "") || !strings.Contains(warned, c[2]) {
			t.Errorf("%s: warnings %q", c[0], warnings)
		}
	}
}

func TestASocketTooLongForTheKernelIsWarnedAbout(t *testing.T) {
	got, err := Rewrite(domain("<serial type='unix'><source mode='bind' path='/s/imap'/></serial>"), Edit{Name: strings.Repeat("x", 200), UUID: cloneUUID})
	if err != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0].Text, "107 bytes") {
		t.Errorf("%q, %v", said(got.Warnings), err)
	}
}

func TestAWordIsFoundOnlyBetweenOtherThanLettersAndDigits(t *testing.T) {
	for _, c := range [][4]string{
		{"/a/imap.sock", "imap", "x", "/a/x.sock"},
		{"/a/imap2.sock", "imap", "x", "/a/imap2.sock"},
		{"/a/dimap.sock", "imap", "x", "/a/dimap.sock"},
		{"/imap/imap_1/domain-3-imap", "imap", "x", "/imap/imap_1/domain-3-x"},
		{"/imap/imap_1/org.x", "imap", "x", "/imap/x_1/org.x"},
		{"/var/log/guests/serial.log", "log", "x", "/var/log/guests/serial.x"},
		{"imap", "imap", "x", "x"},
		{"/imap/", "imap", "x", "/x/"},
		{"/b/aa/aaa/a-a", "a", "bb", "/b/aa/aaa/bb-bb"},
		{"/a/imapimap-imap", "imap", "x", "/a/imapimap-x"},
		{"/a/täst.log", "täst", "x", "/a/x.log"},
		{"/a/ätäst.log", "täst", "x", "/a/ätäst.log"},
		{"/a/mail server (alt).log", "mail server (alt)", "x", "/a/x.log"},
		{"/a/b", "", "x", "/a/b"},
	} {
		if got := renamed(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%q in %q became %q", c[1], c[0], got)
		}
	}
}

func TestIdentityOutsideTheNameAndUUIDFollows(t *testing.T) {
	text := []byte(`<domain type='kvm' id='7'>
  <name>imap</name>
  <uuid>7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60</uuid>
  <genid>e9392370-2917-565e-692b-d057f46512d6</genid>
  <title>imap</title>
  <description>imap</description>
  <sysinfo type='smbios'><system><entry name='uuid'>7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60</entry><entry name='serial'>imap</entry></system></sysinfo>
</domain>`)
	got := clone(t, text, Edit{})
	want := strings.NewReplacer(" id='7'", "", "<name>imap<", "<name>imap-luks<", "7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60", cloneUUID, "e9392370-2917-565e-692b-d057f46512d6", "").Replace(string(text))
	if d := cmp.Diff(want, string(got.XML)); d != "" {
		t.Error(d)
	}
	bare := clone(t, []byte("<domain type='qemu'>\n  <name>imap</name>\n</domain>"), Edit{})
	if want := "<domain type='qemu'>\n  <name>imap-luks</name>\n  <uuid>" + cloneUUID + "</uuid>\n</domain>"; string(bare.XML) != want {
		t.Errorf("a domain without a UUID became %s", bare.XML)
	}
}

func TestFirmwareStateIsNeverSharedUnsaid(t *testing.T) {
	os := func(s string) []byte {
		return []byte("<domain type='kvm'><name>imap</name><os>" + s + "</os></domain>")
	}
	for _, c := range []struct{ xml, nvram, want, warning string }{
		{"<nvram template='/t'>/n/imap_VARS.fd</nvram>", "", "<nvram template='/t'>/n/imap-luks_VARS.fd</nvram>", ""},
		{"<nvram>/n/other.fd</nvram>", "", "<nvram>/n/other.fd</nvram>", "original's firmware variables"},
		{"<nvram>/n/other.fd</nvram>", "/n/mine.fd", "<nvram>/n/mine.fd</nvram>", ""},
		{"<nvram template='/t'/>", "", "<nvram template='/t'/>", ""},
		{"<nvram template='/t'/>", "/n/mine.fd", "<nvram template='/t'>/n/mine.fd</nvram>", ""},
		{"<nvram type='file'><source file='/n/imap.fd'/></nvram>", "/n/mine.fd", "<nvram type='file'><source file='/n/mine.fd'/></nvram>", ""},
		{"<varstore template='/t' path='/n/imap.json'/>", "", "<varstore template='/t' path='/n/imap-luks.json'/>", ""},
	} {
		got := clone(t, os(c.xml), Edit{NVRAM: c.nvram})
		if !strings.Contains(string(got.XML), "<os>"+c.want+"</os>") {
			t.Errorf("%s became %s", c.xml, got.XML)
		}
		if warned := strings.Join(said(got.Warnings), "; "); (c.warning == "") != (warned == "") || !strings.Contains(warned, c.warning) {
			t.Errorf("%s: warnings %q", c.xml, said(got.Warnings))
		}
	}
	for _, kind := range []string{"block", "network"} {
		_, err := Rewrite(os("<nvram type='"+kind+"'><source/></nvram>"), Edit{Name: "x"})
		var bad *FirmwareError
		if !errors.As(err, &bad) || bad.Path != "/domain/os/nvram" {
			t.Errorf("%s: %v", kind, err)
		}
	}
	got, _ := one(t, "<tpm><backend type='emulator'><source type='dir' path='/t/imap'/></backend></tpm>", Edit{TPMState: "/t/mine"})
	if want := "<tpm><backend type='emulator'><source type='dir' path='/t/mine'/></backend></tpm>"; got != want {
		t.Errorf("TPM state became %s", got)
	}
}

func TestFirmwareFactsAreRead(t *testing.T) {
	d, err := Parse([]byte(`<domain type='kvm'><name>imap</name>
<os firmware='efi'><loader type='pflash'>/usr/share/OVMF/CODE.fd</loader><nvram template='/t' format='qcow2'> /n/imap.qcow2 </nvram></os>
<devices><tpm model='tpm-crb'><backend type='emulator' version='2.0'><encryption secret='b4a117f1-8af2-44a4-91b8-7f0d2d4d68a3'/></backend></tpm><tpm><backend type='passthrough'/></tpm></devices></domain>`))
	if err != nil {
		t.Fatal(err)
	}
	want := Firmware{
		Auto: "efi", Loader: "/usr/share/OVMF/CODE.fd",
		NVRAM: &NVRAM{Type: "file", Path: "/n/imap.qcow2", Format: "qcow2", Template: "/t", Element: "/domain/os/nvram"},
		TPMs: []TPM{
			{Backend: "emulator", Version: "2.0", Secret: "b4a117f1-8af2-44a4-91b8-7f0d2d4d68a3", Element: "/domain/devices/tpm[1]"},
			{Backend: "passthrough", Element: "/domain/devices/tpm[2]"},
		},
	}
	if diff := cmp.Diff(want, d.Firmware()); diff != "" {
		t.Error(diff)
	}
}

// A guest that only takes another name keeps all that belongs to it: its ports,
// logs, generation ID and firmware.
func TestTheSameGuestUnderAnotherNameDiffersInItsIdentityAlone(t *testing.T) {
	for _, name := range []string{"imap.xml", "desk.xml", "odd.xml"} {
		text := sample(t, name)
		d, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		edit := Edit{Same: true, Name: "imap-plain", UUID: cloneUUID}
		for i := range d.Interfaces() {
			edit.MACs = append(edit.MACs, fmt.Sprintf("52:54:00:ab:cd:%02x", i))
		}
		got, err := Rewrite(text, edit)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range got.Changes {
			if path := change.Path; path != "/domain/name/text()" && path != "/domain/uuid/text()" && !strings.HasSuffix(path, "/mac/@address") && !strings.HasPrefix(path, "/domain/sysinfo") {
				t.Errorf("%s: %s changes: %s", name, path, change.Why)
			}
		}
		if len(got.Warnings) > 0 {
			t.Errorf("%s: %q", name, said(got.Warnings))
		}
		back := Edit{Same: true, Name: d.Name, UUID: d.UUID}
		for _, i := range d.Interfaces() {
			back.MACs = append(back.MACs, i.MAC)
		}
		again, err := Rewrite(got.XML, back)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.XML, text) {
			t.Errorf("%s: back again it is\n%s", name, again.XML)
		}
	}
}

func TestWhereACloneComesFromIsChangedInItsPlace(t *testing.T) {
	text := []byte(`<domain type='kvm'>
  <name>imap-luks</name>
  <metadata>
    <vm:clone xmlns:vm='` + Namespace + `' job='1'>
      <vm:origin name='imap' uuid='` + cloneUUID + `'/>
      <vm:started time='2026'/>
    </vm:clone>
  </metadata>
</domain>`)
	cutover := &Cutover{Name: "imap-luks", UUID: cloneUUID, MACs: []string{"52:54:00:12:34:56"}, Autostart: true, Time: "2027"}
	forth, err := Rewrite(text, Edit{Same: true, Name: "imap", Origin: &Origin{UUID: "6c1b5a5e-5a0e-4d2c-8a34-0d3c6d1d1a01", Cutover: cutover}})
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := ReadOrigin(forth.XML)
	if err != nil || got.Job != "1" || got.Started != "2026" || got.UUID != "6c1b5a5e-5a0e-4d2c-8a34-0d3c6d1d1a01" || got.Cutover == nil || got.Cutover.MACs[0] != cutover.MACs[0] {
		t.Errorf("%+v, %v\n%s", got, err, forth.XML)
	}
	back, err := Rewrite(forth.XML, Edit{Same: true, Name: "imap-luks", Origin: &Origin{UUID: cloneUUID}})
	if err != nil || !bytes.Equal(back.XML, text) {
		t.Errorf("%v\n%s", err, back.XML)
	}
	var bad *EditError
	if _, err := Rewrite([]byte("<domain type='kvm'><name>a</name></domain>"), Edit{Same: true, Origin: &Origin{}}); !errors.As(err, &bad) {
		t.Errorf("what is no clone: %v", err)
	}
}
