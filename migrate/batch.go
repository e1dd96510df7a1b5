package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// Task is one VM of a batch: a plan to carry out, a job to go on with, or a VM
// that needs nothing any more.
type Task struct {
	// Plan is what is to be done. Of a job to resume it is the recorded one.
	Plan *Plan
	// Resume is the id of the job to go on with, or empty.
	Resume string
	// Done is true for a VM that has been migrated already.
	Done bool
}

// Outcome is what became of one VM of a batch.
type Outcome struct {
	Task
	Summary *Summary
	// Started is false for a VM that was not come to.
	Started bool
	Err     error
}

// BatchOptions say how the VMs of a batch share the host.
type BatchOptions struct {
	// Parallel is how many VMs are worked on at once, whatever they share. 0
	// works on as many as share no physical device.
	Parallel int
	// FailFast begins no further VM after one has failed.
	FailFast bool
	// Failed is told of each failure as it comes, by one goroutine at a time.
	Failed func(Outcome)
}

// BatchError says that some VMs of a batch failed; the others are done.
type BatchError struct {
	// Failed counts those that failed or were not come to, of All.
	Failed, All int
	// Errs are the errors, in the order of the batch.
	Errs []error
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("%d of %d VMs are not migrated", e.Failed, e.All)
}

// Unwrap returns the errors of those that failed.
func (e *BatchError) Unwrap() []error { return e.Errs }

// RunAll carries out a batch. Its jobs do not depend on each other: one that
// fails does not keep the next from running, unless FailFast is set, but an
// interruption does. With one task the error is its own, with several a
// *BatchError.
func (e *Engine) RunAll(ctx context.Context, tasks []Task, options BatchOptions) ([]Outcome, error) {
	env := *e.Env
	env.Reporter = &lockedReporter{reporter: e.Env.Reporter}
	b := &batch{
		engine: &Engine{Env: &env, StopAfter: e.StopAfter}, options: options,
		outcomes: make([]Outcome, len(tasks)), devices: make([][]string, len(tasks)), ended: make(chan int),
	}
	var groups []lvm.VG
	if len(tasks) > 1 {
		// One alone meets no other on a device. If the groups can't be told,
		// neither can the devices.
		groups, _ = e.Env.Volumes.VGs(ctx)
	}
	for i, task := range tasks {
		b.outcomes[i].Task = task
		if !task.Done && groups != nil {
			b.devices[i] = e.devicesOf(ctx, task.Plan, groups)
		}
	}
	b.run(ctx)
	return b.outcomes, b.err(ctx)
}

// batch is a batch under way. Only the goroutine of run changes it.
type batch struct {
	engine   *Engine
	options  BatchOptions
	outcomes []Outcome
	// devices are the physical devices of each task, nil if they are unknown.
	devices [][]string
	running map[int]bool
	ended   chan int
	failed  bool
}

func (b *batch) run(ctx context.Context) {
	b.running = make(map[int]bool)
	waiting := make([]int, 0, len(b.outcomes))
	for i, outcome := range b.outcomes {
		if !outcome.Done {
			waiting = append(waiting, i)
		}
	}
	for {
		if ctx.Err() != nil || b.failed && b.options.FailFast {
			waiting = nil
		}
		waiting = slices.DeleteFunc(waiting, func(i int) bool {
			if !b.mayStart(i) {
				return false
			}
			b.start(ctx, i)
			return true
		})
		if len(b.running) == 0 {
			return
		}
		i := <-b.ended
		delete(b.running, i)
		if outcome := b.outcomes[i]; outcome.Err != nil {
			b.failed = true
			b.options.Failed(outcome)
		}
	}
}

// mayStart says whether there is room for one more VM, and for this one.
func (b *batch) mayStart(i int) bool {
	if b.options.Parallel > 0 {
		return len(b.running) < b.options.Parallel
	}
	for other := range maps.Keys(b.running) {
		if b.devices[i] == nil || b.devices[other] == nil {
			return false
		}
		if slices.ContainsFunc(b.devices[i], func(d string) bool { return slices.Contains(b.devices[other], d) }) {
			return false
		}
	}
	return true
}

func (b *batch) start(ctx context.Context, i int) {
	b.running[i] = true
	outcome := &b.outcomes[i]
	outcome.Started = true
	go func() {
		if outcome.Resume != "" {
			outcome.Summary, outcome.Err = b.engine.Resume(ctx, outcome.Resume)
		} else {
			outcome.Summary, outcome.Err = b.engine.Run(ctx, outcome.Plan)
		}
		b.ended <- i
	}()
}

// err sums up the outcomes.
func (b *batch) err(ctx context.Context) error {
	var errs []error
	failed := 0
	for _, outcome := range b.outcomes {
		switch {
		case outcome.Err != nil:
			failed++
			errs = append(errs, outcome.Err)
		case !outcome.Started && !outcome.Done:
			failed++
		}
	}
	switch {
	case failed == 0:
		return nil
	case len(b.outcomes) == 1 && len(errs) == 1:
		return errs[0]
	case len(errs) == 0:
		return interrupted(ctx)
	}
	return &BatchError{Failed: failed, All: len(b.outcomes), Errs: errs}
}

// devicesOf names the physical devices that a plan reads and writes, or nil if
// that can't be told. Where a group puts a new volume is not known beforehand,
// so all its physical volumes count that the volume may lie on.
func (e *Engine) devicesOf(ctx context.Context, plan *Plan, groups []lvm.VG) []string {
	var devices []string
	for _, disk := range plan.Disks {
		paths := disk.Source.paths()
		if disk.Volume.Kind == OnDevice {
			paths = append(paths, disk.Volume.Path)
		}
		if disk.Volume.Kind == OnFile {
			paths = append(paths, filepath.Dir(disk.Volume.Path))
		}
		for _, vg := range groups {
			if disk.Volume.Kind != NewLV || vg.Name != disk.Volume.VG {
				continue
			}
			for _, pv := range vg.PVs {
				if allowed := disk.Volume.PVs; len(allowed) > 0 && !slices.Contains(allowed, pv.Name) {
					continue
				}
				paths = append(paths, pv.Name)
			}
		}
		for _, path := range paths {
			under, err := e.Env.Devices.Physical(ctx, path)
			if err != nil || len(under) == 0 {
				return nil
			}
			devices = append(devices, under...)
		}
	}
	return devices
}

// lockedReporter lets several jobs report to one reporter.
type lockedReporter struct {
	mu       sync.Mutex
	reporter Reporter
}

// Report implements Reporter.
func (r *lockedReporter) Report(event Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reporter.Report(event)
}

// Tasks makes the batch of some plans. In a batch of several a VM that is done
// is left out and one that is half done is resumed, so that the same batch can
// be given again; of a single one both are blockers, as the user may have meant
// another clone.
func Tasks(plans []*Plan, jobs []JobInfo) []Task {
	if len(plans) == 1 {
		return []Task{{Plan: plans[0]}}
	}
	return BatchTasks(plans, jobs)
}

// BatchTasks makes the batch of some plans as Tasks does, and takes one plan
// for a batch as well: where not a VM was named but all there are, or a file.
func BatchTasks(plans []*Plan, jobs []JobInfo) []Task {
	tasks := make([]Task, len(plans))
	for i, plan := range plans {
		tasks[i].Plan = plan
		if len(plan.Blockers) == 0 {
			continue
		}
		if plan.Result() == ResultDone {
			tasks[i].Done = true
			continue
		}
		for _, job := range jobs {
			if job.Plan != nil && job.Plan.VMUUID == plan.VMUUID && job.State == StateInterrupted && !plan.blockedElsewhere() {
				tasks[i] = Task{Plan: job.Plan, Resume: job.ID}
			}
		}
	}
	return tasks
}

// blockedElsewhere says whether a plan has a blocker beside those that a half
// done job of the same VM is: its own volumes, mappings and clone.
func (p *Plan) blockedElsewhere() bool {
	return slices.ContainsFunc(p.Blockers, func(f Finding) bool {
		return !slices.Contains([]Code{JobUnfinished, LVTaken, MapperTaken, CloneTaken, AlreadyDone, VGFull}, f.Code)
	})
}

// Blocked joins a *BlockedError for each task that can't be carried out.
func Blocked(tasks []Task) error {
	var errs []error
	for _, task := range tasks {
		if task.Resume == "" && !task.Done && len(task.Plan.Blockers) > 0 {
			errs = append(errs, &BlockedError{VM: task.Plan.VM, Adopted: task.Plan.Adopted != nil, Blockers: task.Plan.Blockers})
		}
	}
	return errors.Join(errs...)
}
