package migrate

import (
	"errors"
	"slices"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

// killedAtFormat is a job of a world whose process was killed as the n-th disk's
// header was about to be written, n from 0.
func killedAtFormat(t *testing.T, w *world, n int) *Plan {
	t.Helper()
	plan := w.plan(options())
	w.disarm()
	plain := newWorldIn(t, scratch(t), sizesOf(plan)...)
	planned := plain.plan(options())
	plain.disarm()
	if _, err := plain.run(planned, Open); err == nil {
		t.Fatal("the run did not stop")
	}
	at := -1
	for i, name := range plain.names {
		if name == "act: format" {
			if n == 0 {
				at = i
				break
			}
			n--
		}
	}
	w.arm(at, dieBefore)
	if _, err := w.run(plan, ""); err == nil || !w.hit {
		t.Fatalf("the run was not killed: %v", err)
	}
	w.restart(true)
	w.asked, w.twice = 0, 0
	return plan
}

func sizesOf(plan *Plan) []int64 {
	var sizes []int64
	for i := range plan.Disks {
		sizes = append(sizes, plan.Disks[i].Source.Size)
	}
	return sizes
}

// wantKeyRefused fails unless err is about a key that is the wrong one, and the
// job is kept.
func wantKeyRefused(t *testing.T, w *world, plan *Plan, err error, formatted int) {
	t.Helper()
	stopped := w.wantStopped(err, Format, Kept, "with another key")
	var wrong *luks.WrongKeyError
	if !errors.As(stopped, &wrong) {
		t.Errorf("the failure is %v", err)
	}
	headers := 0
	for i := range plan.Disks {
		if w.look()["header "+plan.Disks[i].Volume.Path] != "" {
			headers++
		}
	}
	if headers != formatted {
		t.Errorf("%d volumes are formatted, not %d", headers, formatted)
	}
}

func TestAfterARebootTheFirstDiskTellsAWrongKey(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := killedAtFormat(t, w, 1)
	w.secret = "falsch"
	_, err := w.resume(plan.Job)
	w.wantStopped(err, Open, Kept, "with another key")
	w.secret = "geheim"
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "with the right key")
}

func TestADiskThatIsOpenStillTellsAWrongKey(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.plan(options())
	w.disarm()
	if _, err := w.run(plan, Open); err == nil {
		t.Fatal("the run did not stop")
	}
	// As if it had been killed before the second disk was formatted.
	second := &plan.Disks[1]
	if err := errors.Join(w.luks.Close(t.Context(), second.Mapper), w.luks.Erase(t.Context(), second.Volume.Path, second.LUKSUUID, second.Offset)); err != nil {
		t.Fatal(err)
	}
	w.asked, w.twice, w.secret = 0, 0, "falsch"
	_, err := w.resume(plan.Job)
	wantKeyRefused(t, w, plan, err, 1)
	if w.asked != 1 || w.twice != 0 {
		t.Errorf("asked %d times, %d of them twice, where a disk tells the right key", w.asked, w.twice)
	}
	w.secret = "geheim"
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "with the right key")
}

func TestAKeyThatNoDiskCanTellIsTypedTwice(t *testing.T) {
	w := newWorldIn(t, scratch(t), 8192)
	plan := killedAtFormat(t, w, 0)
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	if w.asked != 1 || w.twice != 1 {
		t.Errorf("asked %d times, %d of them twice", w.asked, w.twice)
	}
}

func TestTheKeyOfARunIsTestedAgainstNoDisk(t *testing.T) {
	w := newWorld(t)
	plan := w.plan(options())
	w.disarm()
	if _, err := w.run(plan, Open); err == nil {
		t.Fatal("the run did not stop")
	}
	// Each test takes seconds of argon2.
	if slices.Contains(w.names, "luks: test key") || w.asked != 1 || w.twice != 1 {
		t.Errorf("asked %d times, %d of them twice: %q", w.asked, w.twice, w.names)
	}
}

func TestAKeyThatCanNotBeHadKeepsTheJob(t *testing.T) {
	w := newWorldIn(t, scratch(t), 8192)
	plan := killedAtFormat(t, w, 0)
	w.secret = "" // luks.NewKey refuses it
	_, err := w.resume(plan.Job)
	w.wantStopped(err, Format, Kept, "without a key")
	w.secret = "geheim"
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
}
