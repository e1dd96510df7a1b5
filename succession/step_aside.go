package succession

import (
	"bytes"
	"context"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// stepAside defines the party that has the place under its new identity. Its old
// definition stays until another takes its place.
type stepAside struct{}

func (stepAside) Name() migrate.StepName { return migrate.StepAside }

func (stepAside) Check(ctx context.Context, x *exchanging) (migrate.Standing, error) {
	same, found, reason, err := x.is(ctx, x.Holder.After, x.definitions.holderAfter)
	switch {
	case err != nil || !found:
		return migrate.Absent, err
	case !same:
		return migrate.Absent, changed(x.Holder.After, reason)
	}
	return migrate.Present, nil
}

func (stepAside) Do(ctx context.Context, x *exchanging) error {
	if err := x.atRest(ctx); err != nil {
		return err
	}
	// The last moment at which a change of either definition since it was read
	// would be lost.
	for _, p := range []struct {
		Identity
		text []byte
	}{{x.Holder.Before, x.definitions.holderBefore}, {x.Comer.Before, x.definitions.comerBefore}} {
		now, err := x.Hypervisor.XML(ctx, p.UUID)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, p.text) {
			return changed(p.Identity, "its definition was edited")
		}
	}
	if _, err := x.Hypervisor.Define(ctx, x.definitions.holderAfter); err != nil {
		return err
	}
	return x.kept(ctx, x.Holder.After, x.definitions.holderAfter)
}

// Undo undefines it again; the definition in its old place stands by now.
func (stepAside) Undo(ctx context.Context, x *exchanging) error {
	domain, err := x.Hypervisor.DomainByUUID(ctx, x.Holder.After.UUID)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if domain.Name != x.Holder.After.Name {
		return changed(x.Holder.After, "it is called "+domain.Name)
	}
	// Its old definition, edited meanwhile or not, has to be there: this is the
	// only other one of the same guest.
	taken, found, _, err := x.is(ctx, x.Comer.After, x.definitions.comerAfter)
	switch {
	case err != nil:
		return err
	case !found:
		return changed(x.Holder.Before, "it was undefined")
	case taken:
		return changed(x.Holder.Before, "it is the other's")
	}
	return x.Hypervisor.Undefine(ctx, domain.UUID)
}

// stands returns an error unless a definition is there: the only other one of
// the same guest is about to go.
func (x *exchanging) stands(ctx context.Context, id Identity, definition []byte) error {
	same, found, reason, err := x.is(ctx, id, definition)
	switch {
	case err != nil:
		return err
	case !found:
		return changed(id, "it was undefined")
	case !same:
		return changed(id, reason)
	}
	return nil
}
