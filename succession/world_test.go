package succession

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/hypervisor/hypervisortest"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/migrate"
)

const (
	imapUUID  = "6c1b5a5e-5a0e-4d2c-8a34-0d3c6d1d1a01"
	cloneUUID = "3f9c2d10-0f3e-4a55-9a7e-2b8c51f0aa02"
	webUUID   = "9d0c2d10-0f3e-4a55-9a7e-2b8c51f0aa03"
	imapMAC   = "52:54:00:11:22:33"
	cloneMAC  = "52:54:00:44:55:66"
	vdaLUKS   = "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d01"
)

// world is a host in memory with the VM imap and its clone imap-luks, both off,
// each with a TPM, and a bystander. At one of its instants the process may die.
type world struct {
	t     *testing.T
	virt  *hypervisortest.Fake
	clock time.Time
	// problem is what is wrong with the clone's disk.
	problem error
	events  []migrate.Event
	// instants counts the acts and looks of a process, and dieAt is the one at
	// which it dies, if it is not 0; names are what they were.
	instants, dieAt int
	names           []string
	*Env
}

// death is what a killed process panics with.
type death struct{ at string }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, virt: hypervisortest.New(), clock: time.Date(2026, 11, 22, 9, 30, 12, 0, time.UTC)}
	w.virt.Before = func(call string) error { w.instant("before " + call); return nil }
	w.virt.After = func(call string) error { w.instant("after " + call); return nil }
	store := migrate.Store{Dir: filepath.Join(t.TempDir(), "state"), Now: w.now}
	w.Env = &Env{
		Hypervisor: w.virt, Store: store, TPMDir: t.TempDir(), Reporter: reporter{w}, Random: &counter{}, Now: w.now,
		Clones: clones{&lifecycle.Manager{Hypervisor: w.virt}, w},
	}
	w.add(domain("imap", imapUUID, imapMAC, "", disk("/dev/vg0/imap")))
	w.add(domain("imap-luks", cloneUUID, cloneMAC, origin(""), disk("/dev/mapper/cr_imap_vda")))
	w.add(domain("web", webUUID, "52:54:00:77:88:99", "", disk("/dev/vg0/web")))
	for _, id := range []string{imapUUID, cloneUUID} {
		no(t, os.Mkdir(filepath.Join(w.TPMDir, id), 0o700))
		no(t, os.WriteFile(filepath.Join(w.TPMDir, id, "state"), []byte("of "+id), 0o600))
	}
	w.virt.Change(imapUUID, func(d *hypervisor.Domain) { d.Autostart = true })
	return w
}

// counter is a source of randomness that never says the same twice.
type counter struct{ n byte }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

type reporter struct{ w *world }

func (r reporter) Report(e migrate.Event) { r.w.events = append(r.w.events, e) }

// clones are lifecycle's, without a look at any disk.
type clones struct {
	*lifecycle.Manager
	w *world
}

func (c clones) Examine(_ context.Context, clone *lifecycle.Clone) error {
	for i := range clone.Disks {
		clone.Disks[i].Problem = c.w.problem
	}
	return nil
}

// now is the clock. Every record of a journal asks for the time before it is
// written, so it is an instant too.
func (w *world) now() time.Time {
	w.instant("clock")
	w.clock = w.clock.Add(time.Millisecond)
	return w.clock
}

func (w *world) instant(name string) {
	w.instants++
	w.names = append(w.names, name)
	if w.instants == w.dieAt {
		panic(death{fmt.Sprintf("instant %d, %s", w.instants, name)})
	}
}

// dies runs a process that dies at an instant, and says where that was; "" is
// where it ended before.
func (w *world) dies(at int, process func() error) (where string, err error) {
	w.instants, w.dieAt, w.names = 0, at, nil
	w.Random = &counter{}
	defer func() {
		w.dieAt = 0
		switch dead := recover().(type) {
		case nil:
		case death:
			where = dead.at
		default:
			panic(dead)
		}
	}()
	return "", process()
}

func (w *world) add(text string) {
	w.t.Helper()
	if _, err := w.virt.Add([]byte(text), hypervisor.ShutOff); err != nil {
		w.t.Fatal(err)
	}
}

func domain(name, uuid, mac, metadata, disks string) string {
	return fmt.Sprintf(`<domain type='kvm'>
  <name>%s</name>
  <uuid>%s</uuid>%s
  <memory>1024</memory>
  <sysinfo type='smbios'><system><entry name='uuid'>%[2]s</entry></system></sysinfo>
  <os><type>hvm</type><nvram>/nvram/%[1]s_VARS.fd</nvram></os>
  <devices>
    %[4]s
    <interface type='user'>
      <mac address='%s'/>
      <target dev='tap0'/>
    </interface>
    <serial type='file'><source path='/var/log/%[1]s.log'/></serial>
    <tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>
    <graphics type='vnc' port='5901' passwd='secret'/>
  </devices>
</domain>`, name, uuid, metadata, disks, mac)
}

func disk(device string) string {
	return fmt.Sprintf(`<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='%s'/><target dev='vda'/></disk>`, device)
}

// origin is a clone's metadata; more stands in it.
func origin(more string) string {
	return `
  <metadata>
    <vmmigrate:clone xmlns:vmmigrate="https://vmmigrate.github.io/xmlns/clone/1" job="20261122-093012-3f9c">
      <vmmigrate:origin name="imap" uuid="` + imapUUID + `"/>
      <vmmigrate:disk target="vda" source="/dev/vg0/imap" vg="vg0" lv="imap-vda-luks" luks="` + vdaLUKS + `" mapper="cr_imap_vda"/>` + more + `
    </vmmigrate:clone>
  </metadata>`
}

// look is all there is: definitions, flags and TPMs, by name.
func (w *world) look() map[string]string {
	w.t.Helper()
	before, after := w.virt.Before, w.virt.After
	w.virt.Before, w.virt.After = nil, nil
	defer func() { w.virt.Before, w.virt.After = before, after }()
	ctx := context.Background()
	domains, err := w.virt.Domains(ctx)
	no(w.t, err)
	all := make(map[string]string)
	for _, d := range domains {
		text, err := w.virt.XML(ctx, d.UUID)
		no(w.t, err)
		all["domain "+d.Name] = fmt.Sprintf("%s autostart=%v\n%s", d.State, d.Autostart, text)
	}
	entries, err := os.ReadDir(w.TPMDir)
	no(w.t, err)
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(w.TPMDir, entry.Name(), "state"))
		no(w.t, err)
		all["tpm "+entry.Name()] = string(text)
	}
	return all
}

// standing are the names of all domains, with whose disk each has.
func (w *world) standing() string {
	var all []string
	for name, text := range w.look() {
		if name, ok := strings.CutPrefix(name, "domain "); ok {
			guest := "?"
			for path, is := range map[string]string{"/dev/vg0/imap'": "plain", "/dev/mapper/cr_imap_vda'": "clone", "/dev/vg0/web'": "web"} {
				if strings.Contains(text, path) {
					guest = is
				}
			}
			all = append(all, name+"="+guest)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func no(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
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
