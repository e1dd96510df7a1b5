package domainxml

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAClonesOriginIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-zA-Z0-9 äé<>&'"\t/_-]{0,12}`)
		want := Origin{Job: word.Draw(t, "job"), Name: word.Draw(t, "name"), UUID: cloneUUID}
		for range rapid.IntRange(0, 3).Draw(t, "disks") {
			want.Disks = append(want.Disks, OriginDisk{
				Target: word.Draw(t, "target"), Source: word.Draw(t, "source"), VG: word.Draw(t, "vg"),
				LV: word.Draw(t, "lv"), LUKS: word.Draw(t, "luks"), Mapper: word.Draw(t, "mapper"),
				SourceSize: rapid.Int64Min(0).Draw(t, "size"), SourceID: word.Draw(t, "id"),
			})
		}
		for i := range want.Disks {
			if rapid.Bool().Draw(t, "on a file system") {
				want.Disks[i].Filesystem = &OriginFilesystem{Type: "xfs", UUID: cloneUUID, Mount: "/" + word.Draw(t, "mount"), Image: word.Draw(t, "image"), Discards: rapid.Bool().Draw(t, "discards")}
			}
		}
		want.Started = word.Draw(t, "started")
		if rapid.Bool().Draw(t, "cut over") {
			want.Cutover = &Cutover{Name: word.Draw(t, "former"), UUID: cloneUUID, Autostart: rapid.Bool().Draw(t, "autostart"), Time: word.Draw(t, "time"), MACs: []string{"52:54:00:12:34:56", "52:54:00:12:34:57"}}
		}
		if rapid.Bool().Draw(t, "retired") {
			want.Retired = &Retired{Time: word.Draw(t, "retired at"), Method: word.Draw(t, "method"), Kept: rapid.Bool().Draw(t, "kept")}
		}
		inner := rapid.SampledFrom([]string{"", "<metadata/>", "<metadata>\n  </metadata>", "\n  <title>t</title>\n  <description>d</description>", "<metadata><x:y xmlns:x='urn:x'/></metadata>"}).Draw(t, "inner")
		got, err := Rewrite([]byte("<domain type='kvm'>\n  <name>a</name>"+inner+"\n</domain>"), Edit{Origin: &want})
		if err != nil {
			t.Fatal(err)
		}
		back, ok, err := ReadOrigin(got.XML)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if d := cmp.Diff(want, back); d != "" {
			t.Fatal(d)
		}
		if len(got.Changes) == 0 {
			t.Fatal("the origin is no change")
		}
		alone, err := want.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		spaced := strings.Replace(string(alone), "<clone ", "<clone xmlns='"+Namespace+"' ", 1)
		if back, ok, err = ReadOrigin([]byte("<domain type='kvm'><name>a</name><metadata>" + spaced + "</metadata></domain>")); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if d := cmp.Diff(want, back); d != "" {
			t.Fatal("as metadata alone:", d)
		}
	})
}

func TestTheCloneOfACloneHasOneOriginAndForeignMetadataStays(t *testing.T) {
	text := []byte(`<domain type='kvm'>
  <name>imap-luks</name>
  <metadata>
    <vm:clone xmlns:vm='` + Namespace + `' job='1'><vm:origin name='imap' uuid=''/></vm:clone>
    <vmmigrate:clone xmlns:vmmigrate='urn:somebody-else' job='x'/>
  </metadata>
</domain>`)
	got, err := Rewrite(text, Edit{Name: "imap-2", Origin: &Origin{Job: "2", Name: "imap-luks"}})
	if err != nil {
		t.Fatal(err)
	}
	want := `  <metadata>
    <vmmigrate:clone xmlns:vmmigrate='urn:somebody-else' job='x'/>
    <vmmigrate:clone xmlns:vmmigrate='` + Namespace + `' job='2'>
      <vmmigrate:origin name='imap-luks' uuid=''/>
    </vmmigrate:clone>
  </metadata>`
	if !strings.Contains(string(got.XML), want) {
		t.Errorf("%s", got.XML)
	}
	if o, ok, _ := ReadOrigin(text); !ok || o.Name != "imap" {
		t.Errorf("an origin with another prefix is not read: %+v", o)
	}
}

func TestADomainThatIsNoCloneHasNoOrigin(t *testing.T) {
	if o, ok, err := ReadOrigin(sample(t, "imap.xml")); ok || err != nil {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestANewAddressIsFreeAndLocallyAdministered(t *testing.T) {
	random := strings.NewReader("\x00\x00\x01\x00\x00\x01\xab\xcd\xef")
	taken := map[string]bool{"52:54:00:00:00:01": true}
	got, err := NewMAC(random, func(mac string) bool { return taken[mac] })
	if err != nil || got != "52:54:00:ab:cd:ef" || badMAC(got) != "" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestAddressesRunningOutIsAnErrorAndNoEndlessLoop(t *testing.T) {
	var bad *MACError
	if _, err := NewMAC(strings.NewReader(strings.Repeat("x", 3*macTries)), func(string) bool { return true }); !errors.As(err, &bad) || bad.Err != nil {
		t.Errorf("%v", err)
	}
	if _, err := NewMAC(strings.NewReader("x"), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func TestWarningsNameWhatStillPointsAtTheOriginal(t *testing.T) {
	text := []byte(`<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>imap</name>
  <uuid>7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60</uuid>
  <title>imap on /dev/vg0/imap</title>
  <os><cmdline>host=imap</cmdline></os>
  <blkiotune><device><path>/dev/vg0/imap</path></device></blkiotune>
  <devices>
    <disk type='block'><source dev='/dev/vg0/imap'/><target dev='vda'/></disk>
    <interface type='bridge'>
      <mac address='52:54:00:aa:00:01'/>
      <filterref filter='clean'><parameter name='MAC' value='52:54:00:AA:00:01'/></filterref>
    </interface>
  </devices>
  <seclabel type='static'><label>x:imap</label></seclabel>
  <qemu:commandline><qemu:arg value='id=7AB5DAE4-2a1c-4c38-a1c5-1b2c3d4e5f60'/><qemu:arg value='file=/dev/vg0/imap2'/></qemu:commandline>
</domain>`)
	got := clone(t, text, Edit{MACs: []string{"52:54:00:00:00:01"}, Disks: []DiskEdit{{Target: "vda", Device: "/dev/mapper/x"}}})
	want := []string{"/domain/blkiotune/device/path", "/domain/devices/interface/filterref/parameter/@value", "/domain/seclabel/label", "/domain/qemu:commandline/qemu:arg[1]/@value"}
	var paths []string
	for _, w := range said(got.Warnings) {
		path, _, _ := strings.Cut(w, " ")
		paths = append(paths, path)
	}
	if d := cmp.Diff(want, paths); d != "" {
		t.Error(d, fmt.Sprintf("%q", said(got.Warnings)))
	}
}
