package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// Every call of a port and every record of the journal is a point where the
// process may die, or the call fail.
type faults struct {
	fmu    sync.Mutex
	names  []string // of the points passed
	at     int      // the point of the fault; none when negative
	mode   mode
	hit    bool
	dead   bool
	full   bool // the state directory takes no more
	back   bool // a rollback is under way
	saved  map[string]map[string]string
	copies bool // a copy or verification is under way
	cancel context.CancelCauseFunc
}

// mode is what happens at a point.
type mode int

const (
	dieBefore  mode = iota // the process dies before the act
	dieAfter               // the process dies when the act is done and nobody knows it
	failBefore             // the act fails and is not done
	failAfter              // the act is done and fails all the same, as a lost connection does
	fillState              // the state directory is full from here on
	interrupt              // the user stops the job
)

func (m mode) String() string {
	return [...]string{"dies before", "dies after", "fails before", "fails after", "is out of room at", "is interrupted at"}[m]
}

var (
	errDead   = errors.New("the process is dead") // no act is done any more
	errFailed = errors.New("injected failure")
)

// arm sets a fault for the next run.
func (w *world) arm(at int, mode mode) {
	w.fmu.Lock()
	defer w.fmu.Unlock()
	w.names, w.at, w.mode, w.hit, w.full = nil, at, mode, false, false
}

// disarm lets everything succeed.
func (w *world) disarm() { w.arm(-1, dieBefore) }

// context is the one of the next run, which interrupt ends.
func (w *world) context() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	w.cancel = cancel
	return ctx
}

// entered notes from an event whether bytes move: what libvirt and the devices
// are asked meanwhile is asked by the guard, side by side with the copy.
func (w *world) entered(event Event) {
	w.fmu.Lock()
	defer w.fmu.Unlock()
	switch event.Event {
	case StepStarted:
		w.copies = event.Step == Copy || event.Step == Verify
	case StepDone, JobStarted:
		w.copies = false
	case Progress, Warning, JobDone, JobFailed:
	}
}

func (w *world) guardCall(name string) bool {
	return w.copies && (strings.HasPrefix(name, "libvirt:") || strings.HasPrefix(name, "device:"))
}

// before is asked before a call.
func (w *world) before(name string) error {
	w.fmu.Lock()
	defer w.fmu.Unlock()
	if w.dead {
		return errDead
	}
	if w.guardCall(name) {
		return w.deaf
	}
	w.names = append(w.names, name)
	if len(w.names)-1 != w.at {
		return nil
	}
	w.hit = true
	switch w.mode {
	case dieBefore:
		w.die()
		return errDead
	case failBefore:
		return errFailed
	case fillState:
		w.fill()
	case interrupt:
		w.cancel(&InterruptedError{Why: "SIGINT"})
	case dieAfter, failAfter:
	}
	return nil
}

// after is asked after a call that did its act.
func (w *world) after(name string) error {
	w.fmu.Lock()
	defer w.fmu.Unlock()
	switch {
	case w.dead:
		return errDead
	case w.guardCall(name) || len(w.names)-1 != w.at:
		return nil
	case w.mode == dieAfter:
		w.die()
		return errDead
	case w.mode == failAfter:
		return errFailed
	}
	return nil
}

func port[T any](w *world, name string, act func() (T, error)) (T, error) {
	var none T
	if err := w.before(name); err != nil {
		return none, err
	}
	result, err := act()
	if err == nil {
		err = w.after(name)
	}
	return result, err // a copy that fails tells how far it came
}

func does(w *world, name string, act func() error) error {
	_, err := port(w, name, func() (struct{}, error) { return struct{}{}, act() })
	return err
}

// record is the point right before the journal writes a record.
const record = "journal: record"

// now is the clock. The journal looks at it before each record.
func (w *world) now() time.Time {
	var callers [1]uintptr
	runtime.Callers(2, callers[:])
	if frame, _ := runtime.CallersFrames(callers[:]).Next(); strings.Contains(frame.Function, "/journal.") {
		_ = w.before(record) // the clock itself never fails
		_ = w.after(record)
	}
	return noon()
}

// die keeps what is on disk as the process leaves it: nothing that it would
// still do counts, since it does nothing any more.
func (w *world) die() {
	w.dead = true
	w.saved = map[string]map[string]string{w.state: contents(w.t, w.state), w.files: contents(w.t, w.files)}
}

// restart begins a new process on the same host, or after a power cut on the
// same disks.
func (w *world) restart(powerCut bool) {
	w.t.Helper()
	if w.dead {
		for dir, files := range w.saved {
			if err := restore(dir, files); err != nil {
				w.t.Fatalf("restore: %v", err)
			}
		}
	}
	w.fmu.Lock()
	w.dead, w.saved, w.copies = false, nil, false
	w.fmu.Unlock()
	w.disarm()
	if powerCut {
		w.cutPower()
	}
}

func restore(dir string, files map[string]string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for path, content := range files {
		if content == "folder" {
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// cutPower closes all mappings and loses what was not flushed to them. Guests
// stop, and volumes have to be activated again.
func (w *world) cutPower() {
	w.luks.Reboot()
	w.fs.Reboot()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.payloads {
		p.live = append([]byte(nil), p.synced...)
	}
	for _, images := range w.images {
		for _, p := range images {
			p.live = append([]byte(nil), p.synced...)
		}
	}
	lvs, err := w.lvm.LVs(context.Background())
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	for _, lv := range lvs {
		w.inactive[lv.Path] = w.sources[lv.Path] == nil
	}
	for name := range w.virt.all() {
		w.virt.quietly(name, hypervisor.ShutOff)
	}
}

// fill makes every further write to the open files of the state directory fail
// with ENOSPC, by putting /dev/full in their place. The locks are left alone.
func (w *world) fill() {
	w.full = true
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	defer full.Close()
	for _, descriptor := range descriptors {
		path, err := os.Readlink(filepath.Join("/proc/self/fd", descriptor.Name()))
		number, atoiErr := strconv.Atoi(descriptor.Name())
		if err != nil || atoiErr != nil || !strings.HasPrefix(path, w.state+"/jobs/") || filepath.Base(path) != journal.FileName {
			continue
		}
		if err := unix.Dup3(int(full.Fd()), number, unix.O_CLOEXEC); err != nil {
			w.t.Fatalf("%v", err)
		}
	}
}

// journals are the records of all jobs.
func (w *world) journals() map[string][]journal.Record {
	ids, err := journal.List(filepath.Join(w.state, "jobs"))
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	all := make(map[string][]journal.Record)
	for _, id := range ids {
		records, err := journal.Read(filepath.Join(w.state, "jobs", id))
		if err != nil {
			w.t.Fatalf("the journal of %s: %v", id, err)
		}
		all[id] = records
	}
	return all
}

// mustIntend fails unless a journal says that one of these steps is about to
// act or to be undone: invariant 6.
func (w *world) mustIntend(steps ...StepName) {
	for _, records := range w.journals() {
		last := make(map[stepKey]journal.Kind)
		for _, r := range records {
			if r.Kind != journal.Note {
				last[stepKey{StepName(r.Step), r.Disk}] = r.Kind
			}
		}
		for k, kind := range last {
			for _, step := range steps {
				if k.step == step && (kind == journal.Intent || kind == journal.Undoing) {
					return
				}
			}
		}
	}
	// A full state directory must not keep a rollback from going on.
	if !w.full || !w.back {
		w.t.Errorf("an act of %v is not in the journal", steps)
	}
}

// wantRecorded fails unless the journal of a job that is done says so of each
// of its steps.
func (w *world) wantRecorded(id, what string) {
	w.t.Helper()
	records := w.journals()[id]
	var plan Plan
	if len(records) == 0 || json.Unmarshal(records[0].Data, &plan) != nil {
		w.t.Fatalf("%s: the job %s has no plan", what, id)
	}
	done := make(map[stepKey]bool)
	for _, r := range records {
		done[stepKey{StepName(r.Step), r.Disk}] = r.Kind == journal.Done || done[stepKey{StepName(r.Step), r.Disk}]
	}
	for _, a := range acts(&plan) {
		if k := key(a.step.Name(), a.disk); !done[k] {
			w.t.Fatalf("%s: %s of %q is not recorded as done", what, k.step, k.disk)
		}
	}
}
