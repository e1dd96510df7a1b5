package lukstest

import (
	"errors"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

func signed(t *testing.T, env Env) {
	device := env.Device(t, 24*mib)
	if found, err := env.Client.Signatures(t.Context(), device); err != nil || len(found) != 0 {
		t.Errorf("a blank device bears %v, %v", found, err)
	}
	volume := env.volume(t)
	found, err := env.Client.Signatures(t.Context(), volume)
	if err != nil || len(found) == 0 {
		t.Fatalf("a volume bears %v, %v", found, err)
	}
	for _, s := range found {
		if !s.Ours(uuid) || s.Ours("11111111-2222-4333-8444-555555555555") {
			t.Errorf("a volume bears %s", s)
		}
	}
	var missing *luks.NotFoundError
	if _, err := env.Client.Signatures(t.Context(), "/dev/no-such-device"); !errors.As(err, &missing) {
		t.Errorf("of no device: %v", err)
	}
}

func erased(t *testing.T, env Env) {
	ctx, device := t.Context(), env.volume(t)
	var foreign *luks.ForeignError
	if err := env.Client.Erase(ctx, device, "11111111-2222-4333-8444-555555555555", 17*mib+4096); !errors.As(err, &foreign) {
		t.Errorf("by another UUID: %v", err)
	}
	if err := env.Client.Open(ctx, device, "con_erased", key(t, "right"), luks.OpenOptions{}); err != nil {
		t.Fatal(err)
	}
	var used *luks.InUseError
	err := env.Client.Erase(ctx, device, uuid, 17*mib+4096)
	if closed := env.Client.Close(ctx, "con_erased"); closed != nil {
		t.Fatal(closed)
	}
	if !errors.As(err, &used) {
		t.Errorf("while it is open: %v", err)
	}
	if _, err := env.Client.Header(ctx, device); err != nil {
		t.Errorf("what was refused took the header: %v", err)
	}
	for range 2 {
		if err := env.Client.Erase(ctx, device, uuid, 17*mib+4096); err != nil {
			t.Errorf("erase: %v", err)
		}
	}
	if found, err := env.Client.Signatures(ctx, device); err != nil || len(found) != 0 {
		t.Errorf("erased, it bears %v, %v", found, err)
	}
}
