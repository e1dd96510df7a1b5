package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// fleet is a world with the VMs a, b and c, of one disk each, and their plans.
func fleet(t *testing.T) (*world, []*Plan) {
	t.Helper()
	w := newWorld(t)
	names := []string{"a", "b", "c"}
	for i, name := range names {
		path := "/srv/" + name + ".img"
		w.sources[path] = &source{bytes: noise(name, 8192), mod: noon()}
		w.virt.add(t, definition(name, fmt.Sprintf("%08d-2222-4333-8444-555555555555", i+1), "", rawDisk("vda", path, "")))
	}
	facts, err := w.env().Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	decider := &Decider{Facts: facts, Random: dice(9), Store: w.env().Store, Taken: Budget{}}
	var plans []*Plan
	for _, name := range names {
		chosen := options()
		chosen.VG = "vg0"
		plan, err := decider.Decide(name, chosen)
		if err != nil || len(plan.Blockers) > 0 {
			t.Fatal(err, plan.Blockers)
		}
		plans = append(plans, plan)
	}
	w.disarm()
	return w, plans
}

func (w *world) runAll(ctx context.Context, tasks []Task, options BatchOptions) ([]Outcome, error) {
	options.Failed = func(Outcome) {}
	return (&Engine{Env: w.env()}).RunAll(ctx, tasks, options)
}

// fates says of each VM what became of it.
func fates(outcomes []Outcome) string {
	text := ""
	for _, outcome := range outcomes {
		switch {
		case outcome.Done:
			text += " was done"
		case !outcome.Started:
			text += " waits"
		case outcome.Err != nil:
			text += " failed"
		default:
			text += " moved"
		}
	}
	return text[1:]
}

func TestABatchGoesOnPastAVMThatFails(t *testing.T) {
	for _, c := range []struct {
		options BatchOptions
		want    string
		failed  int
	}{
		{BatchOptions{Parallel: 1}, "moved failed moved", 1},
		{BatchOptions{}, "moved failed moved", 1},
		{BatchOptions{Parallel: 3}, "moved failed moved", 1},
		{BatchOptions{Parallel: 1, FailFast: true}, "moved failed waits", 2},
	} {
		w, plans := fleet(t)
		delete(w.sources, "/srv/b.img")
		outcomes, err := w.runAll(t.Context(), Tasks(plans, nil), c.options)
		var batch *BatchError
		if !errors.As(err, &batch) || batch.Failed != c.failed || batch.All != 3 || len(batch.Errs) != 1 {
			t.Errorf("%+v: %v", c.options, err)
		}
		if got := fates(outcomes); got != c.want {
			t.Errorf("%+v: %s", c.options, got)
		}
		if w.virt.find("a-luks").Name == "" || w.virt.find("b-luks").Name != "" {
			t.Errorf("%+v: the clones are wrong", c.options)
		}
	}
}

func TestABatchOfOneFailsWithItsOwnError(t *testing.T) {
	w, plans := fleet(t)
	delete(w.sources, "/srv/a.img")
	_, err := w.runAll(t.Context(), Tasks(plans[:1], nil), BatchOptions{})
	w.wantStopped(err, Preflight, Refused, "a batch of one")
}

func TestAnInterruptedBatchBeginsNoFurtherVM(t *testing.T) {
	w, plans := fleet(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	w.during = func(context.Context, StepName) { cancel(&InterruptedError{Why: "SIGTERM"}) }
	outcomes, err := w.runAll(ctx, Tasks(plans, nil), BatchOptions{})
	var interrupted *InterruptedError
	if !errors.As(err, &interrupted) || fates(outcomes) != "failed waits waits" {
		t.Errorf("%s: %v", fates(outcomes), err)
	}
	if jobs := w.jobs(); len(jobs) != 1 || jobs[0].State != StateInterrupted {
		t.Errorf("the jobs are %+v", jobs)
	}
}

// meeting counts who is at work at the same time.
type meeting struct {
	mu        sync.Mutex
	now, most int
	full      chan struct{}
	want      int
}

// attend waits until all who are wanted are there, or ctx ends.
func (m *meeting) attend(ctx context.Context, step StepName) {
	if step != Copy {
		return
	}
	m.mu.Lock()
	m.now++
	m.most = max(m.most, m.now)
	if m.now == m.want {
		close(m.full)
	}
	m.mu.Unlock()
	if m.want > 0 {
		select {
		case <-m.full:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	m.now--
	m.mu.Unlock()
}

func TestVMsThatShareNoDeviceMoveSideBySide(t *testing.T) {
	devices := func(w *world) {
		for i, name := range []string{"a", "b", "c"} {
			w.devices["/srv/"+name+".img"] = []string{fmt.Sprint("8:", i)}
		}
		w.devices["/dev/disk-of-vg0"] = []string{"9:9"}
	}
	for _, c := range []struct {
		what     string
		parallel int
		devices  func(*world)
		most     int
	}{
		{"they share the group's disk", 0, devices, 1},
		{"as many as asked for, whatever they share", 3, devices, 3},
		{"a device that can't be told", 0, func(w *world) { w.devices["/srv/a.img"] = nil }, 1},
		{"one at a time as asked for", 1, func(w *world) { devices(w); w.devices["/dev/disk-of-vg0"] = []string{"8:0"} }, 1},
	} {
		w, plans := fleet(t)
		c.devices(w)
		m := &meeting{full: make(chan struct{})}
		if c.most > 1 {
			m.want = c.most
		}
		w.during = m.attend
		if _, err := w.runAll(t.Context(), Tasks(plans, nil), BatchOptions{Parallel: c.parallel}); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if m.most != c.most {
			t.Errorf("%s: %d at once", c.what, m.most)
		}
	}
}

func TestABatchThatIsGivenAgainFinishesWhatIsLeft(t *testing.T) {
	w, plans := fleet(t)
	_, err := w.run(plans[0], "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.run(plans[1], Copy)
	w.wantStopped(err, Copy, Kept, "b")
	facts, err := w.env().Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	decider := &Decider{Facts: facts, Random: dice(10), Store: w.env().Store, Taken: Budget{}}
	var again []*Plan
	for _, name := range []string{"a", "b", "c"} {
		chosen := options()
		chosen.VG = "vg0"
		plan, err := decider.Decide(name, chosen)
		if err != nil {
			t.Fatal(err)
		}
		again = append(again, plan)
	}
	tasks := Tasks(again, facts.Jobs)
	if err := Blocked(tasks); err != nil {
		t.Fatal(err)
	}
	if !tasks[0].Done || tasks[1].Resume != plans[1].Job || tasks[2].Resume != "" {
		t.Fatalf("the tasks are %+v", tasks)
	}
	w.disarm()
	outcomes, err := w.runAll(t.Context(), tasks, BatchOptions{})
	if err != nil || fates(outcomes) != "was done moved moved" {
		t.Errorf("%s: %v", fates(outcomes), err)
	}
	for _, name := range []string{"a-luks", "b-luks", "c-luks"} {
		if w.virt.find(name).State != hypervisor.ShutOff {
			t.Errorf("there is no %s", name)
		}
	}
	// Of a single one both are blockers.
	var blocked *BlockedError
	if err := Blocked(Tasks(again[:1], facts.Jobs)); !errors.As(err, &blocked) || !codes(blocked.Blockers)[AlreadyDone] {
		t.Errorf("one that is done: %v", err)
	}
	if err := Blocked(Tasks(again[1:2], facts.Jobs)); !errors.As(err, &blocked) || !codes(blocked.Blockers)[JobUnfinished] {
		t.Errorf("one that is half done: %v", err)
	}
}

// Two disks on devices of their own are copied at the same time, and where one
// fails the other stops at a checkpoint, to be gone on with.
func TestDisksThatShareNoDeviceMoveSideBySide(t *testing.T) {
	apart := func(w *world) {
		w.devices["/dev/vg0/imap"], w.devices["/srv/imap-1.img"] = []string{"8:0"}, []string{"8:1"}
		w.devices["/dev/vg0/imap-vda-luks"], w.devices["/dev/vg0/imap-vdb-luks"] = []string{"8:2"}, []string{"8:3"}
	}
	w := newWorld(t)
	before := w.look()
	plan := w.planned()
	apart(w)
	m := &meeting{full: make(chan struct{}), want: 2}
	w.during = m.attend
	if _, err := w.run(plan, ""); err != nil || m.most != 2 {
		t.Fatalf("%d at once, %v", m.most, err)
	}
	w.wantMoved(before, plan, "side by side")

	w = newWorld(t)
	before = w.look()
	plan = w.planned()
	apart(w)
	w.during = func(ctx context.Context, step StepName) {
		if step == Copy && w.first() {
			<-ctx.Done() // until the other has failed
		} else if step == Copy {
			w.broken.Store(true) // every write fails
		}
	}
	_, err := w.run(plan, "")
	var stopped *StepError
	if !errors.As(err, &stopped) || stopped.Step != Copy || stopped.Aftermath != Kept || errors.Is(err, errLaneStopped) {
		t.Fatalf("got %v", err)
	}
	w.during = nil
	w.broken.Store(false)
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "after a failure of one")
}

// first is true the first time that it is asked.
func (w *world) first() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	return w.asked == 2 // the key was asked for once
}

func TestDisjointKeepsTogetherWhatShares(t *testing.T) {
	for _, c := range []struct {
		sets [][]string
		want [][]int
	}{
		{nil, nil},
		{[][]string{{"a"}}, [][]int{{0}}},
		{[][]string{{"a"}, {"b"}, {"c"}}, [][]int{{0}, {1}, {2}}},
		{[][]string{{"a"}, {"b"}, {"b", "a"}}, [][]int{{0, 1, 2}}},
		{[][]string{{"a"}, {"b"}, {"c"}, {"c", "b"}}, [][]int{{0}, {1, 2, 3}}},
	} {
		if diff := cmp.Diff(c.want, disjoint(c.sets)); diff != "" && len(c.sets) > 0 {
			t.Error(diff)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		sets := rapid.SliceOf(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}), 1, 3)).Draw(rt, "sets")
		home := make(map[string]int)
		var all []int
		for g, group := range disjoint(sets) {
			all = append(all, group...)
			for _, i := range group {
				for _, device := range sets[i] {
					if other, known := home[device]; known && other != g {
						rt.Fatalf("%s is in groups %d and %d", device, other, g)
					}
					home[device] = g
				}
			}
		}
		slices.Sort(all)
		for i := range sets {
			if i >= len(all) || all[i] != i {
				rt.Fatalf("%v are the members of the groups of %d sets", all, len(sets))
			}
		}
	})
}
