package migrate

import "slices"

// THE ordered list. Going forward, each disk in turn is given its encrypted
// volume (prepareSteps, imageSteps); then the bytes move (moveSteps), disks that share no
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

// imageSteps are for a disk that stays an image (FilesystemLayout): they give it
// a file system in its volume, and an empty image there.
func imageSteps() []Step {
	return []Step{
		makeFilesystem{},
		mountFilesystem{},
		createImage{},
	}
}

// readySteps are prepareSteps, and imageSteps where the disk has them.
func readySteps(disk *DiskPlan) []Step {
	if disk.Filesystem == nil {
		return prepareSteps()
	}
	return append(prepareSteps(), imageSteps()...)
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
func StepNames() []StepName { return StepNamesOf(Options{Layout: FilesystemLayout, Close: true}) }

// StepNamesOf are the names of the steps of a job with these options, in order.
func StepNamesOf(options Options) []StepName {
	names := []StepName{Preflight}
	ready := prepareSteps()
	if options.Layout == FilesystemLayout {
		ready = append(ready, imageSteps()...)
	}
	for _, step := range slices.Concat(ready, moveSteps(), vmSteps(options)) {
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
		all = append(all, diskActs(readySteps(&plan.Disks[i]), &plan.Disks[i])...)
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
