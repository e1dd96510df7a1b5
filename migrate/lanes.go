package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// move copies and verifies the disks: those that share a physical device one
// after another, since they would only get in each other's way, the others side
// by side. The first failure stops the rest at their next checkpoint.
func (e *Engine) move(ctx context.Context, job *Job) error {
	lanes := lanesOf(ctx, job)
	moving, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	failures := make([]*laneFailure, len(lanes))
	var group sync.WaitGroup
	for i, lane := range lanes {
		group.Go(func() {
			if failures[i] = e.moveLane(moving, job, lane); failures[i] != nil {
				cancel(errLaneStopped)
			}
		})
	}
	group.Wait()
	if failure := joined(failures); failure != nil {
		return e.stopped(ctx, job, failure.act, failure.err)
	}
	if e.StopAfter == Copy || e.StopAfter == Verify {
		last := lanes[len(lanes)-1]
		return job.failed(stopMark(e.StopAfter, last[len(last)-1]), ErrStopAfter, Kept)
	}
	return nil
}

// errLaneStopped is the cause of a stop that another disk's failure brought.
var errLaneStopped = errors.New("another disk of the VM failed")

// laneFailure says where a lane stopped.
type laneFailure struct {
	act act
	err error
}

// joined is what became of all lanes, or nil if none failed: what went wrong by
// itself, under the step where the first did. A copy that was found to differ
// comes before anything else, and an interruption after it. Lanes that stopped
// only since another failed have nothing to tell.
func joined(failures []*laneFailure) *laneFailure {
	var own, stops []*laneFailure
	for _, failure := range failures {
		var differs *DifferenceError
		switch {
		case failure == nil || errors.Is(failure.err, errLaneStopped):
		case errors.As(failure.err, &differs):
			own = append([]*laneFailure{failure}, own...)
		case isStop(failure.err):
			stops = append(stops, failure)
		default:
			own = append(own, failure)
		}
	}
	switch {
	case len(own) == 0 && len(stops) == 0:
		return nil
	case len(own) == 0:
		return stops[0]
	}
	errs := []error{own[0].err}
	for _, also := range own[1:] {
		if also.err.Error() == own[0].err.Error() {
			continue // one cause, as a source that was started
		}
		errs = append(errs, fmt.Errorf("%s of %s failed too: %w", also.act.step.Name(), also.act.disk.Target, also.err))
	}
	return &laneFailure{own[0].act, errors.Join(errs...)}
}

func (e *Engine) moveLane(ctx context.Context, job *Job, lane []*DiskPlan) *laneFailure {
	for _, disk := range lane {
		for _, a := range diskActs(moveSteps(), disk) {
			if err := e.forward(ctx, job, a); err != nil {
				if errors.Is(context.Cause(ctx), errLaneStopped) && ctx.Err() != nil && isStop(err) {
					err = errLaneStopped
				}
				return &laneFailure{a, err}
			}
			if e.StopAfter == a.step.Name() {
				break
			}
		}
	}
	return nil
}

// isStop says of an error that it is only the end of the context.
func isStop(err error) bool {
	var stopped *InterruptedError
	return errors.As(err, &stopped) || errors.Is(err, errLaneStopped) || errors.Is(err, context.Canceled)
}

func stopMark(name StepName, disk *DiskPlan) act {
	for _, a := range diskActs(moveSteps(), disk) {
		if a.step.Name() == name {
			return a
		}
	}
	return act{step: preflightMark{}}
}

// lanesOf sorts a job's disks by what they stand on. A disk whose devices can't
// be told shares a lane with every other.
func lanesOf(ctx context.Context, job *Job) [][]*DiskPlan {
	under := make([][]string, len(job.Plan.Disks))
	for i := range job.Plan.Disks {
		disk := &job.Plan.Disks[i]
		for _, path := range append(disk.Source.paths(), disk.Volume.Path) {
			devices, err := job.Devices.Physical(ctx, path)
			if err != nil || len(devices) == 0 {
				return [][]*DiskPlan{all(job.Plan)}
			}
			under[i] = append(under[i], devices...)
		}
	}
	var lanes [][]*DiskPlan
	for _, members := range disjoint(under) {
		var lane []*DiskPlan
		for _, i := range members {
			lane = append(lane, &job.Plan.Disks[i])
		}
		lanes = append(lanes, lane)
	}
	return lanes
}

func all(plan *Plan) []*DiskPlan {
	disks := make([]*DiskPlan, len(plan.Disks))
	for i := range plan.Disks {
		disks[i] = &plan.Disks[i]
	}
	return disks
}

// disjoint groups the indices of sets that share a member, directly or through
// others, in the order of each group's first.
func disjoint(sets [][]string) [][]int {
	var groups [][]int
	var members []map[string]bool
	for i, set := range sets {
		home := -1
		for g := range groups {
			if groups[g] == nil || !slices.ContainsFunc(set, func(s string) bool { return members[g][s] }) {
				continue
			}
			if home < 0 {
				home = g
				continue
			}
			groups[home] = append(groups[home], groups[g]...)
			for s := range members[g] {
				members[home][s] = true
			}
			groups[g] = nil
		}
		if home < 0 {
			home = len(groups)
			groups, members = append(groups, nil), append(members, make(map[string]bool))
		}
		groups[home] = append(groups[home], i)
		for _, s := range set {
			members[home][s] = true
		}
	}
	groups = slices.DeleteFunc(groups, func(g []int) bool { return len(g) == 0 })
	for _, g := range groups {
		slices.Sort(g)
	}
	return groups
}
