package lifecycle

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmmigrate/vmmigrate/boot"
)

// FindJob is the clone that a job made, whatever it is called by now. It
// returns an *UnknownCloneError where there is none, and a *TwoClonesError
// where several say so of themselves, as a copy of a clone does.
func (m *Manager) FindJob(ctx context.Context, job string) (*Clone, error) {
	all, err := m.All(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c *Clone) bool { return c.Origin.Job != job })
	switch len(all) {
	case 0:
		return nil, &UnknownCloneError{Job: job}
	case 1:
		return all[0], nil
	}
	two := &TwoClonesError{Job: job}
	for _, clone := range all {
		two.Clones = append(two.Clones, clone.Name)
	}
	return nil, two
}

// TwoClonesError says that several domains bear the mark of one job.
type TwoClonesError struct {
	Job    string
	Clones []string
}

func (e *TwoClonesError) Error() string {
	return fmt.Sprintf("%q bear the mark of the same job %s, so that it can't be told which is its clone", e.Clones, e.Job)
}

// join has systemd know that a guest that runs is one of its own: from then on
// a shutdown of the host stops the guest and then locks its disks. It locks
// nothing and starts no guest that is off.
func (m *Manager) join(ctx context.Context, clone *Clone, record boot.Record) error {
	if !clone.State.Active() {
		return nil
	}
	if err := m.Boot.Start(ctx, record.Unit()); err != nil {
		return &AutostartJoinError{Clone: clone.Name, Unit: record.Unit(), Err: err}
	}
	return nil
}

// AutostartJoinError says that all is set up for the next boot, and the guest
// that runs could not be put under systemd's care.
type AutostartJoinError struct {
	Clone, Unit string
	Err         error
}

func (e *AutostartJoinError) Error() string {
	return fmt.Sprintf("%q is set up for the next boot, but its unit was not started for the guest that runs: %v", e.Clone, e.Err)
}

// Unwrap returns the cause.
func (e *AutostartJoinError) Unwrap() error { return e.Err }

// follow tells systemd what was done by hand with a clone whose unit it has:
// that it was started, or is off and locked. What systemd then says against it
// is a warning, for what was asked for is done.
func (m *Manager) follow(ctx context.Context, clone *Clone, started bool) {
	if m.Boot == nil || m.AtBoot {
		return
	}
	records, _ := m.Boot.Records() // what can't be read of others is for status to say
	i := slices.IndexFunc(records, func(r boot.Record) bool { return r.Job == clone.Origin.Job })
	if i < 0 {
		return
	}
	unit := records[i].Unit()
	if m.Boot.Ready(boot.Prompt) != nil {
		return
	}
	var err error
	if started {
		err = m.Boot.Start(ctx, unit)
	} else {
		err = m.Boot.Stop(ctx, unit)
	}
	if err != nil {
		m.report(Event{Event: Warning, VM: clone.Name, Message: fmt.Sprintf("systemd's unit %s did not follow: %v", unit, err)})
	}
}
