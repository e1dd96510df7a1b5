package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/luks"
)

func TestTrimNamesTheLayerThatStopsDiscards(t *testing.T) {
	w := newWorld(t)
	w.devices.stacks["/dev/vg0/imap-vda-luks"] = []Layer{{Name: "dm-3", DM: "vg0-imap--vda--luks", Discard: 1 << 30}, {Name: "sda", Discard: 0}}
	w.devices.stacks["/dev/vg0/imap-vdb-luks"] = []Layer{{Name: "dm-4", Discard: 1 << 30}, {Name: "sdb", Discard: 1 << 30}}
	stops := func() [2]LayerKind {
		t.Helper()
		trim, err := w.CheckTrim(t.Context(), "imap-luks")
		no(t, err)
		return [2]LayerKind{trim.Disks[0].StopsAt, trim.Disks[1].StopsAt}
	}
	if got := stops(); got != [2]LayerKind{LayerDevice, LayerGuest} {
		t.Errorf("%q", got)
	}
	w.devices.stacks["/dev/vg0/imap-vda-luks"][1].Discard = 1
	if got := stops(); got[0] != "" {
		t.Errorf("%q", got)
	}
	w.open("imap-vda-luks", "cr_imap_vda", luks.OpenOptions{})
	if got := stops(); got[0] != LayerCrypt {
		t.Errorf("%q", got)
	}
	w.devices.stacks["/dev/vg0/imap-vda-luks"][0].Discard = 0
	no(t, w.Lock(t.Context(), "imap-luks"))
	if got := stops(); got[0] != LayerVolume {
		t.Errorf("%q", got)
	}
}

func TestTrimDoesNotGuessWhatLiesBelowAVolumeThatIsNotActive(t *testing.T) {
	w := newWorld(t)
	w.devices.stacks["/dev/vg0/imap-vdb-luks"] = []Layer{{Name: "dm-4", Discard: 1 << 30}}
	w.volumes.inactive["imap-vda-luks"] = true
	trim, err := w.CheckTrim(t.Context(), "imap-luks")
	no(t, err)
	wrong[*VolumeError](t, trim.Disks[0].Err)
	if len(trim.Disks[0].Layers) != 2 || trim.Disks[1].Err != nil {
		t.Errorf("%+v", trim)
	}
}

// sysfs is a tree as the kernel shows it: a mapping on a volume on two disks,
// one of them a partition, with a cache in front.
func sysfs(t *testing.T) string {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		no(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o700))
		no(t, os.WriteFile(filepath.Join(root, path), []byte(text), 0o600))
	}
	link := func(path, to string) {
		t.Helper()
		no(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o700))
		no(t, os.Symlink(filepath.Join(root, to), filepath.Join(root, path)))
	}
	write("devices/dm-1/dm/name", "vg0-imap--vda\n")
	write("devices/dm-1/queue/discard_max_bytes", "4096\n")
	write("devices/dm-2/dm/name", "vg0-fast_cpool_cdata\n")
	write("devices/dm-2/dm/uuid", "LVM-UVBcwfbXVjaC7AHo0t6iXgjayS6YgDNA-cdata\n")
	write("devices/dm-2/queue/discard_max_bytes", "0\n")
	write("devices/dm-3/dm/name", "vg0-fast_cvol-cmeta\n")
	write("devices/dm-3/dm/uuid", "LVM-NXljSPXy48CKmqmROUrdMYpxwei7kWu7-cmeta\n")
	// A user's volume, whose own dash is doubled.
	write("devices/dm-4/dm/name", "vg1-mail--cmeta\n")
	write("devices/dm-4/dm/uuid", "LVM-UVBcwfbXVjaC7AHo0t6iXgjayS6YgDNA\n")
	write("devices/dm-4/queue/discard_max_bytes", "0\n")
	write("devices/sda/queue/discard_max_bytes", "2147450880\n")
	write("devices/sda/sda2/partition", "2\n")
	write("devices/cciss!c0d0/queue/discard_max_bytes", "0\n")
	link("devices/dm-1/slaves/dm-2", "devices/dm-2")
	link("devices/dm-1/slaves/dm-3", "devices/dm-3")
	link("devices/dm-1/slaves/dm-4", "devices/dm-4")
	link("devices/dm-1/slaves/sda2", "devices/sda/sda2")
	link("devices/dm-1/slaves/cciss!c0d0", "devices/cciss!c0d0")
	link("dev/block/254:1", "devices/dm-1")
	return root
}

func TestEveryDeviceBelowAVolumeIsFound(t *testing.T) {
	host := Host{Sys: sysfs(t), Number: func(string) (string, error) { return "254:1", nil }}
	layers, err := host.Below(t.Context(), "/dev/vg0/imap-vda")
	no(t, err)
	want := []Layer{{"dm-1", "vg0-imap--vda", 4096}, {"cciss!c0d0", "", 0}, {"dm-4", "vg1-mail--cmeta", 0}, {"sda2", "", 2147450880}, {"sda", "", 2147450880}}
	if diff := cmp.Diff(want, layers); diff != "" {
		t.Error(diff)
	}
	if got := layers[1].Path(); got != "/dev/cciss/c0d0" {
		t.Error(got)
	}
	if got := layers[0].Path(); got != "/dev/mapper/vg0-imap--vda" {
		t.Error(got)
	}
}

func TestADeviceThatIsNoneIsAnError(t *testing.T) {
	for _, path := range []string{"/nonexistent", t.TempDir()} {
		_, err := Host{}.Below(t.Context(), path)
		var said *fs.PathError
		if !errors.As(err, &said) || said.Path != path {
			t.Error(err)
		}
	}
	if there, err := (Host{}).Exists("/nonexistent"); there || err != nil {
		t.Error(there, err)
	}
}

func TestKeyDataIsTheSameAsLongAsNoKeyWasChanged(t *testing.T) {
	data := func(text string) string {
		t.Helper()
		said, err := keyData([]byte(text))
		no(t, err)
		return said
	}
	before := data(`{"keyslots":{"0":{"kdf":{"salt":"a"}}},"digests":{"0":{"iterations":1000}},"tokens":{},"config":{"flags":[]}}`)
	if after := data(`{"digests":{"0":{"iterations":1000}},"keyslots":{"0":{"kdf":{"salt":"a"}}},"config":{"flags":["allow-discards"]}}`); after != before {
		t.Errorf("%s, and %s", before, after)
	}
	if after := data(`{"keyslots":{"0":{"kdf":{"salt":"b"}}},"digests":{"0":{"iterations":1000}},"config":{"flags":[]}}`); after == before {
		t.Error("a new salt is not seen")
	}
	if _, err := keyData([]byte("no JSON")); err == nil {
		t.Error("took no JSON")
	}
	// Two copies of ten bytes each, and what follows.
	header := append([]byte("LUKS\xba\xbe\x00\x02\x00\x00\x00\x00\x00\x00\x00\x0a"), "meta"+"KEYS"...)
	if area := string(keyArea(header)); area != "KEYS" {
		t.Errorf("the key area is %q", area)
	}
	for _, odd := range []string{"", "LUKS", "LUKS\xba\xbe\x00\x01\x00\x00\x00\x00\x00\x00\x00\x0a", "LUKS\xba\xbe\x00\x02\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if area := string(keyArea([]byte(odd))); area != odd {
			t.Errorf("the key area of %q is %q", odd, area)
		}
	}
}

func TestTrimEndsAtAThinPoolOrTheFileSystemUnderAFile(t *testing.T) {
	w := newWorld(t)
	w.devices.stacks["/dev/vg0/imap-vda-luks"] = []Layer{{Name: "dm-3", DM: "vg0-imap--vda--luks", Discard: 1 << 30}, {Name: "dm-2", DM: "vg0-pool-tpool"}, {Name: "sda", Discard: 1}}
	w.devices.stacks["/dev/vg0/imap-vdb-luks"] = []Layer{{Name: "dm-4", Discard: 1 << 30}}
	trim, err := w.CheckTrim(t.Context(), "imap-luks")
	no(t, err)
	if got := trim.Disks[0]; got.StopsAt != LayerPool || got.Layers[3].Name != "/dev/mapper/vg0-pool-tpool" || got.OnFile() {
		t.Errorf("%+v", got)
	}
	onFile := DiskTrim{Layers: []TrimLayer{{Layer: LayerCrypt, Name: "cr_imap_vda"}, {Layer: LayerVolume, Name: "/srv/luks/imap-vda-luks.img"}}}
	if !onFile.OnFile() {
		t.Error("it lies on a file")
	}
}
