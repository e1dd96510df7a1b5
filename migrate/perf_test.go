package migrate

import (
	"slices"
	"testing"
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
