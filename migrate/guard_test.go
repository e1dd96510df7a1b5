package migrate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

const twinUUID = "22222222-2222-4333-8444-555555555555"

// addTwin adds a VM that has one of imap's disks too.
func (w *world) addTwin(path, more string) {
	w.virt.add(w.t, definition("twin", twinUUID, "", rawDisk("vdz", path, more)))
}

// A source that is started while it is copied stops the job before a clone
// exists, and the job can be gone on with.
func TestAVMThatStartsOnTheSourceStopsTheJob(t *testing.T) {
	for _, c := range []struct {
		what string
		step StepName
		// start starts a VM, whose name is who.
		start func(*world)
		who   string
	}{
		{"the original, during the copy", Copy, func(w *world) { w.virt.SetState(imapUUID, hypervisor.Running) }, "imap"},
		{"the original, during the verification", Verify, func(w *world) { w.virt.SetState(imapUUID, hypervisor.Running) }, "imap"},
		{"the original, paused at once", Copy, func(w *world) { w.virt.SetState(imapUUID, hypervisor.Paused) }, "imap"},
		{"another VM with the same disk", Copy, func(w *world) { w.virt.SetState(twinUUID, hypervisor.Running) }, "twin"},
		{"the original, without a word from libvirt", Copy, func(w *world) { w.virt.quietly("imap", hypervisor.Running) }, "imap"},
		{"the original, after the daemon was restarted", Copy, func(w *world) {
			w.virt.Break()
			w.virt.quietly("imap", hypervisor.Running)
		}, "imap"},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.addTwin("/srv/imap-1.img", "")
				before := w.look()
				plan := w.planned()
				w.during = func(ctx context.Context, step StepName) {
					if step != c.step {
						return
					}
					synctest.Wait() // the guard is at its post
					c.start(w)
					began := time.Now()
					select {
					case <-ctx.Done():
					case <-time.After(time.Hour):
					}
					if took := time.Since(began); took > guardInterval {
						t.Errorf("it took %v to notice", took)
					}
				}
				_, err := w.run(plan, "")
				stopped := w.wantStopped(err, c.step, Kept, c.what)
				var started *SourceStartedError
				if !errors.As(err, &started) || started.VM != c.who {
					t.Errorf("got %v", err)
				}
				if stopped.Disk != "vda" || w.virt.find("imap-luks").Name != "" {
					t.Errorf("stopped at %s, with the clone %+v", stopped.Disk, w.virt.find("imap-luks"))
				}
				w.during = nil
				if _, err := w.resume(plan.Job); !errors.As(err, &started) && c.who == "imap" {
					t.Errorf("resumed while it runs: %v", err)
				}
				w.virt.quietly(c.who, hypervisor.ShutOff)
				if _, err := w.resume(plan.Job); err != nil && !isFinished(err) {
					t.Fatal(err)
				}
				w.wantMoved(before, plan, c.what)
			})
		})
	}
}

func TestAVMThatHasNothingToDoWithTheSourceMayRun(t *testing.T) {
	for what, add := range map[string]func(*world){
		"another disk":         func(w *world) { w.addTwin("/srv/other.img", "") },
		"the disk for reading": func(w *world) { w.addTwin("/srv/imap-1.img", "<readonly/>") },
	} {
		w := newWorld(t)
		w.sources["/srv/other.img"] = &source{bytes: noise("other", 4096), mod: noon()}
		add(w)
		plan := w.planned()
		w.virt.SetState(twinUUID, hypervisor.Running)
		if _, err := w.run(plan, ""); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A libvirt that does not answer costs the copy nothing: define asks again.
func TestALibvirtThatHangsDuringTheCopyIsNoHarm(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.planned()
	w.deaf = &hypervisor.TimeoutError{Call: "list the domains", After: 30 * time.Second}
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "without a guard")
}

// What the guard could not see, define does.
func TestASourceThatRunsAtTheEndKeepsTheCloneFromExisting(t *testing.T) {
	for _, who := range []string{"imap", "twin"} {
		w := newWorld(t)
		w.addTwin("/srv/imap-1.img", "")
		before := w.look()
		plan := w.planned()
		w.heard = func(event Event) {
			if event.Event == StepStarted && event.Step == HeaderBackup {
				w.virt.quietly(who, hypervisor.Running)
			}
		}
		_, err := w.run(plan, "")
		w.wantStopped(err, Define, Kept, who)
		var started *SourceStartedError
		if !errors.As(err, &started) || started.VM != who {
			t.Errorf("%s: %v", who, err)
		}
		w.heard = nil
		w.virt.quietly(who, hypervisor.ShutOff)
		w.mustRollback(plan.Job, who)
		w.wantSame(before, who)
	}
}

// The source is looked at again before each run, resume and definition.
func TestASourceThatChangedIsNotMixedIntoTheCopy(t *testing.T) {
	write := func(path string, marked bool) func(*world) {
		return func(w *world) {
			source := w.sources[path]
			source.bytes = append([]byte(nil), source.bytes...)
			source.bytes[100]++
			if marked {
				source.writes += 8
				source.mod = source.mod.Add(time.Second)
			}
		}
	}
	for what, change := range map[string]func(*world){
		"a device was written":                 write("/dev/vg0/imap", true),
		"a file was written":                   write("/srv/imap-1.img", true),
		"only its bytes tell":                  write("/dev/vg0/imap", false),
		"it has shrunk":                        func(w *world) { w.sources["/dev/vg0/imap"].bytes = noise("short", 4096) },
		"it has grown":                         func(w *world) { w.sources["/dev/vg0/imap"].bytes = noise("long", 65536) },
		"it is gone":                           func(w *world) { delete(w.sources, "/srv/imap-1.img") },
		"it is no device any more":             func(w *world) { w.sources["/dev/vg0/imap"].block = false },
		"it was written and the host rebooted": func(w *world) { w.sources["/dev/vg0/imap"].writes = 8 },
		"the VM has a new UUID": func(w *world) {
			w.virt.remove(w.t, "imap")
			w.virt.add(w.t, definition("imap", "99999999-2a1c-4c38-a1c5-1b2c3d4e5f60", "", rawDisk("vda", "/dev/vg0/imap", "")))
		},
		"the VM has another disk there": func(w *world) {
			w.virt.remove(w.t, "imap")
			w.virt.add(w.t, definition("imap", imapUUID, "", rawDisk("vda", "/dev/vg0/imap", "")+rawDisk("vdb", "/srv/new.img", "")))
		},
		"the VM lacks the disk": func(w *world) {
			w.virt.remove(w.t, "imap")
			w.virt.add(w.t, definition("imap", imapUUID, "", rawDisk("vda", "/dev/vg0/imap", "")))
		},
		"its memory was saved": func(w *world) {
			w.virt.Change(imapUUID, func(domain *hypervisor.Domain) { domain.ManagedSave = true })
		},
	} {
		w := newWorld(t)
		plan := w.planned()
		_, err := w.run(plan, Copy)
		w.wantStopped(err, Copy, Kept, what)
		change(w)
		_, err = w.resume(plan.Job)
		w.wantStopped(err, Preflight, Kept, what)
		var changed *SourceChangedError
		var conflict *ConflictError
		var blocked *BlockedError
		if !errors.As(err, &changed) && !errors.As(err, &conflict) && !errors.As(err, &blocked) {
			t.Errorf("%s: %v", what, err)
		}
		if w.virt.find("imap-luks").Name != "" {
			t.Errorf("%s: a clone was defined", what)
		}
		if what == "only its bytes tell" {
			continue // nothing tells before any chunk was copied
		}
		w = newWorld(t)
		before := w.look()
		plan = w.planned()
		change(w)
		if _, err = w.run(plan, ""); err == nil {
			t.Errorf("%s: ran all the same", what)
		}
		w.wantStopped(err, Preflight, Refused, what)
		if now := w.look(); now["volume vg0/imap-vda-luks"] != "" || len(w.jobs()) > 0 || now["group vg0"] != before["group vg0"] {
			t.Errorf("%s: something was made: %v", what, now)
		}
	}
}
