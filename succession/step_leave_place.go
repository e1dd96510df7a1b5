package succession

import (
	"context"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// leavePlace undefines what the party that came was before: it stands in its new
// place.
type leavePlace struct{}

func (leavePlace) Name() migrate.StepName { return migrate.LeavePlace }

func (leavePlace) Check(ctx context.Context, x *exchanging) (migrate.Standing, error) {
	same, found, reason, err := x.is(ctx, x.Comer.Before, x.definitions.comerBefore)
	switch {
	case err != nil:
		return migrate.Absent, err
	case !found:
		return migrate.Present, nil
	case !same:
		return migrate.Absent, changed(x.Comer.Before, reason)
	}
	return migrate.Absent, nil
}

func (leavePlace) Do(ctx context.Context, x *exchanging) error {
	if err := x.atRest(ctx); err != nil {
		return err
	}
	if err := x.stands(ctx, x.Comer.After, x.definitions.comerAfter); err != nil {
		return err
	}
	return x.Hypervisor.Undefine(ctx, x.Comer.Before.UUID)
}

func (leavePlace) Undo(ctx context.Context, x *exchanging) error {
	_, found, _, err := x.is(ctx, x.Comer.Before, x.definitions.comerBefore)
	if err != nil {
		return err
	}
	if !found {
		if _, err := x.Hypervisor.Define(ctx, x.definitions.comerBefore); err != nil {
			return err
		}
	}
	return x.Hypervisor.SetAutostart(ctx, x.Comer.Before.UUID, x.Comer.AutostartBefore)
}
