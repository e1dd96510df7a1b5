package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/hypervisor/hypervisortest"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/luks/lukstest"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/lvm/lvmtest"
)

const (
	mib        = 1 << 20
	imapUUID   = "6c1b5a5e-5a0e-4d2c-8a34-0d3c6d1d1a01"
	cloneUUID  = "3f9c2d10-0f3e-4a55-9a7e-2b8c51f0aa02"
	webUUID    = "9d0c2d10-0f3e-4a55-9a7e-2b8c51f0aa03"
	job        = "20261122-093012-3f9c"
	vdaLUKS    = "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d01"
	vdbLUKS    = "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d02"
	otherLUKS  = "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d03"
	passphrase = "correct horse"
)

// world is a host in memory with the VM imap and its clone imap-luks, both
// off, whose two disks are locked.
type world struct {
	t       *testing.T
	volumes *volumes
	vault   *vault
	virt    *virt
	devices *devices
	keys    *keys
	events  []Event
	clock   time.Time
	*Manager
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: time.Date(2026, 11, 22, 9, 30, 12, 0, time.UTC)}
	w.volumes = &volumes{Fake: lvmtest.New(lvmtest.Group("vg0", mib, 200), lvmtest.Group("vg1", mib, 200)), names: map[string]string{}, inactive: map[string]bool{}}
	w.vault = newVault()
	w.vault.Size, w.vault.HeldBy = w.volumes.size, w.volumes.ActiveOn
	w.vault.Resolve = w.volumes.Resolve
	w.virt = &virt{Fake: hypervisortest.New()}
	w.devices = &devices{there: map[string]bool{"/dev/vg0/imap": true}, stacks: map[string][]Layer{}, bytes: "what was on the disk"}
	w.keys = &keys{all: []string{passphrase}}
	w.Manager = &Manager{
		Volumes: w.volumes, Encryption: w.vault, Hypervisor: w.virt, Keys: w.keys, Devices: w.devices, StateDir: filepath.Join(t.TempDir(), "state"),
		Report: func(e Event) { w.events = append(w.events, e) },
		Now:    func() time.Time { return w.clock },
		Wait: func(ctx context.Context, d time.Duration) error {
			w.clock = w.clock.Add(d)
			return context.Cause(ctx)
		},
	}
	w.volume("imap-vda-luks", vdaLUKS, job)
	w.volume("imap-vdb-luks", vdbLUKS, job)
	w.define(domain("imap", imapUUID, "52:54:00:11:22:33", "", disk("vda", "/dev/vg0/imap", "")))
	w.define(domain("imap-luks", cloneUUID, "52:54:00:44:55:66", origin, disk("vda", "/dev/mapper/cr_imap_vda", " discard='unmap'")+disk("vdb", "/dev/mapper/cr_imap_vdb", "")))
	return w
}

const origin = `<metadata><vmmigrate:clone xmlns:vmmigrate="https://vmmigrate.github.io/xmlns/clone/1" job="` + job + `">
<vmmigrate:origin name="imap" uuid="` + imapUUID + `"/>
<vmmigrate:disk target="vda" source="/dev/vg0/imap" vg="vg0" lv="imap-vda-luks" luks="` + vdaLUKS + `" mapper="cr_imap_vda"/>
<vmmigrate:disk target="vdb" source="/srv/imap.raw" vg="vg0" lv="imap-vdb-luks" luks="` + vdbLUKS + `" mapper="cr_imap_vdb"/>
</vmmigrate:clone></metadata>`

func domain(name, uuid, mac, metadata, disks string) string {
	return fmt.Sprintf(`<domain type='kvm'><name>%s</name><uuid>%s</uuid>%s<memory>1024</memory><os><type>hvm</type></os><devices>%s
<interface type='user'><mac address='%s'/></interface></devices></domain>`, name, uuid, metadata, disks, mac)
}

func disk(target, device, driver string) string {
	return fmt.Sprintf(`<disk type='block' device='disk'><driver name='qemu' type='raw'%s/><source dev='%s'/><target dev='%s'/></disk>`, driver, device, target)
}

func (w *world) define(xml string) {
	w.t.Helper()
	if _, err := w.virt.Define(w.t.Context(), []byte(xml)); err != nil {
		w.t.Fatal(err)
	}
}

// volume makes a LUKS volume in vg0 with the passphrase.
func (w *world) volume(name, luksUUID, ofJob string) {
	w.t.Helper()
	spec := lvm.Spec{VG: "vg0", Name: name, Size: 24 * mib}
	if ofJob != "" {
		spec.Tags = []string{tagPrefix + ofJob}
	}
	if _, err := w.volumes.Create(w.t.Context(), spec); err != nil {
		w.t.Fatal(err)
	}
	w.format("/dev/vg0/"+name, luksUUID)
}

func (w *world) format(device, luksUUID string) {
	w.t.Helper()
	if _, err := w.vault.Format(w.t.Context(), luks.FormatSpec{
		Device: device, UUID: luksUUID, Cipher: "aes-xts-plain64", KeySize: 512, SectorSize: 512, Offset: 16 * mib,
	}, key(w.t, passphrase)); err != nil {
		w.t.Fatal(err)
	}
}

func key(t *testing.T, text string) luks.Key {
	t.Helper()
	k, err := luks.NewKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open opens a volume by hand.
func (w *world) open(volume, mapper string, options luks.OpenOptions) {
	w.t.Helper()
	if err := w.vault.Open(w.t.Context(), "/dev/vg0/"+volume, mapper, key(w.t, passphrase), options); err != nil {
		w.t.Fatal(err)
	}
}

// mappings are the names of what is open.
func (w *world) mappings() string {
	all, err := w.vault.Mappings(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, mapping := range all {
		names = append(names, mapping.Name)
	}
	return strings.Join(names, " ")
}

func (w *world) isOpen(want string) {
	w.t.Helper()
	if got := w.mappings(); got != want {
		w.t.Errorf("open are %q, not %q", got, want)
	}
}

func (w *world) state(uuid string) hypervisor.State {
	d, err := w.virt.DomainByUUID(w.t.Context(), uuid)
	if err != nil {
		w.t.Fatal(err)
	}
	return d.State
}

// told are the events of a kind since the last call, "disk: message" each.
func (w *world) told(kind EventName) []string {
	var told []string
	for _, e := range w.events {
		if e.Event == kind {
			told = append(told, strings.TrimPrefix(e.Disk+": "+e.Message, ": "))
		}
	}
	return told
}

// wrong fails the test unless err is a T, which it returns.
func wrong[T error](t *testing.T, err error) T {
	t.Helper()
	var want T
	if !errors.As(err, &want) {
		t.Fatalf("got the error %v, which is no %T", err, want)
	}
	return want
}

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keys are what a person types, or a file holds.
type keys struct {
	all    []string
	person bool
	asked  int
}

func (k *keys) Key(context.Context, *Clone) (luks.Key, error) {
	text := k.all[min(k.asked, len(k.all)-1)]
	k.asked++
	return luks.NewKey([]byte(text))
}

func (k *keys) Again(*Clone) bool { return k.person }

// volumes are LVM's, with renames and volumes that are not active.
type volumes struct {
	*lvmtest.Fake
	names    map[string]string // new names by old
	inactive map[string]bool   // by name as it was made
}

func (v *volumes) LVs(ctx context.Context) ([]lvm.LV, error) {
	all, err := v.Fake.LVs(ctx)
	all = slices.DeleteFunc(all, func(lv lvm.LV) bool {
		groups, _ := v.VGs(ctx) // never fails
		return slices.ContainsFunc(groups, func(g lvm.VG) bool { return g.Name == lv.VG && g.Exported })
	})
	for i := range all {
		all[i].Active = !v.inactive[all[i].Name]
		if name, renamed := v.names[all[i].Name]; renamed {
			all[i].Name, all[i].Path, all[i].DMPath = name, "/dev/vg0/"+name, "/dev/mapper/vg0-"+strings.ReplaceAll(name, "-", "--")
		}
	}
	return all, err
}

// made is a path as it was before the volume was renamed.
func (v *volumes) made(path string) string {
	for old, name := range v.names {
		if path == "/dev/vg0/"+name {
			return "/dev/vg0/" + old
		}
	}
	return path
}

func (v *volumes) size(path string) (int64, error) {
	path = v.made(path)
	if v.inactive[strings.TrimPrefix(path, "/dev/vg0/")] {
		return 0, errors.New("no device")
	}
	return v.DeviceSize(path)
}

func (v *volumes) Resolve(path string) string { return v.Fake.Resolve(v.made(path)) }

func (v *volumes) Activate(_ context.Context, _, name string) error {
	for old, now := range v.names {
		if now == name {
			name = old
		}
	}
	delete(v.inactive, name)
	return nil
}

// virt is libvirt with guests that take their time.
type virt struct {
	*hypervisortest.Fake
	// deaf is how often a guest does not hear that it is to shut down.
	deaf  int
	asked int
	start error
}

func (v *virt) Shutdown(ctx context.Context, uuid string) error {
	v.asked++
	if v.asked <= v.deaf {
		return nil
	}
	return v.Fake.Shutdown(ctx, uuid)
}

func (v *virt) Start(ctx context.Context, uuid string) error {
	if v.start != nil {
		return v.start
	}
	return v.Fake.Start(ctx, uuid)
}

// devices are the kernel's.
type devices struct {
	there  map[string]bool
	sizes  map[string]int64
	stacks map[string][]Layer
	bytes  string
}

func (d *devices) Exists(path string) (bool, error) { return d.there[path], nil }

func (d *devices) Size(path string) (int64, error) {
	if size, there := d.sizes[path]; there {
		return size, nil
	}
	return 0, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
}

func (d *devices) Below(_ context.Context, path string) ([]Layer, error) {
	stack, ok := d.stacks[path]
	if !ok {
		return nil, os.ErrNotExist
	}
	return stack, nil
}

func (d *devices) Read(_ context.Context, _ string, _ int64, to io.Writer) error {
	_, err := io.WriteString(to, d.bytes)
	return err
}

var _ Encryption = (*vault)(nil)

// vault is lukstest's fake with header backups that hold a header.
type vault struct {
	*lukstest.Fake
	keys   map[string]map[int]string // by the device's true name and slot
	fail   func(op, device string) error
	killed []int // the slots that were to be taken away
}

func newVault() *vault { return &vault{Fake: lukstest.New(), keys: map[string]map[int]string{}} }
