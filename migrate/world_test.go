package migrate

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/filesystem/filesystemtest"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/luks/lukstest"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/lvm/lvmtest"
)

// world is a host in memory: LVM, LUKS and libvirt are fakes, the bytes of
// sources and payloads are slices, and only the state directory and the
// firmware's files are real.
type world struct {
	t     complainer
	state string // the state directory
	files string // where firmware state is
	lvm   *lvmtest.Fake
	fs    *filesystemtest.Fake
	luks  *lukstest.Fake
	virt  *domains
	faults

	mu       sync.Mutex
	sources  map[string]*source
	payloads map[string]*payload         // by the volume's true name
	inactive map[string]bool             // volumes that a reboot did not activate
	opened   map[string]luks.OpenOptions // how each mapping was opened last
	secret   string
	asked    int // how often the key was asked for, and of those
	twice    int // how often it had to be typed twice
	events   []Event
	heard    func(Event)
	chains   map[string]image.Chain          // images and what is behind them
	damaged  map[string]error                // what a check of an image finds
	devices  map[string][]string             // the physical devices under a path; one for all by default
	writers  map[string][]Writer             // who has a source open for writing
	deaf     error                           // what libvirt answers to the guard
	during   func(context.Context, StepName) // what happens while bytes move
	broken   atomic.Bool                     // payloads take no writes
	trusting bool                            // the last copy was told that nobody reads it back
	queues   float64                         // the gain of doing without dm-crypt's work queues
	remark   []string                        // what copies have to say
	seed     byte
	chosen   map[string]DiskOptions
	layout   Layout
	images   map[string]map[string]*payload // images on file systems, by the volume and their names
	folder   string                         // where disks go to files, "" where they do not
	filed    sync.Mutex                     // guards what follows, also while mu is held
	made     map[string]made                // the files there
	inodes   int
	// unmounted is when the folder's file system is not there.
	unmounted bool
	blanks    map[string]int64 // devices that were there before, with their sizes
}

// complainer is what *testing.T and *rapid.T have in common.
type complainer interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// source is a plain disk.
type source struct {
	bytes []byte
	block bool
	mod   time.Time
	// writes counts the sectors written since the host booted.
	writes int64
}

// scratch is a folder in memory where the machine has one: the journal flushes
// every record, and thousands of flushes to a disk take minutes.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vmmigrate-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// newWorld has the VM imap, off, with two disks, one volume and one file, and
// a group with room for a clone.
func newWorld(t *testing.T) *world { return newWorldIn(t, scratch(t), 4096*3, 5000) }

func newWorldIn(t complainer, dir string, sizes ...int64) *world {
	t.Helper()
	w := &world{
		t: t, state: filepath.Join(dir, "state"), files: filepath.Join(dir, "files"), virt: newDomains(), secret: "geheim",
		lvm: lvmtest.New(lvmtest.Group("vg0", mib, 200), lvmtest.Group("vg1", mib, 200)), luks: lukstest.New(), fs: filesystemtest.New(),
		images:  make(map[string]map[string]*payload),
		sources: make(map[string]*source), payloads: make(map[string]*payload), inactive: make(map[string]bool), opened: make(map[string]luks.OpenOptions), devices: make(map[string][]string),
	}
	w.disarm()
	w.luks.Size, w.luks.Resolve, w.luks.HeldBy = w.sizeOf, w.lvm.Resolve, w.lvm.ActiveOn
	w.lvm.InUse = w.luks.InUse
	w.lvm.Removed = func(path string) {
		w.luks.Forget(path)
		w.mu.Lock()
		w.forget(path)
		w.mu.Unlock()
	}
	w.fs.Content = w.content
	w.fs.Held = func(device string, held bool) {
		var holders []string
		if held {
			holders = []string{"a mount"}
		}
		w.luks.Hold(strings.TrimPrefix(device, "/dev/mapper/"), holders...)
	}
	for _, path := range []string{w.state, w.files} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatalf("%v", err)
		}
	}
	nvram := filepath.Join(w.files, "imap_VARS.fd")
	if err := os.WriteFile(nvram, []byte("the variables"), 0o640); err != nil {
		t.Fatalf("%v", err)
	}
	var disks []string
	for i, size := range sizes {
		target, path := fmt.Sprintf("vd%c", 'a'+i), fmt.Sprintf("/srv/imap-%d.img", i)
		if i == 0 {
			path = "/dev/vg0/imap"
		}
		disks = append(disks, rawDisk(target, path, ""))
		w.sources[path] = &source{bytes: noise(fmt.Sprint("source ", i), size), block: i == 0, mod: noon()}
	}
	w.virt.add(t, definition("imap", imapUUID, "<nvram>"+nvram+"</nvram>", strings.Join(append(disks, cdrom), "\n")))
	if _, err := w.lvm.Create(context.Background(), lvm.Spec{VG: "vg0", Name: "imap", Size: mib}); err != nil {
		t.Fatalf("%v", err)
	}
	return w
}

// noise is bytes that are the same whenever the same is asked for. No two
// blocks of it are the same.
func noise(name string, size int64) []byte {
	var seed [32]byte
	copy(seed[:], name)
	block := make([]byte, 4096)
	_, _ = newChaCha(seed).Read(block) // never fails
	bytes := make([]byte, 0, size+4096)
	for number := uint64(0); int64(len(bytes)) < size; number++ {
		binary.LittleEndian.PutUint64(block[8:], number)
		bytes = append(bytes, block...)
	}
	return bytes[:size:size]
}

// env is the world as the pipeline sees it.
func (w *world) env() *Env {
	return &Env{
		Volumes: volumes{w}, Encryption: encryption{w}, Hypervisor: virt{w.virt, w}, Devices: devices{w}, Files: worldFiles{w}, Filesystems: filesystems{w}, Images: worldImages{w}, Copier: copier{w}, Keyring: keyring{w},
		Reporter: w, Store: Store{Dir: w.state, Now: noon}, Random: dice(w.seed), Now: w.now,
	}
}

// Report implements Reporter.
func (w *world) Report(event Event) {
	w.mu.Lock()
	w.events = append(w.events, event)
	heard := w.heard
	w.mu.Unlock()
	w.entered(event)
	if heard != nil {
		heard(event)
	}
}

func options() Options { return Options{LUKS: DefaultLUKS(), Verify: VerifyTarget} }

// plan decides what to do with imap.
func (w *world) plan(options Options) *Plan {
	w.t.Helper()
	env := w.env()
	facts, err := env.Gather(context.Background())
	if err == nil {
		err = env.GatherNamed(context.Background(), facts, options)
	}
	if err != nil {
		w.t.Fatalf("gather: %v", err)
	}
	w.seed++
	plan, err := (&Decider{Facts: facts, Random: dice(w.seed), Store: env.Store, Taken: Budget{}}).Decide("imap", options)
	if err != nil {
		w.t.Fatalf("decide: %v", err)
	}
	if len(plan.Blockers) > 0 {
		w.t.Fatalf("blocked: %v", plan.Blockers)
	}
	return plan
}

// look is all that a rollback has to bring back, in words.
type look map[string]string

// wantMoved fails unless the VM has been migrated by plan, and nothing else
// has changed since before.
func (w *world) wantMoved(before look, plan *Plan, what string) {
	w.t.Helper()
	now := w.look()
	for i := range plan.Disks {
		disk := &plan.Disks[i]
		if problem := w.compare(disk); problem != "" {
			w.t.Fatalf("%s: %s: %s", what, disk.Target, problem)
		}
		volume := disk.Volume
		made := []string{"header " + disk.headerAt()}
		if disk.HeaderFile != "" {
			made = append(made, "made "+disk.HeaderFile)
		}
		switch volume.Kind {
		case NewLV:
			made = append(made, "volume "+volume.String())
		case OnFile:
			made = append(made, "made "+volume.Path)
		case OnDevice:
		}
		if now["header "+disk.headerAt()] != disk.LUKSUUID {
			w.t.Fatalf("%s: %s bears %s", what, disk.headerAt(), now["header "+disk.headerAt()])
		}
		for _, made := range made {
			if now[made] == "" {
				w.t.Fatalf("%s: there is no %s", what, made)
			}
			delete(now, made)
		}
		if open := now["mapping "+disk.Mapper] != ""; open == plan.Options.Close {
			w.t.Fatalf("%s: the mapping %s is open: %v", what, disk.Mapper, open)
		}
		delete(now, "mapping "+disk.Mapper)
		if f := disk.Filesystem; f != nil {
			want := disk.Device
			if plan.Options.Close {
				want = ""
			}
			if at, there := now["folder "+f.Mount]; !there || at != want {
				w.t.Fatalf("%s: %q is mounted on %s", what, at, f.Mount)
			}
			delete(now, "folder "+f.Mount)
		}
	}
	w.wantRecorded(plan.Job, what)
	clone := now["domain "+plan.Clone.Name]
	if !strings.Contains(clone, plan.Clone.UUID) || !strings.Contains(clone, plan.Job) {
		w.t.Fatalf("%s: the clone is %q", what, clone)
	}
	delete(now, "domain "+plan.Clone.Name)
	for _, file := range plan.Firmware.Files {
		if now["file "+file.To] != before["file "+file.From] {
			w.t.Fatalf("%s: the %s is %q", what, file.What, now["file "+file.To])
		}
		delete(now, "file "+file.To)
	}
	for name := range now {
		if strings.HasPrefix(name, "group ") || strings.HasPrefix(name, "file "+w.state) {
			delete(now, name)
		}
	}
	rest := make(look)
	for name, was := range before {
		if !strings.HasPrefix(name, "group ") && !strings.HasPrefix(name, "file "+w.state) {
			rest[name] = was
		}
	}
	for i := range plan.Disks {
		delete(rest, "header "+plan.Disks[i].headerAt()) // a device was blank before
	}
	if diff := cmp.Diff(rest, now); diff != "" {
		w.t.Fatalf("%s: more has changed than the clone: %s", what, diff)
	}
}

// compare holds a payload against its source, byte by byte, and says what is
// wrong with it.
func (w *world) compare(disk *DiskPlan) string {
	w.mu.Lock()
	source := w.sources[disk.Source.Path].bytes
	p, size := w.payloads[w.luks.Resolve(disk.Volume.Path)], roundUp(int64(len(source)), 4096)
	if disk.Filesystem != nil {
		p, size = w.imageOf(disk), int64(len(source))
	}
	w.mu.Unlock()
	if p == nil {
		return "nothing was written"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.header != disk.LUKSUUID:
		return "it was written under another header"
	case int64(len(p.synced)) != size:
		return fmt.Sprintf("%d bytes for %d", len(p.synced), len(source))
	case !slices.Equal(p.live, p.synced):
		return "not all of it was flushed"
	case !slices.Equal(p.live[:len(source)], source):
		return "it differs from the source"
	}
	for _, b := range p.live[len(source):] {
		if b != 0 {
			return "what follows the source is not zeros"
		}
	}
	return ""
}

// keyring implements Keyring.
type keyring struct{ w *world }

func (k keyring) Key(_ context.Context, _ string, fresh bool) (luks.Key, error) {
	return port(k.w, "ask for the key", func() (luks.Key, error) {
		k.w.mu.Lock()
		k.w.asked++
		if fresh {
			k.w.twice++
		}
		k.w.mu.Unlock()
		return luks.NewKey([]byte(k.w.secret))
	})
}
