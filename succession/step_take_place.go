package succession

import (
	"context"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// takePlace replaces the definition in the contested place by that of the party
// that comes: one act of libvirt's, so the name is never without a guest.
type takePlace struct{}

func (takePlace) Name() migrate.StepName { return migrate.TakePlace }

func (takePlace) Check(ctx context.Context, x *exchanging) (migrate.Standing, error) {
	same, found, reason, err := x.is(ctx, x.Comer.After, x.definitions.comerAfter)
	switch {
	case err != nil || !found:
		return migrate.Absent, err
	case same:
		return migrate.Present, nil
	}
	if still, _, _, err := x.is(ctx, x.Holder.Before, x.definitions.holderBefore); err != nil || still {
		return migrate.Absent, err
	}
	return migrate.Absent, changed(x.Comer.After, reason)
}

func (takePlace) Do(ctx context.Context, x *exchanging) error {
	if err := x.atRest(ctx); err != nil {
		return err
	}
	if err := x.stands(ctx, x.Holder.After, x.definitions.holderAfter); err != nil {
		return err
	}
	// The flag is the place's: libvirtd, restarted just now, must start neither.
	if err := x.Hypervisor.SetAutostart(ctx, x.Holder.Before.UUID, false); err != nil && !isGone(err) {
		return err
	}
	if err := x.put(ctx, x.definitions.comerAfter); err != nil {
		return err
	}
	return x.kept(ctx, x.Comer.After, x.definitions.comerAfter)
}

// put puts a definition into the place, also when somebody has undefined what
// was there.
func (x *exchanging) put(ctx context.Context, definition []byte) error {
	_, err := x.Hypervisor.Redefine(ctx, definition)
	if isGone(err) {
		_, err = x.Hypervisor.Define(ctx, definition)
	}
	return err
}

func (takePlace) Undo(ctx context.Context, x *exchanging) error {
	same, found, _, err := x.is(ctx, x.Holder.Before, x.definitions.holderBefore)
	if err != nil {
		return err
	}
	if !same {
		taken, _, reason, err := x.is(ctx, x.Comer.After, x.definitions.comerAfter)
		if err != nil {
			return err
		}
		if found && !taken {
			return changed(x.Comer.After, reason)
		}
		if err := x.atRest(ctx); err != nil {
			return err
		}
		if err := x.put(ctx, x.definitions.holderBefore); err != nil {
			return err
		}
	}
	return x.Hypervisor.SetAutostart(ctx, x.Holder.Before.UUID, x.Holder.AutostartBefore)
}
