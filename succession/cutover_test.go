package succession

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

func TestTheCloneTakesItsOriginalsPlaceAndGivesItBack(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	outcome, err := w.Cutover(t.Context(), "imap-luks", false)
	no(t, err)
	if outcome.Clone != "imap" || outcome.Original != "imap-plain" || w.standing() != "imap-plain=plain imap=clone web=web" {
		t.Errorf("%+v: %s", outcome, w.standing())
	}
	clone, err := w.Clones.Find(t.Context(), "imap")
	no(t, err)
	plain, err := w.virt.Domain(t.Context(), "imap-plain")
	no(t, err)
	if clone.UUID != imapUUID || clone.XML.Interfaces()[0].MAC != imapMAC || clone.Autostart || plain.Autostart {
		t.Errorf("the clone is %+v, the original %+v", clone.Domain, plain)
	}
	if o := clone.Origin; o.UUID != plain.UUID || o.Name != "imap" || o.Cutover == nil || o.Cutover.Name != "imap-luks" || o.Cutover.UUID != cloneUUID || !o.Cutover.Autostart {
		t.Errorf("its metadata tell %+v", o)
	}
	text, err := w.virt.XML(t.Context(), plain.UUID)
	no(t, err)
	for _, part := range []string{cloneMAC, "/var/log/imap.log", "/nvram/imap_VARS.fd", "<target dev='tap0'/>", "passwd='secret'", "port='5901'", "<entry name='uuid'>" + plain.UUID} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the original's definition has no %s:\n%s", part, text)
		}
	}
	now := w.look()
	if now["tpm "+imapUUID] != "of "+cloneUUID || now["tpm "+plain.UUID] != "of "+imapUUID || now["domain web"] != before["domain web"] {
		t.Errorf("there is %v", now)
	}
	jobs, err := Jobs(w.Store)
	if err != nil || len(jobs) != 1 || jobs[0].State != migrate.StateDone {
		t.Errorf("jobs: %+v, %v", jobs, err)
	}

	for range 2 {
		_, err = w.Cutover(t.Context(), "imap", false)
		no(t, err)
	}
	if diff := cmp.Diff(now, w.look()); diff != "" {
		t.Errorf("a second cutover changed something:\n%s", diff)
	}

	_, err = w.Cutover(t.Context(), "imap", true)
	no(t, err)
	if diff := cmp.Diff(before, w.look()); diff != "" {
		t.Errorf("what is back is not what was:\n%s", diff)
	}
	_, err = w.Cutover(t.Context(), "imap-luks", true)
	no(t, err)
	if jobs, err := Jobs(w.Store); err != nil || len(jobs) != 0 {
		t.Errorf("jobs: %+v, %v", jobs, err)
	}
}

func TestWhatWasChangedAfterACutoverStaysAtItsUndo(t *testing.T) {
	w := newWorld(t)
	_, err := w.Cutover(t.Context(), "imap-luks", false)
	no(t, err)
	for _, name := range []string{"imap", "imap-plain"} {
		d, err := w.virt.Domain(t.Context(), name)
		no(t, err)
		text, err := w.virt.XML(t.Context(), d.UUID)
		no(t, err)
		_, err = w.virt.Redefine(t.Context(), []byte(strings.Replace(string(text), "<memory>1024", "<memory>2048", 1)))
		no(t, err)
	}
	_, err = w.Cutover(t.Context(), "imap", true)
	no(t, err)
	for name, text := range w.look() {
		if strings.HasPrefix(name, "domain imap") && !strings.Contains(text, "<memory>2048") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// With --keep-mac both had one address, and two domains never share one for long.
func TestAnOriginalOfTheSameAddressGetsAnother(t *testing.T) {
	w := newWorld(t)
	w.add(domain("imap-luks", cloneUUID, imapMAC, origin(""), disk("/dev/mapper/cr_imap_vda")))
	before := w.look()
	_, err := w.Cutover(t.Context(), "imap-luks", false)
	no(t, err)
	now := w.look()
	if !strings.Contains(now["domain imap"], imapMAC) || strings.Contains(now["domain imap-plain"], imapMAC) || !strings.Contains(now["domain imap-plain"], "52:54:00:") {
		t.Errorf("there is %v", now)
	}
	_, err = w.Cutover(t.Context(), "imap", true)
	no(t, err)
	if diff := cmp.Diff(before, w.look()); diff != "" {
		t.Error(diff)
	}
}

func TestACutoverThatCannotBeIsRefusedBeforeAnything(t *testing.T) {
	turn := func(uuid string, change func(*hypervisor.Domain)) func(*world) {
		return func(w *world) { w.virt.Change(uuid, change) }
	}
	problem := func(want Problem, vm string) func(*testing.T, error) {
		return func(t *testing.T, err error) {
			if bad := wrong[*PartyError](t, err); bad.Problem != want || bad.VM != vm || bad.Clone != "imap-luks" {
				t.Errorf("%+v", bad)
			}
		}
	}
	for what, c := range map[string]struct {
		name    string
		arrange func(*world)
		check   func(*testing.T, error)
	}{
		"the original runs":    {"", turn(imapUUID, func(d *hypervisor.Domain) { d.State = hypervisor.Running }), problem(Active, "imap")},
		"the clone runs":       {"", turn(cloneUUID, func(d *hypervisor.Domain) { d.State = hypervisor.Paused }), problem(Active, "imap-luks")},
		"a managed save image": {"", turn(imapUUID, func(d *hypervisor.Domain) { d.ManagedSave = true }), problem(ManagedSave, "imap")},
		"snapshots":            {"", turn(cloneUUID, func(d *hypervisor.Domain) { d.Snapshots = 1 }), problem(Snapshots, "imap-luks")},
		"checkpoints":          {"", turn(imapUUID, func(d *hypervisor.Domain) { d.Checkpoints = 2 }), problem(Checkpoints, "imap")},
		"a transient clone":    {"", turn(cloneUUID, func(d *hypervisor.Domain) { d.Persistent = false }), problem(Transient, "imap-luks")},
		"the original is no more": {"", func(w *world) { no(w.t, w.virt.Undefine(context.Background(), imapUUID)) }, func(t *testing.T, err error) {
			if gone := wrong[*NoOriginalError](t, err); gone.Taken || gone.Original != "imap" {
				t.Errorf("%+v", gone)
			}
		}},
		"another has the original's name": {"", func(w *world) {
			no(w.t, w.virt.Undefine(context.Background(), imapUUID))
			w.add(domain("imap", "00000000-0f3e-4a55-9a7e-2b8c51f0aa02", imapMAC, "", ""))
		}, func(t *testing.T, err error) {
			if gone := wrong[*NoOriginalError](t, err); !gone.Taken {
				t.Errorf("%+v", gone)
			}
		}},
		"the original was retired": {"", func(w *world) {
			w.add(domain("imap-luks", cloneUUID, cloneMAC, origin(`<vmmigrate:retired time="x" method="zero" kept="no"/>`), disk("/dev/mapper/cr_imap_vda")))
		}, func(t *testing.T, err error) {
			if gone := wrong[*NoOriginalError](t, err); !gone.Retired {
				t.Errorf("%+v", gone)
			}
		}},
		"imap-plain is taken": {"", func(w *world) {
			w.add(domain("imap-plain", "00000000-0f3e-4a55-9a7e-2b8c51f0aa02", "52:54:00:00:00:09", "", ""))
		}, func(t *testing.T, err error) { wrong[*NameTakenError](t, err) }},
		"the original has two clones": {"", func(w *world) {
			w.add(domain("imap-2", "00000000-0f3e-4a55-9a7e-2b8c51f0aa02", "52:54:00:00:00:09", origin(""), ""))
		}, func(t *testing.T, err error) { wrong[*SiblingError](t, err) }},
		"the clone's volume is gone": {"", func(w *world) { w.problem = &lifecycle.VolumeError{} }, func(t *testing.T, err error) { wrong[*lifecycle.VolumeError](t, err) }},
		"it is the original that is named": {"imap", func(*world) {}, func(t *testing.T, err error) {
			if unknown := wrong[*lifecycle.UnknownCloneError](t, err); len(unknown.Clones) != 1 {
				t.Errorf("%+v", unknown)
			}
		}},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			c.arrange(w)
			before := w.look()
			name := c.name
			if name == "" {
				name = "imap-luks"
			}
			_, err := w.Cutover(t.Context(), name, false)
			c.check(t, err)
			if diff := cmp.Diff(before, w.look()); diff != "" {
				t.Error(diff)
			}
			if jobs, err := Jobs(w.Store); err != nil || len(jobs) != 0 {
				t.Errorf("jobs: %+v, %v", jobs, err)
			}
		})
	}
}

func TestADefinitionThatIsEditedMeanwhileIsNotLost(t *testing.T) {
	w := newWorld(t)
	edited := strings.Replace(domain("imap", imapUUID, imapMAC, "", disk("/dev/vg0/imap")), "1024", "4096", 1)
	w.virt.Before = func(call string) error {
		if call == "Define" {
			t.Error("something was defined")
		}
		return nil
	}
	asked := 0
	w.virt.After = nil
	w.Reporter = heard(func(e migrate.Event) {
		if e.Event == migrate.StepStarted && e.Step == migrate.StepAside {
			asked++
			w.add(edited)
		}
	})
	_, err := w.Cutover(t.Context(), "imap-luks", false)
	wrong[*ChangedError](t, err)
	if failed := wrong[*StepError](t, err); failed.Aftermath != migrate.TakenBack || asked != 1 {
		t.Errorf("%+v", failed)
	}
	if !strings.Contains(w.look()["domain imap"], "4096") || w.standing() != "imap-luks=clone imap=plain web=web" {
		t.Error(w.standing())
	}
}

type heard func(migrate.Event)

func (h heard) Report(e migrate.Event) { h(e) }

func TestAnErrorOfLibvirtsIsTakenBack(t *testing.T) {
	for _, call := range []string{"Define", "Redefine", "SetAutostart", "Undefine"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t)
			before := w.look()
			refused, count := &hypervisor.RefusedError{Call: call, Message: "no"}, 0
			w.virt.Before = func(c string) error {
				if c != call {
					return nil
				}
				if count++; count == 1 {
					return refused
				}
				return nil
			}
			_, err := w.Cutover(t.Context(), "imap-luks", false)
			if failed := wrong[*StepError](t, err); failed.Aftermath != migrate.TakenBack || !errors.Is(err, refused) {
				t.Errorf("%+v", failed)
			}
			if diff := cmp.Diff(before, w.look()); diff != "" {
				t.Error(diff)
			}
			if jobs, err := Jobs(w.Store); err != nil || len(jobs) != 0 {
				t.Errorf("jobs: %+v, %v", jobs, err)
			}
		})
	}
}

func TestALibvirtThatHangsLeavesAJobThatGoesOn(t *testing.T) {
	w := newWorld(t)
	hangs := false
	w.virt.Before = func(call string) error {
		if hangs = hangs || call == "Redefine"; hangs {
			return &hypervisor.TimeoutError{Call: call}
		}
		return nil
	}
	_, err := w.Cutover(t.Context(), "imap-luks", false)
	if failed := wrong[*StepError](t, err); failed.Aftermath != migrate.UndoFailed {
		t.Errorf("%+v", failed)
	}
	w.virt.Before = nil
	half := wrong[*HalfError](t, Ready(w.Store, "imap"))
	if _, err := w.Cutover(t.Context(), "imap-luks", false); err == nil {
		t.Error("a cutover whose rollback has begun went forward")
	}
	no(t, w.Rollback(t.Context(), half.Job))
	if w.standing() != "imap-luks=clone imap=plain web=web" {
		t.Error(w.standing())
	}
}

func TestAStateDirectoryThatIsFullOrReadOnlyChangesNothing(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	blocked := filepath.Join(t.TempDir(), "file")
	no(t, os.WriteFile(blocked, nil, 0o600))
	w.Store.Dir = filepath.Join(blocked, "state") // mkdir fails, as root too
	_, err := w.Cutover(t.Context(), "imap-luks", false)
	if err == nil {
		t.Error("it went without a journal")
	}
	if diff := cmp.Diff(before, w.look()); diff != "" {
		t.Error(diff)
	}
}

func TestTwoAtOnceExcludeEachOther(t *testing.T) {
	w := newWorld(t)
	w.Reporter = heard(func(e migrate.Event) {
		if e.Event != migrate.StepStarted || e.Step != migrate.TakePlace {
			return
		}
		_, err := w.Cutover(t.Context(), "imap", true)
		if half := wrong[*HalfError](t, err); !half.Running {
			t.Errorf("%+v", half)
		}
		jobs, err := Jobs(w.Store)
		no(t, err)
		_, err = w.Resume(t.Context(), jobs[0].ID)
		wrong[*journal.LockedError](t, err)
	})
	_, err := w.Cutover(t.Context(), "imap-luks", false)
	no(t, err)
}

func TestTheOtherPartyOfAnUndoneOriginIsReadBack(t *testing.T) {
	w := newWorld(t)
	_, err := w.Cutover(t.Context(), "imap-luks", false)
	no(t, err)
	no(t, os.RemoveAll(w.Store.Dir)) // its metadata are enough
	_, err = w.Cutover(t.Context(), "imap", true)
	no(t, err)
	text, err := w.virt.XML(t.Context(), cloneUUID)
	no(t, err)
	if origin, ok, err := domainxml.ReadOrigin(text); err != nil || !ok || origin.Cutover != nil || origin.UUID != imapUUID {
		t.Errorf("%+v, %v", origin, err)
	}
}
