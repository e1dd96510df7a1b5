package migrate

import (
	"slices"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

// large is a world whose first disk is large enough to measure on.
func large(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, scratch(t), probeBytes+4096, 4096)
}

func TestWorkQueuesAreSwitchedOffWhereThatGains(t *testing.T) {
	for gain, off := range map[float64]bool{1.5: true, 1.05: false} {
		w := large(t)
		w.queues = gain
		before := w.look()
		chosen := options()
		chosen.Perf.Probe = ProbeAlways
		plan := w.plan(chosen)
		w.disarm()
		_, err := w.run(plan, Copy)
		w.wantStopped(err, Copy, Kept, "the run")
		if got := w.opened[plan.Disks[0].Mapper]; got.NoReadWorkqueue != off || got.NoWriteWorkqueue != off {
			t.Errorf("a gain of %v: opened with %+v", gain, got)
		}
		// What was measured once holds, and no measurement writes over a copy.
		w.cutPower()
		w.disarm()
		if _, err := w.resume(plan.Job); err != nil {
			t.Fatal(err)
		}
		if got := w.opened[plan.Disks[0].Mapper]; got.NoWriteWorkqueue != off || slices.Contains(w.names, "bytes: measure") {
			t.Errorf("a gain of %v: opened again with %+v", gain, got)
		}
		w.wantMoved(before, plan, "measured")
	}
}

func TestASmallDiskOrAChoiceIsNotMeasured(t *testing.T) {
	for what, change := range map[string]func(*Options){
		"small, by itself":  func(o *Options) { o.Perf.Probe = ProbeAuto },
		"small, all disks":  func(o *Options) { o.Perf.Probe = ProbeAlways },
		"never":             func(o *Options) { o.Perf.Probe = ProbeNever },
		"flags were chosen": func(o *Options) { o.Perf.Probe, o.Perf.SameCPUCrypt = ProbeAlways, true },
	} {
		w := newWorld(t)
		chosen := options()
		change(&chosen)
		plan := w.plan(chosen)
		w.disarm()
		if _, err := w.run(plan, ""); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := w.opened[plan.Disks[0].Mapper]
		if slices.Contains(w.names, "bytes: measure") || got.NoReadWorkqueue || got.SameCPUCrypt != chosen.Perf.SameCPUCrypt {
			t.Errorf("%s: opened with %+v", what, got)
		}
	}
}

// What is asked for at the move holds for every later opening, by whomever; what
// only speeds the copy up does not.
func TestDiscardsThatAreAllowedAreAllowedForGood(t *testing.T) {
	for what, test := range map[string]struct {
		change func(*Options)
		flags  []string
		opened luks.OpenOptions
	}{
		"alone":            {func(*Options) {}, []string{"allow-discards"}, luks.OpenOptions{AllowDiscards: true, Persistent: true}},
		"LUKS1 holds none": {func(o *Options) { o.LUKS.Type = luks.LUKS1 }, nil, luks.OpenOptions{AllowDiscards: true}},
		"with a flag for the copy": {
			func(o *Options) { o.Perf.SameCPUCrypt = true }, []string{"allow-discards"}, luks.OpenOptions{AllowDiscards: true, SameCPUCrypt: true},
		},
		"not asked for": {func(o *Options) { o.AllowDiscards, o.Perf.SameCPUCrypt = false, true }, nil, luks.OpenOptions{SameCPUCrypt: true}},
	} {
		w := newWorld(t)
		before := w.look()
		chosen := options()
		chosen.AllowDiscards = true
		test.change(&chosen)
		plan := w.plan(chosen)
		w.disarm()
		if _, err := w.run(plan, Copy); err == nil {
			t.Fatalf("%s: not stopped", what)
		}
		disk := plan.Disks[0]
		if got := w.opened[disk.Mapper]; got != test.opened {
			t.Errorf("%s: opened with %+v", what, got)
		}
		// Opened again it needs no word about it, and loses nothing.
		w.cutPower()
		w.disarm()
		if _, err := w.resume(plan.Job); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := w.opened[disk.Mapper]; got.Persistent {
			t.Errorf("%s: opened again with %+v", what, got)
		}
		header, err := w.luks.Header(w.context(), disk.Volume.Path)
		if err != nil || !slices.Equal(header.Flags, test.flags) {
			t.Errorf("%s: the header's flags are %q, %v", what, header.Flags, err)
		}
		w.wantMoved(before, plan, what)
	}
}
