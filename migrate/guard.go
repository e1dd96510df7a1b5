package migrate

import (
	"context"
	"errors"
	"time"
)

// guardInterval is how often the guard looks. A VM needs longer than that to
// boot, and define looks once more.
const guardInterval = 2 * time.Second

// guardSource watches while the source is read: if the original starts, the
// context it returns ends with a *SourceStartedError. A libvirt that does not
// answer costs the copy nothing: define looks again before anything counts.
func (j *Job) guardSource(ctx context.Context) (guarded context.Context, stop func()) {
	guarded, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(guardInterval)
		defer ticker.Stop()
		for {
			select {
			case <-guarded.Done():
				return
			case <-ticker.C:
			}
			var started *SourceStartedError
			if err := j.sourcesAtRest(guarded); errors.As(err, &started) {
				cancel(err)
				return
			}
		}
	}()
	return guarded, func() {
		cancel(context.Canceled)
		<-ended
	}
}

// sourcesAtRest returns a *SourceStartedError if the original runs.
func (j *Job) sourcesAtRest(ctx context.Context) error {
	domain, err := j.Hypervisor.Domain(ctx, j.Plan.VM)
	if err != nil {
		return err
	}
	if domain.UUID == j.Plan.VMUUID && domain.State.Active() {
		return &SourceStartedError{VM: domain.Name}
	}
	return nil
}
