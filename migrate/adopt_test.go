package migrate

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/virtinstall"
)

// p2v is an image that no domain has.
const p2v = "/srv/p2v.raw"

// newP2V is a world in which there is one too.
func newP2V(t *testing.T) *world {
	w := newWorld(t)
	w.sources[p2v] = &source{bytes: noise("p2v", 9000), mod: noon()}
	return w
}

// adoption makes the VM files of it, from a template.
func adoption() Adoption {
	return Adoption{Name: "files", Disks: []string{p2v}, TemplateFile: "t.xml", Template: definition("old", "", "", rawDisk("sda", "/srv/other.img", ""))}
}

func (w *world) adopt(a Adoption, options Options) (*Plan, error) {
	w.t.Helper()
	env := w.env()
	facts, err := env.Gather(context.Background())
	if err != nil {
		w.t.Fatalf("gather: %v", err)
	}
	vm, err := env.GatherAdoption(context.Background(), facts, a)
	if err != nil {
		return nil, err
	}
	w.seed++
	return (&Decider{Facts: facts, Random: dice(w.seed), Store: env.Store, Taken: Budget{}}).Adopt(vm, options)
}

// adopted is a plan that can be carried out, after which the count of points
// begins.
func (w *world) adopted() *Plan {
	w.t.Helper()
	w.disarm()
	chosen := options()
	chosen.VG = "vg0"
	plan, err := w.adopt(adoption(), chosen)
	if err != nil || len(plan.Blockers) > 0 {
		w.t.Fatalf("%v, %v", err, plan)
	}
	w.disarm()
	return plan
}

func TestAnImageBecomesAVM(t *testing.T) {
	w := newP2V(t)
	before := w.look()
	plan := w.adopted()
	if plan.VM != "files" || plan.Clone.Name != "files" || plan.Disks[0].Source.Format != "raw" || !plan.Adopted.FormatAssumed || plan.Disks[0].Volume.Name != "files-sda-luks" {
		t.Errorf("the plan is %+v", plan)
	}
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "adopted")
	made := w.virt.find("files")
	raw, err := w.virt.XML(context.Background(), made.UUID)
	if err != nil {
		t.Fatal(err)
	}
	origin, ok, err := domainxml.ReadOrigin(raw)
	if err != nil || !ok || !origin.Adopted() || origin.Name != "files" || origin.Disks[0].Source != p2v {
		t.Errorf("its origin is %+v, %v", origin, err)
	}
	if strings.Contains(string(raw), "52:54:00:aa:bb:01") || strings.Contains(string(raw), plan.VMUUID) {
		t.Errorf("it has an address or a UUID of the template's:\n%s", raw)
	}
	t.Run("and is told to be one already when it is adopted again", func(t *testing.T) {
		again, err := w.adopt(adoption(), options())
		if err != nil || again.Result() != ResultDone {
			t.Errorf("%v, %+v", err, again.Blockers)
		}
	})
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "rolled back")
}

func TestWhateverFailsInAnAdoptionItCanBeResumed(t *testing.T) {
	t.Parallel()
	counted := newP2V(t)
	_, _ = counted.run(counted.adopted(), "")
	everywhere(t, append([]string(nil), counted.names...), func(t *testing.T, what string, at int, mode mode) {
		w := newP2V(t)
		before := w.look()
		plan := w.adopted()
		w.arm(at, mode)
		_, err := w.run(plan, "")
		w.settle(before, plan, err, what, at%2 == 0)
		defined := w.virt.find(plan.Clone.Name).Name != ""
		if len(w.jobs()) == 0 {
			plan = w.adopted()
			if _, err := w.run(plan, ""); err != nil {
				t.Fatalf("%s: again: %v", what, err)
			}
		} else if _, err := w.resume(plan.Job); err != nil && !isFinished(err) {
			t.Fatalf("%s: resumed: %v", what, err)
		}
		if defined {
			plan.Options.Close = w.look()["mapping "+plan.Disks[0].Mapper] == ""
		}
		w.wantMoved(before, plan, what)
	})
}

func TestWhateverFailsInAnAdoptionItCanBeRolledBack(t *testing.T) {
	t.Parallel()
	counted := newP2V(t)
	_, _ = counted.run(counted.adopted(), "")
	everywhere(t, append([]string(nil), counted.names...), func(t *testing.T, what string, at int, mode mode) {
		w := newP2V(t)
		before := w.look()
		plan := w.adopted()
		w.arm(at, mode)
		_, err := w.run(plan, "")
		w.settle(before, plan, err, what, at%2 == 0)
		if len(w.jobs()) > 0 {
			w.mustRollback(plan.Job, what)
			w.wantSame(before, what)
		}
	})
}

func TestAnImageThatIsInTheWayIsToldInThePlan(t *testing.T) {
	for what, c := range map[string]struct {
		set  func(*world, *Adoption)
		code Code
		says string
	}{
		"no such file":      {func(_ *world, a *Adoption) { a.Disks[0] = "/srv/none" }, SourceMissing, "does not exist: /srv/none"},
		"an empty file":     {func(w *world, _ *Adoption) { w.sources[p2v].bytes = nil }, SourceMissing, "is empty"},
		"no qcow2":          {func(_ *world, a *Adoption) { a.Format = image.QCOW2 }, SourceImage, "is no qcow2 image"},
		"a name that is":    {func(_ *world, a *Adoption) { a.Name = "imap" }, CloneTaken, `there is a VM named "imap" already`},
		"a writer":          {func(w *world, _ *Adoption) { w.writers = map[string][]Writer{p2v: {{PID: 7, Name: "qemu-img"}}} }, SourceInUse, "process 7 (qemu-img)"},
		"a running VM":      {func(w *world, _ *Adoption) { w.addTwin(p2v, ""); w.virt.quietly("twin", hypervisor.Running) }, SourceInUse, `in use by the running VM "twin"`},
		"an unfinished job": {func(w *world, _ *Adoption) { _, _ = w.run(w.adopted(), Copy) }, JobUnfinished, "vmmigrate resume"},
	} {
		w := newP2V(t)
		a := adoption()
		c.set(w, &a)
		plan, err := w.adopt(a, Options{VG: "vg0", LUKS: DefaultLUKS(), Verify: VerifyTarget})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		found := false
		for _, blocker := range plan.Blockers {
			found = found || blocker.Code == c.code && strings.Contains(blocker.Message+blocker.Remedy, c.says)
		}
		if !found {
			t.Errorf("%s: %+v", what, plan.Blockers)
		}
		for _, blocker := range plan.Blockers {
			if strings.Contains(blocker.Remedy, "virsh edit") || strings.Contains(blocker.Remedy, "--skip-disk") {
				t.Errorf("%s: %q helps nobody", what, blocker.Remedy)
			}
		}
	}
}

func TestAnImageOfAVMThatIsOffIsOnlyWarnedAbout(t *testing.T) {
	w := newP2V(t)
	w.addTwin(p2v, "")
	plan := w.adopted()
	if len(plan.Warnings) == 0 || !strings.Contains(plan.Warnings[0].String(), "vmmigrate run --vm twin") {
		t.Errorf("%+v", plan.Warnings)
	}
}

func TestAnImageThatIsUsedSinceThePlanEndsTheJob(t *testing.T) {
	for what, use := range map[string]func(*world){
		"a writer":     func(w *world) { w.writers = map[string][]Writer{p2v: {{PID: 7, Name: "qemu-img"}}} },
		"a running VM": func(w *world) { w.addTwin(p2v, ""); w.virt.quietly("twin", hypervisor.Running) },
	} {
		t.Run(what+", before it begins", func(t *testing.T) {
			w := newP2V(t)
			plan := w.adopted()
			use(w)
			before := w.look()
			_, err := w.run(plan, "")
			w.wantStopped(err, Preflight, Refused, what)
			w.wantSame(before, what)
		})
		t.Run(what+", before the VM is defined", func(t *testing.T) {
			w := newP2V(t)
			plan := w.adopted()
			w.heard = func(event Event) {
				if event.Event == StepDone && event.Step == Verify {
					use(w)
				}
			}
			_, err := w.run(plan, "")
			w.wantStopped(err, Define, Kept, what)
			if w.virt.find("files").Name != "" {
				t.Error("it is defined")
			}
		})
	}
}

func TestTheFormatOfAnImageIsNeverBelievedToItsFirstBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 8184)...), 0o600); err != nil {
		t.Fatal(err)
	}
	facts, err := Host{}.Inspect(t.Context(), path)
	if err != nil || facts.Claims != image.QCOW2 {
		t.Fatalf("%+v, %v", facts, err)
	}
	plan := &Plan{Adopted: new(Adopted)}
	(&Decider{Facts: new(Facts)}).judgeImage(plan, "sda", DiskFacts{DeviceFacts: facts})
	if len(plan.Blockers) != 0 || len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0].String(), "--format qcow2") {
		t.Errorf("%+v", plan)
	}
}

type drafts struct{ err error }

func (d drafts) Draft(_ context.Context, name string, disks int, _ virtinstall.Machine) ([]byte, error) {
	all := ""
	for i := range disks {
		all += rawDisk("sd"+string(rune('a'+i)), "/dev/null", "")
	}
	return definition(name, "", "", all), d.err
}

func TestWithoutATemplateTheDefinitionIsDrafted(t *testing.T) {
	w := newP2V(t)
	env := w.env()
	facts, err := env.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.sources["/srv/second"] = &source{bytes: noise("second", 4096), mod: noon()}
	env.Drafts = drafts{}
	vm, err := env.GatherAdoption(t.Context(), facts, Adoption{Name: "files", Disks: []string{p2v, "/srv/second"}})
	if err != nil {
		t.Fatal(err)
	}
	if vm.Disks["sda"].Path != p2v || vm.Disks["sdb"].Path != "/srv/second" || strings.Contains(string(vm.Raw), "/dev/null") {
		t.Errorf("%+v\n%s", vm.Disks, vm.Raw)
	}
	if from := vm.Adopted.From; from != "virt-install: 2048 MiB of memory, 2 virtual CPUs, BIOS, devices that any system knows, no network" {
		t.Errorf("it is from %q", from)
	}
	env.Drafts = drafts{errFailed}
	if _, err := env.GatherAdoption(t.Context(), facts, Adoption{Name: "files", Disks: []string{p2v}}); !errors.Is(err, errFailed) {
		t.Error(err)
	}
	var option *OptionError
	env.Drafts = drafts{}
	if _, err := env.GatherAdoption(t.Context(), facts, Adoption{Name: "files", Disks: []string{p2v, p2v}}); !errors.As(err, &option) {
		t.Error(err)
	}
}

func TestWhoWritesToAFileIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	hold := func(redirection string) (end func()) {
		cmd := exec.Command("sh", "-c", `exec `+redirection+`"$1"; echo; exec sleep 60`, "sh", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 1)) // it is open by then
		return func() { _, _ = cmd.Process.Kill(), cmd.Wait() }
	}
	end := hold("3<")
	if writers, err := (Host{}).Writers(t.Context(), path); err != nil || len(writers) != 0 {
		t.Errorf("a reader is taken for a writer: %v, %v", writers, err)
	}
	end()
	for _, redirection := range []string{"3>>", "3<>"} {
		end := hold(redirection)
		writers, err := Host{}.Writers(t.Context(), path)
		if err != nil || len(writers) != 1 || writers[0].PID == 0 || !strings.Contains(writers[0].String(), "(s") {
			t.Errorf("%s: %v, %v", redirection, writers, err)
		}
		end()
	}
	if _, err := (Host{}).Writers(t.Context(), path+"-none"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
