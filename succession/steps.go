package succession

import (
	"context"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// THE ordered list of a cutover and of its undo. Rollback goes through it from
// the end.
func steps() []step {
	return []step{
		keepDefinitions{},
		stepAside{},
		moveTPM{},
		takePlace{},
		autostart{},
		leavePlace{},
	}
}

// step is one reversible act of an exchange, with the contract of migrate.Step:
// every method looks at the world first and can be repeated, and what the
// exchange did not make is left alone.
type step interface {
	Name() migrate.StepName
	Check(ctx context.Context, x *exchanging) (migrate.Standing, error)
	Do(ctx context.Context, x *exchanging) error
	Undo(ctx context.Context, x *exchanging) error
}

// exchanging is an exchange under way.
type exchanging struct {
	*Env
	*Exchange
	errand *migrate.Errand
	// done are the steps that are recorded as done.
	done map[migrate.StepName]bool
}

// atRest returns a *PartyError when one of the two runs, under whatever of its
// definitions.
func (x *exchanging) atRest(ctx context.Context) error {
	for _, id := range x.uuids() {
		domain, err := x.Hypervisor.DomainByUUID(ctx, id)
		if isGone(err) {
			continue
		}
		if err != nil {
			return err
		}
		if domain.State.Active() {
			return &PartyError{VM: domain.Name, Clone: x.clone().Before.Name, Problem: Active, State: domain.State}
		}
	}
	return nil
}

// kept holds what libvirt defined against what it was given: additions and
// normalisation are its own, a loss is refused.
func (x *exchanging) kept(ctx context.Context, id Identity, wanted []byte) error {
	dumped, err := x.Hypervisor.XML(ctx, id.UUID)
	if err != nil {
		return err
	}
	comparison, err := domainxml.Compare(wanted, dumped)
	if err != nil {
		return err
	}
	if len(comparison.Lost) > 0 {
		return &ChangedError{VM: id.Name, UUID: id.UUID, Reason: "libvirt did not keep " + comparison.Lost[0].Path}
	}
	return nil
}

// is says whether the domain of that UUID has that definition; found is false
// when there is none of that UUID. reason says what is different.
func (x *exchanging) is(ctx context.Context, id Identity, definition []byte) (same, found bool, reason string, err error) {
	domain, err := x.Hypervisor.DomainByUUID(ctx, id.UUID)
	if isGone(err) {
		return false, false, "", nil
	}
	if err != nil {
		return false, false, "", err
	}
	if domain.Name != id.Name {
		return false, true, "its name is not " + id.Name, nil
	}
	dumped, err := x.Hypervisor.XML(ctx, id.UUID)
	if err != nil {
		return false, true, "", err
	}
	comparison, err := domainxml.Compare(definition, dumped)
	if err != nil {
		return false, true, "", err
	}
	if len(comparison.Lost) > 0 {
		return false, true, comparison.Lost[0].Path + " is not what it was", nil
	}
	return true, true, "", nil
}

func changed(id Identity, reason string) error {
	return &ChangedError{VM: id.Name, UUID: id.UUID, Reason: reason}
}
