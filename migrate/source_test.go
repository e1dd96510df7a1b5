package migrate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
)

const (
	topImage  = "/srv/images/imap.qcow2"
	baseImage = "/srv/images/base.qcow2"
)

// withImage gives imap a third disk: a qcow2 file with another behind it.
func (w *world) withImage(more string) {
	size := int64(3*4096 + 512)
	for _, path := range []string{topImage, baseImage} {
		w.sources[path] = &source{bytes: noise(path, size), mod: noon()}
	}
	w.chains = map[string]image.Chain{topImage: {
		{Path: topImage, Format: image.QCOW2, Size: size, Cluster: 65536},
		{Path: baseImage, Format: image.QCOW2, Size: size, Cluster: 65536},
	}}
	w.damaged = make(map[string]error)
	disk := strings.Replace(rawDisk("vdq", topImage, more), "type='raw'", "type='qcow2'", 1)
	w.virt.remove(w.t, "imap")
	w.virt.add(w.t, definition("imap", imapUUID, "", rawDisk("vda", "/dev/vg0/imap", "")+rawDisk("vdb", "/srv/imap-1.img", "")+disk))
}

func TestAnImageMovesAndComesBackLikeAnyDisk(t *testing.T) {
	w := newWorld(t)
	w.withImage("")
	before := w.look()
	plan := w.planned()
	disk := plan.Disks[len(plan.Disks)-1]
	if disk.Source.Format != "qcow2" || len(disk.Source.Files) != 2 || disk.Source.Size != 3*4096+512 || disk.Payload != 4*4096 {
		t.Fatalf("the plan is %+v", disk)
	}
	summary, err := w.run(plan, "")
	if err != nil {
		t.Fatal(err)
	}
	if problem := w.compare(&disk); problem != "" {
		t.Error(problem)
	}
	clone := w.virt.all()[summary.Clone]
	if !strings.Contains(clone, "size=\"12800\"") && !strings.Contains(clone, "size='12800'") || strings.Contains(clone, "type='qcow2'") {
		t.Errorf("the clone is %s", clone)
	}
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, w.look()); diff != "" {
		t.Errorf("not as it was: %s", diff)
	}
}

func TestADamagedImageIsRefusedBeforeAnythingIsMade(t *testing.T) {
	for _, damage := range []error{
		&image.Error{Path: baseImage, Reason: "is damaged: ERROR cluster 5 refcount=0", Remedy: "qemu-img check -r all " + baseImage},
		&image.LockedError{Path: topImage},
	} {
		w := newWorld(t)
		w.withImage("")
		plan := w.planned()
		before := w.look()
		w.damaged[topImage] = damage
		_, err := w.run(plan, "")
		var step *StepError
		if !errors.As(err, &step) || step.Aftermath != Refused || !strings.Contains(err.Error(), damage.Error()) {
			t.Errorf("%v: %v", damage, err)
		}
		if diff := cmp.Diff(before, w.look()); diff != "" {
			t.Errorf("%v: not as it was: %s", damage, diff)
		}
	}
}

// Invariant: what is behind an image is as much the source as the image.
func TestAWriteToAnImageBehindAnotherEndsTheJob(t *testing.T) {
	for name, write := range map[string]func(*source){
		"its time":   func(s *source) { s.mod = s.mod.Add(time.Second) },
		"its length": func(s *source) { s.bytes = s.bytes[:len(s.bytes)-512] },
	} {
		w := newWorld(t)
		w.withImage("")
		plan := w.planned()
		if _, err := w.run(plan, Copy); !errors.Is(err, ErrStopAfter) {
			t.Fatal(err)
		}
		write(w.sources[baseImage])
		_, err := w.resume(plan.Job)
		var changed *SourceChangedError
		if !errors.As(err, &changed) || changed.Path != baseImage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAVMThatRunsOnAnImageBehindTheSourceStopsTheJob(t *testing.T) {
	w := newWorld(t)
	w.withImage("")
	w.virt.add(t, definition("twin", twinUUID, "", strings.Replace(rawDisk("vdz", baseImage, ""), "type='raw'", "type='qcow2'", 1)))
	plan := w.planned()
	if _, err := w.run(plan, Copy); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	w.virt.SetState(twinUUID, hypervisor.Running)
	_, err := w.resume(plan.Job)
	var started *SourceStartedError
	if !errors.As(err, &started) || started.VM != "twin" {
		t.Errorf("it is %v", err)
	}
}

func TestAChainThatTheDomainTellsOtherwiseIsRefused(t *testing.T) {
	const head = "<backingStore type='file'><format type='qcow2'/><source file='"
	for _, c := range []struct{ xml, says string }{
		{head + baseImage + "'/><backingStore/></backingStore>", ""},
		{head + "/srv/images/../images/base.qcow2'/></backingStore>", ""},
		{"<backingStore/>", "names 0 images behind the disk's own, and there are 1"},
		{head + "/srv/other'/></backingStore>", "it names /srv/other where there is " + baseImage},
		{strings.Replace(head, "qcow2", "raw", 1) + baseImage + "'/></backingStore>", "it names the format raw"},
		{"<backingStore type='network'><format type='raw'/><source protocol='nbd' name='x'/></backingStore>", "a source of type network"},
	} {
		w := newWorld(t)
		w.withImage(c.xml)
		facts, err := w.env().Gather(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		plan, err := (&Decider{Facts: facts, Random: dice(1), Store: w.env().Store, Taken: Budget{}}).Decide("imap", options())
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, blocker := range plan.Blockers {
			said += blocker.Message
		}
		if c.says == "" && said != "" || !strings.Contains(said, c.says) {
			t.Errorf("%s: %q", c.xml, said)
		}
	}
}

func TestFilesOfAChainAreFollowedOnlyWhereTheyBelong(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"images/below/base", "images/disk", "images-too/base", "templates/base"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"images/link": "../templates/base", "there": "templates", "images/inside": "below/base"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		base, named, allowed string
		stray                bool
	}{
		{base: "images/below/base"},
		{base: "images/inside"},
		{base: "images/../images/below/base"},
		{base: "templates/base", stray: true},
		{base: "images-too/base", stray: true},
		{base: "images/link", stray: true},
		{base: "images/../templates/base", stray: true},
		{base: "templates/base", named: "templates/base"},
		{base: "images/link", named: "there/base"},
		{base: "templates/base", allowed: "templates"},
		{base: "images/link", allowed: "there"},
		{base: "images-too/base", allowed: "images", stray: true},
		{base: "templates/base", allowed: "temp", stray: true},
	} {
		in := func(path string) []string {
			if path == "" {
				return nil
			}
			return []string{filepath.Join(dir, path)}
		}
		chain := image.Chain{{Path: filepath.Join(dir, "images/disk")}, {Path: dir + "/" + c.base}}
		if stray := strayFile(chain, in(c.named), in(c.allowed)); (stray != "") != c.stray {
			t.Errorf("%+v: %q", c, stray)
		}
	}
}
