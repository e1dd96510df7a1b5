package migrate

import (
	"context"
	"errors"
	"time"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// guardInterval is how often the guard looks even if libvirt announces
// nothing: events are lost with the connection. define looks once more.
const guardInterval = 5 * time.Second

// guardSource watches while the source is read: if a VM that uses it starts,
// the context it returns ends with a *SourceStartedError. A libvirt that does
// not answer costs the copy nothing: define looks again before anything counts.
func (j *Job) guardSource(ctx context.Context) (guarded context.Context, stop func()) {
	guarded, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watch := sourceWatch{job: j, seen: make(map[string]bool)}
		if err := watch.follow(guarded); err != nil {
			cancel(err)
		}
	}()
	return guarded, func() {
		cancel(context.Canceled)
		<-ended
	}
}

// sourceWatch looks for running domains that use a job's sources.
type sourceWatch struct {
	job *Job
	// seen are the running domains that are known to use none of them.
	seen map[string]bool
}

// follow returns a *SourceStartedError as soon as it is one, and nil when ctx
// ends.
func (w *sourceWatch) follow(ctx context.Context) error {
	ticker := time.NewTicker(guardInterval)
	defer ticker.Stop()
	events, _ := w.job.Hypervisor.Events(ctx) // without them the ticker serves
	for {
		var started *SourceStartedError
		if err := w.look(ctx); errors.As(err, &started) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if events == nil {
				events, _ = w.job.Hypervisor.Events(ctx)
			}
		case event, open := <-events:
			if !open {
				events = nil // the connection was lost; the next tick asks again
			}
			delete(w.seen, event.UUID)
		}
	}
}

// look goes through the running domains once.
func (w *sourceWatch) look(ctx context.Context) error {
	domains, err := w.job.Hypervisor.Domains(ctx)
	if err != nil {
		return err
	}
	for _, domain := range domains {
		if !domain.State.Active() {
			delete(w.seen, domain.UUID)
			continue
		}
		if domain.UUID == w.job.Plan.VMUUID {
			return &SourceStartedError{VM: domain.Name}
		}
		if w.seen[domain.UUID] {
			continue
		}
		uses, err := w.job.usesSource(ctx, domain)
		if err != nil {
			return err
		}
		if uses {
			return &SourceStartedError{VM: domain.Name}
		}
		w.seen[domain.UUID] = true
	}
	return nil
}

// sourcesAtRest returns a *SourceStartedError if a VM that uses a source runs.
func (j *Job) sourcesAtRest(ctx context.Context) error {
	watch := sourceWatch{job: j, seen: make(map[string]bool)}
	return watch.look(ctx)
}

// usesSource says whether a domain, as it runs, has a source of the job among
// its disks. A disk that can't be looked at is none of the sources: those can.
func (j *Job) usesSource(ctx context.Context, domain hypervisor.Domain) (bool, error) {
	raw, err := j.Hypervisor.LiveXML(ctx, domain.UUID)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	parsed, err := domainxml.Parse(raw)
	if err != nil {
		return false, nil // a definition that can't be read blocks its own migration, not this one
	}
	sources := make(map[string]bool)
	for _, disk := range j.Plan.Disks {
		for _, path := range disk.Source.paths() {
			if facts, err := j.Devices.Inspect(ctx, path); err == nil {
				sources[facts.ID] = true
			}
		}
	}
	for _, disk := range parsed.Disks() {
		path := disk.Path
		if disk.SourceType == "volume" {
			if path, err = j.Hypervisor.VolumePath(ctx, disk.Pool, disk.Volume); err != nil {
				continue
			}
		}
		if path == "" || disk.ReadOnly || disk.Device == "cdrom" {
			continue
		}
		if facts, err := j.Devices.Inspect(ctx, path); err == nil && sources[facts.ID] {
			return true, nil
		}
	}
	return false, nil
}
