package migrate

// diskSteps is what is done to each disk in turn, and vmSteps what is done to
// the VM once all its disks are done: THE ordered list. Going forward they run
// from the top; rollback runs them from the bottom.
//
// preflight comes before both. It changes nothing and is not undone, so it is
// no Step: see Engine.preflight.
func diskSteps() []Step {
	return []Step{
		createVolume{},
		format{},
		open{},
		copyDisk{},
		verifyDisk{},
	}
}

func vmSteps(options Options) []Step {
	steps := []Step{
		headerBackup{},
		firmware{},
		define{},
	}
	if options.Close {
		steps = append(steps, closeMappings{})
	}
	return steps
}

// StepNames are the names of all steps, in order; for `run --stop-after` and
// whoever else wants to go through all of them.
func StepNames() []StepName {
	names := []StepName{Preflight}
	for _, step := range diskSteps() {
		names = append(names, step.Name())
	}
	for _, step := range vmSteps(Options{Close: true}) {
		names = append(names, step.Name())
	}
	return names
}

// act is one step of one job: what the engine goes through.
type act struct {
	step Step
	disk *DiskPlan // nil: the whole VM
}

// acts unfolds the list for a plan.
func acts(plan *Plan) []act {
	var all []act
	for i := range plan.Disks {
		for _, step := range diskSteps() {
			all = append(all, act{step, &plan.Disks[i]})
		}
	}
	for _, step := range vmSteps(plan.Options) {
		all = append(all, act{step: step})
	}
	return all
}
