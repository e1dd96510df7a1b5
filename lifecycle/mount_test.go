package lifecycle

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/filesystem/filesystemtest"
	"github.com/vmmigrate/vmmigrate/luks"
)

const (
	mountPoint = "/var/lib/libvirt/images/imap-vda-luks"
	mounted    = ` fs="ext4" fs-uuid="` + webUUID + `" mount="` + mountPoint + `" image="` + mountPoint + `/vda.qcow2" discards="no"`
)

// withImage has a clone whose first disk is an image on a file system in its
// volume, which the guest discards on.
func withImage(t *testing.T, more string) (*world, *filesystemtest.Fake) {
	t.Helper()
	w := newWorld(t)
	fake := filesystemtest.New()
	fake.Content = func(device string) (string, error) {
		mapping, err := w.vault.Mapping(t.Context(), strings.TrimPrefix(device, "/dev/mapper/"))
		if err != nil {
			return "", fs.ErrNotExist
		}
		return mapping.Device, nil
	}
	fake.Held = func(device string, held bool) {
		var holders []string
		if held {
			holders = []string{"a mount"}
		}
		w.vault.Hold(strings.TrimPrefix(device, "/dev/mapper/"), holders...)
	}
	w.Filesystems = fake
	image := strings.NewReplacer("type='block'", "type='file'", "raw", "qcow2", "dev='/", "file='/").Replace(disk("vda", mountPoint+"/vda.qcow2", " discard='unmap'"))
	if err := w.virt.Undefine(t.Context(), cloneUUID); err != nil {
		t.Fatal(err)
	}
	w.define(domain("imap-luks", cloneUUID, "52:54:00:44:55:66", strings.Replace(origin, `mapper="cr_imap_vda"`, `mapper="cr_imap_vda"`+more, 1), image+disk("vdb", "/dev/mapper/cr_imap_vdb", "")))
	w.open("imap-vda-luks", "cr_imap_vda", luks.OpenOptions{})
	if err := fake.Make(t.Context(), filesystem.Spec{Device: "/dev/mapper/cr_imap_vda", Size: mib, Type: filesystem.Ext4, UUID: webUUID}); err != nil {
		t.Fatal(err)
	}
	if err := w.vault.Close(t.Context(), "cr_imap_vda"); err != nil {
		t.Fatal(err)
	}
	return w, fake
}

func (w *world) said(event EventName) bool {
	return slices.ContainsFunc(w.events, func(e Event) bool { return e.Event == event })
}

func TestWhatAnImageLiesOnIsMountedWithItsVolumeAndUnmountedBefore(t *testing.T) {
	w, fake := withImage(t, mounted)
	for range 2 {
		if err := w.Unlock(t.Context(), "imap-luks"); err != nil {
			t.Fatal(err)
		}
		if at, discard := fake.At(mountPoint); at != "/dev/mapper/cr_imap_vda" || discard {
			t.Fatalf("mounted is %q, discard %v", at, discard)
		}
	}
	if !w.said(Mounted) || !w.said(Unchanged) || w.said(Warning) {
		t.Errorf("%+v", w.events)
	}
	if all, _ := w.vault.Mappings(t.Context()); slices.ContainsFunc(all, func(m luks.Mapping) bool { return m.Discards }) {
		t.Error("the guest's discards reach the volume, which nobody asked for")
	}
	report, err := w.Look(t.Context(), "imap-luks")
	if err != nil {
		t.Fatal(err)
	}
	if d := report.Clones[0].Disks[0]; !d.Open || d.Device != mountPoint+"/vda.qcow2" || d.Filesystem == nil || !d.Filesystem.Mounted || d.Filesystem.Free == 0 || d.Filesystem.Type != "ext4" {
		t.Errorf("%+v, %+v", d, d.Filesystem)
	}
	if err := w.Start(t.Context(), "imap-luks"); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(t.Context(), "imap-luks", StopOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if at, _ := fake.At(mountPoint); at != "" || w.mappings() != "" || !w.said(Unmounted) {
		t.Errorf("mounted is %q, open is %q", at, w.mappings())
	}
	if dirs := fake.Dirs(); len(dirs) != 1 {
		t.Errorf("the folders are %v", dirs) // it stays for the next time
	}
}

func TestAVolumeThatIsOpenIsOnlyMounted(t *testing.T) {
	w, fake := withImage(t, mounted)
	w.open("imap-vda-luks", "cr_imap_vda", luks.OpenOptions{})
	report, err := w.Look(t.Context(), "imap-luks")
	if err != nil {
		t.Fatal(err)
	}
	if d := report.Clones[0].Disks[0]; d.Open || d.Filesystem.Mounted || !d.Filesystem.Unlocked {
		t.Errorf("%+v", d)
	}
	w.virt.start = errors.New("no")
	if err := w.Start(t.Context(), "imap-luks"); err == nil {
		t.Fatal("it started")
	}
	if at, _ := fake.At(mountPoint); at != "" || w.mappings() != "cr_imap_vda" {
		t.Errorf("mounted is %q, open is %q", at, w.mappings())
	}
}

func TestAMountThatIsInUseKeepsItsVolumeOpenAndSaysWhoUsesIt(t *testing.T) {
	w, fake := withImage(t, mounted)
	if err := w.Unlock(t.Context(), "imap-luks"); err != nil {
		t.Fatal(err)
	}
	fake.Hold(mountPoint, "process 4711 (sh)")
	err := w.Lock(t.Context(), "imap-luks")
	var lock *LockError
	var busy *filesystem.BusyError
	if !errors.As(err, &lock) || lock.Disk != "vda" || !errors.As(err, &busy) || !strings.Contains(err.Error(), "process 4711 (sh)") {
		t.Fatalf("%v", err)
	}
	if w.mappings() != "cr_imap_vda" {
		t.Errorf("open is %q", w.mappings())
	}
	fake.Hold(mountPoint)
	if err := w.Lock(t.Context(), "imap-luks"); err != nil || w.mappings() != "" {
		t.Errorf("%v, open is %q", err, w.mappings())
	}
}

func TestAMountPointThatIsSomethingElseIsLeftAlone(t *testing.T) {
	w, fake := withImage(t, mounted)
	fake.Link(mountPoint)
	var failed *MountError
	var bad *filesystem.DirError
	if err := w.Unlock(t.Context(), "imap-luks"); !errors.As(err, &failed) || !errors.As(err, &bad) || failed.Disk != "vda" {
		t.Fatalf("%v", err)
	}
	if w.mappings() != "" {
		t.Errorf("open is %q", w.mappings())
	}
}

func TestDiscardsOnAnImageAreSeenLayerByLayer(t *testing.T) {
	for _, discards := range []string{"no", "yes"} {
		w, _ := withImage(t, strings.Replace(mounted, `discards="no"`, `discards="`+discards+`"`, 1))
		w.devices.stacks["/dev/vg0/imap-vda-luks"] = []Layer{{Name: "dm-1", DM: "vg0-imap", Discard: mib}}
		w.devices.stacks["/dev/vg0/imap-vdb-luks"] = w.devices.stacks["/dev/vg0/imap-vda-luks"]
		trim, err := w.CheckTrim(t.Context(), "imap-luks")
		if err != nil {
			t.Fatal(err)
		}
		var kinds []LayerKind
		for _, layer := range trim.Disks[0].Layers {
			kinds = append(kinds, layer.Layer)
		}
		if want := []LayerKind{LayerGuest, LayerImage, LayerFiles, LayerCrypt, LayerVolume}; !slices.Equal(kinds, want) {
			t.Errorf("%v", kinds)
		}
		if want := map[string]LayerKind{"no": LayerFiles, "yes": ""}[discards]; trim.Disks[0].StopsAt != want {
			t.Errorf("discards %s: they stop at %q: %+v", discards, trim.Disks[0].StopsAt, trim.Disks[0].Layers)
		}
	}
}

func TestASnapshotBesideAnImageIsTheSameDisk(t *testing.T) {
	w, _ := withImage(t, mounted)
	clone, err := w.Find(t.Context(), "imap-luks")
	if err != nil {
		t.Fatal(err)
	}
	d := clone.Disks[0]
	if !d.Attached || !d.holds(mountPoint+"/vda.snap1") || d.holds("/var/lib/libvirt/images/vda.qcow2") || d.holds("/dev/mapper/cr_imap_vda") {
		t.Errorf("%+v", d)
	}
}
