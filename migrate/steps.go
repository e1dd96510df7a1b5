package migrate

import "slices"

// THE ordered list. Going forward, each disk in turn is given its encrypted
// volume (prepareSteps); then the bytes move (moveSteps), disks that share no
// physical device side by side; then what is about the VM as a whole (vmSteps).
// Rollback goes through all of it from the end.
//
// preflight comes before them. It changes nothing and is not undone, so it is
// no Step: see Env.preflight.

func prepareSteps() []Step {
	return []Step{
		createVolume{},
		format{},
		open{},
	}
}

func moveSteps() []Step {
	return []Step{
		copyDisk{},
		verifyDisk{},
	}
}

func vmSteps(options Options) []Step {
	var steps []Step
	if options.RecoveryKey {
		steps = append(steps, recoveryKey{})
	}
	steps = append(steps,
		headerBackup{},
		firmware{},
		define{},
	)
	if options.Close {
		steps = append(steps, closeMappings{})
	}
	return steps
}

// StepNames are the names of all steps that every job may have, in order; for
// `run --stop-after` and whoever else wants to go through all of them.
func StepNames() []StepName { return StepNamesOf(Options{Close: true}) }

// StepNamesOf are the names of the steps of a job with these options, in order.
func StepNamesOf(options Options) []StepName {
	names := []StepName{Preflight}
	for _, step := range slices.Concat(prepareSteps(), moveSteps(), vmSteps(options)) {
		names = append(names, step.Name())
	}
	return names
}

// act is one step of one job: what the engine goes through.
type act struct {
	step Step
	disk *DiskPlan // nil: the whole VM
}

// acts unfolds the list for a plan, in the order that rollback reverses.
func acts(plan *Plan) []act {
	var all []act
	for i := range plan.Disks {
		all = append(all, diskActs(prepareSteps(), &plan.Disks[i])...)
	}
	for i := range plan.Disks {
		all = append(all, diskActs(moveSteps(), &plan.Disks[i])...)
	}
	return append(all, diskActs(vmSteps(plan.Options), nil)...)
}

func diskActs(steps []Step, disk *DiskPlan) []act {
	all := make([]act, len(steps))
	for i, step := range steps {
		all[i] = act{step, disk}
	}
	return all
}
