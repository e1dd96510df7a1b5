package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// Start unlocks a clone's disks and starts it. One that runs already is left
// alone. When it does not start, the disks that were unlocked for it are
// locked again. Besides what Unlock returns there are *ConflictError,
// *InUseError and *StartError.
func (m *Manager) Start(ctx context.Context, name string) error {
	clone, err := m.Find(ctx, name)
	if err != nil {
		return err
	}
	if clone.State.Active() {
		m.report(Event{Event: Unchanged, VM: clone.Name, Message: "is " + string(clone.State) + " already"})
		m.follow(ctx, clone, true)
		return nil
	}
	if err := m.guard(ctx, clone); err != nil {
		return err
	}
	opened, err := m.unlock(ctx, clone)
	if err != nil {
		return err
	}
	// A person may have taken minutes to type: look again.
	err = m.guard(ctx, clone)
	if err == nil {
		err = m.unused(ctx, clone)
	}
	if err != nil {
		return m.takeBack(ctx, clone, opened, err)
	}
	began := m.Now()
	err = m.Hypervisor.Start(ctx, clone.UUID)
	if err == nil {
		m.report(Event{Event: Started, VM: clone.Name, Elapsed: m.Now().Sub(began)})
		m.noteStarted(ctx, clone)
		m.follow(ctx, clone, true)
		return nil
	}
	return m.notStarted(ctx, clone, opened, err)
}

// noteStarted notes in the clone's metadata that it has run, and when first:
// what retire of the original asks for. That it could not be noted keeps nobody
// from using the guest.
func (m *Manager) noteStarted(ctx context.Context, clone *Clone) {
	if clone.Origin.Started != "" {
		return
	}
	origin := clone.Origin
	origin.Started = m.Now().UTC().Format(time.RFC3339)
	if err := m.SetOrigin(context.WithoutCancel(ctx), clone.UUID, origin); err != nil {
		m.report(Event{Event: Warning, VM: clone.Name, Message: fmt.Sprintf("that it has run can't be noted in its metadata: %v", err)})
	}
}

// SetOrigin replaces what a clone's metadata tell of where it comes from.
func (m *Manager) SetOrigin(ctx context.Context, uuid string, origin domainxml.Origin) error {
	element, err := origin.Metadata()
	if err != nil {
		return err
	}
	return m.Hypervisor.SetMetadata(ctx, uuid, domainxml.Namespace, domainxml.Prefix, element)
}

// notStarted takes back what was unlocked for a clone that did not start. It
// looks first: a call that timed out may have done its work, and somebody else
// may have started it meanwhile.
func (m *Manager) notStarted(ctx context.Context, clone *Clone, opened []*Disk, cause error) error {
	now, err := m.Hypervisor.DomainByUUID(context.WithoutCancel(ctx), clone.UUID)
	failed := &StartError{Clone: clone.Name, Err: cause}
	var refused *hypervisor.RefusedError
	switch {
	case err == nil && now.State.Active():
		if errors.As(cause, &refused) {
			m.report(Event{Event: Unchanged, VM: clone.Name, Message: "was started by somebody else meanwhile"})
			return nil
		}
		return failed
	case err != nil && !isGone(err):
		return failed // not known to be off: its disks stay
	}
	failed.LockedAgain = len(opened) > 0
	err = m.takeBack(ctx, clone, opened, failed)
	if err != error(failed) { //nolint:errorlint // takeBack returns the cause itself when all is closed
		failed.LockedAgain = false
	}
	return err
}

// StopOptions say how to stop a guest.
type StopOptions struct {
	// Timeout is how long its guest may take to shut down.
	Timeout time.Duration
	// Force pulls the plug after that.
	Force bool
}

// A guest that boots just then does not hear the first ACPI event, so it is
// sent again; the state is looked at more often.
const (
	askAgain   = 20 * time.Second
	lookAgain  = 500 * time.Millisecond
	tellAgain  = 5 * time.Second
	settleTime = 3 * time.Second
)

// Stop has a clone's guest shut down, waits for it and locks its disks. One
// that is off is only locked. It returns an *UnknownCloneError, a
// *StillRunningError, or a *LockError for each disk that is still open.
func (m *Manager) Stop(ctx context.Context, name string, options StopOptions) error {
	clone, err := m.Find(ctx, name)
	if err != nil {
		return err
	}
	wasActive := clone.State.Active()
	if wasActive {
		if err := m.shutDown(ctx, clone, options); err != nil {
			return err
		}
	}
	closed, err := m.lock(ctx, clone)
	if err == nil && closed == 0 && !wasActive {
		m.report(Event{Event: Unchanged, VM: clone.Name, Message: "is off and locked already"})
	}
	if err == nil {
		m.follow(ctx, clone, false)
	}
	return err
}

func (m *Manager) shutDown(ctx context.Context, clone *Clone, options StopOptions) error {
	began := m.Now()
	if state := clone.State; state == hypervisor.Paused || state == hypervisor.Suspended {
		if options.Force {
			return m.pull(ctx, clone, began)
		}
		return &StillRunningError{Clone: clone.Name, State: state}
	}
	var asked, told time.Time
	for {
		state, err := m.state(ctx, clone)
		if err != nil {
			return err
		}
		elapsed := m.Now().Sub(began)
		if !state.Active() {
			m.report(Event{Event: Stopped, VM: clone.Name, Message: "its guest shut down", Elapsed: elapsed})
			return nil
		}
		if elapsed >= options.Timeout {
			if options.Force {
				return m.pull(ctx, clone, began)
			}
			return &StillRunningError{Clone: clone.Name, State: state, After: options.Timeout}
		}
		if asked.IsZero() || m.Now().Sub(asked) >= askAgain {
			// Refused when the guest went off in this moment: the next look
			// tells.
			var refused *hypervisor.RefusedError
			err := m.Hypervisor.Shutdown(ctx, clone.UUID)
			if err != nil && !isGone(err) && (!errors.As(err, &refused) || asked.IsZero() && !m.isOff(ctx, clone)) {
				return err
			}
			asked = m.Now()
		}
		if m.Now().Sub(told) >= tellAgain {
			told = m.Now()
			m.report(Event{Event: Stopping, VM: clone.Name, Message: string(state), Elapsed: elapsed})
		}
		if err := m.Wait(ctx, min(lookAgain, options.Timeout-elapsed)); err != nil {
			return &StillRunningError{Clone: clone.Name, State: state, Err: err}
		}
	}
}

// state is what a domain does now. A transient one that has ended is gone.
func (m *Manager) state(ctx context.Context, clone *Clone) (hypervisor.State, error) {
	now, err := m.Hypervisor.DomainByUUID(ctx, clone.UUID)
	if isGone(err) {
		return hypervisor.ShutOff, nil
	}
	return now.State, err
}

func (m *Manager) isOff(ctx context.Context, clone *Clone) bool {
	state, err := m.state(ctx, clone)
	return err == nil && !state.Active()
}

// pull pulls the plug.
func (m *Manager) pull(ctx context.Context, clone *Clone, began time.Time) error {
	if err := m.Hypervisor.Destroy(ctx, clone.UUID); err != nil && !isGone(err) {
		return err
	}
	m.report(Event{Event: Stopped, VM: clone.Name, Message: "its plug was pulled", Elapsed: m.Now().Sub(began)})
	return nil
}
