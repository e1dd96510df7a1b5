package succession

import (
	"context"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// autostart gives each party libvirt's flag that it is to have.
type autostart struct{}

func (autostart) Name() migrate.StepName { return migrate.Autostart }

func (x *exchanging) flags() map[string]bool {
	return map[string]bool{x.Holder.After.UUID: x.Holder.AutostartAfter, x.Comer.After.UUID: x.Comer.AutostartAfter}
}

func (autostart) Check(ctx context.Context, x *exchanging) (migrate.Standing, error) {
	for id, want := range x.flags() {
		domain, err := x.Hypervisor.DomainByUUID(ctx, id)
		if err != nil {
			return migrate.Absent, err
		}
		if domain.Autostart != want {
			return migrate.Absent, nil
		}
	}
	return migrate.Present, nil
}

func (autostart) Do(ctx context.Context, x *exchanging) error {
	for id, want := range x.flags() {
		if err := x.Hypervisor.SetAutostart(ctx, id, want); err != nil {
			return err
		}
	}
	return nil
}

// Undo leaves it to the steps that bring the old definitions back: the flag goes
// with the definition.
func (autostart) Undo(context.Context, *exchanging) error { return nil }
