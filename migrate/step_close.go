package migrate

import "context"

// closeMappings locks the clone's disks again, where --close asks for it.
type closeMappings struct{}

var _ Step = closeMappings{}

func (closeMappings) Name() StepName { return Close }

// Check: none of the job's mappings is open.
func (closeMappings) Check(ctx context.Context, job *Job, _ *DiskPlan) (Standing, error) {
	for i := range job.Plan.Disks {
		standing, err := open{}.Check(ctx, job, &job.Plan.Disks[i])
		if err != nil {
			return Absent, err
		}
		if standing != Absent {
			return Absent, nil
		}
	}
	return Present, nil
}

func (closeMappings) Do(ctx context.Context, job *Job, _ *DiskPlan, _ Standing) error {
	for i := range job.Plan.Disks {
		if err := closeOurs(ctx, job, &job.Plan.Disks[i]); err != nil {
			return err
		}
	}
	return nil
}

// Undo does nothing: a rollback has no use for open mappings.
func (closeMappings) Undo(context.Context, *Job, *DiskPlan) error { return nil }
