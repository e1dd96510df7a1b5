package succession

import (
	"context"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// autostart gives each party libvirt's flag that it is to have.
type autostart struct{}

func (autostart) Name() migrate.StepName { return migrate.Autostart }

// flags are in order, so that a killed process can be killed there again.
func (x *exchanging) flags() []flag {
	return []flag{{x.Holder.After.UUID, x.Holder.AutostartAfter}, {x.Comer.After.UUID, x.Comer.AutostartAfter}}
}

// flag is what libvirt's autostart is to be for the domain of a UUID.
type flag struct {
	id   string
	want bool
}

func (autostart) Check(ctx context.Context, x *exchanging) (migrate.Standing, error) {
	for _, f := range x.flags() {
		domain, err := x.Hypervisor.DomainByUUID(ctx, f.id)
		if err != nil {
			return migrate.Absent, err
		}
		if domain.Autostart != f.want {
			return migrate.Absent, nil
		}
	}
	return migrate.Present, nil
}

func (autostart) Do(ctx context.Context, x *exchanging) error {
	for _, f := range x.flags() {
		if err := x.Hypervisor.SetAutostart(ctx, f.id, f.want); err != nil {
			return err
		}
	}
	return nil
}

// Undo leaves it to the steps that bring the old definitions back: the flag goes
// with the definition.
func (autostart) Undo(context.Context, *exchanging) error { return nil }
