package succession

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// moveTPM has the state of each party's TPM follow it to its new UUID: libvirt
// finds it by that. Where a definition names the state's path it stays, and so do
// the UEFI variables, whose path libvirt writes into every definition.
type moveTPM struct{}

func (moveTPM) Name() migrate.StepName { return migrate.MoveTPM }

// tpms are the folders: what the place has, where its holder goes, and where the
// comer was.
func (x *exchanging) tpms() (place, aside, former string) {
	dir := x.tpmDir()
	return filepath.Join(dir, x.Holder.Before.UUID), filepath.Join(dir, x.Holder.After.UUID), filepath.Join(dir, x.Comer.Before.UUID)
}

// moved says which of the two renames have been done. Each party's state is in
// one of two places; which it is tells all.
func (x *exchanging) moved() (aside, come bool, err error) {
	_, to, former := x.tpms()
	if aside = true; x.Holder.TPM {
		if aside, err = exists(to); err != nil {
			return false, false, err
		}
	}
	if come = true; x.Comer.TPM {
		var there bool
		if there, err = exists(former); err != nil {
			return false, false, err
		}
		come = !there
	}
	return aside, come, nil
}

func (moveTPM) Check(_ context.Context, x *exchanging) (migrate.Standing, error) {
	aside, come, err := x.moved()
	switch {
	case err != nil:
		return migrate.Absent, err
	case aside && come:
		return migrate.Present, nil
	case aside || come:
		return migrate.Partial, nil
	}
	return migrate.Absent, nil
}

func (moveTPM) Do(ctx context.Context, x *exchanging) error {
	if err := x.atRest(ctx); err != nil {
		return err
	}
	aside, come, err := x.moved()
	if err != nil {
		return err
	}
	place, to, former := x.tpms()
	if !aside {
		if err := x.rename(place, to); err != nil {
			return err
		}
	}
	if !come {
		return x.rename(former, place)
	}
	return nil
}

func (moveTPM) Undo(_ context.Context, x *exchanging) error {
	aside, come, err := x.moved()
	if err != nil {
		return err
	}
	place, to, former := x.tpms()
	if x.Comer.TPM && come {
		if err := x.rename(place, former); err != nil {
			return err
		}
	}
	if x.Holder.TPM && aside {
		return x.rename(to, place)
	}
	return nil
}

// rename moves a folder and never replaces one.
func (x *exchanging) rename(from, to string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("move the TPM's state from %s to %s: %w", from, to, err)
	}
	return syncPath(x.tpmDir())
}
