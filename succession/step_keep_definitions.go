package succession

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// keepDefinitions puts all four definitions on disk, whole and with the
// passwords of consoles, before anything is defined or undefined: whatever
// happens to libvirt's own, nothing is lost.
type keepDefinitions struct{}

func (keepDefinitions) Name() migrate.StepName { return migrate.KeepDefinitions }

func (keepDefinitions) Check(_ context.Context, x *exchanging) (migrate.Standing, error) {
	for _, d := range x.all() {
		text, err := os.ReadFile(filepath.Join(x.errand.Dir, d.file))
		if errors.Is(err, os.ErrNotExist) || err == nil && sum(text) != *d.sum {
			return migrate.Absent, nil
		}
		if err != nil {
			return migrate.Absent, err
		}
	}
	return migrate.Present, nil
}

func (keepDefinitions) Do(_ context.Context, x *exchanging) error {
	for _, d := range x.all() {
		path := filepath.Join(x.errand.Dir, d.file)
		if err := renameio.WriteFile(path, *d.text, 0o600, renameio.WithPermissions(0o600)); err != nil {
			return &journal.WriteError{Path: path, Err: err}
		}
	}
	// renameio flushes the files and not their names.
	if err := syncPath(x.errand.Dir); err != nil {
		return &journal.WriteError{Path: x.errand.Dir, Err: err}
	}
	return nil
}

// Undo leaves them: they go with the job.
func (keepDefinitions) Undo(context.Context, *exchanging) error { return nil }

// load reads the definitions of a job that is gone on with. found is false when
// the crash came before they were all on disk, so that nothing was done yet.
func (x *exchanging) load(ctx context.Context) (found bool, err error) {
	standing, err := keepDefinitions{}.Check(ctx, x)
	if err != nil || standing != migrate.Present {
		return false, err
	}
	for _, d := range x.all() {
		if *d.text, err = os.ReadFile(filepath.Join(x.errand.Dir, d.file)); err != nil {
			return false, err
		}
	}
	return true, nil
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
