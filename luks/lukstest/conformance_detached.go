package lukstest

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

// apart is a device with 4 MiB of payload whose header is on another, with the key
// "right".
func (e Env) apart(t *testing.T, kind luks.Type, offset int64) (device, file string) {
	t.Helper()
	device, file = e.Device(t, offset+4*mib), e.Device(t, luks.HeaderSize(kind))
	want := spec(device)
	want.Type, want.Header, want.Offset = kind, file, offset
	if kind == luks.LUKS1 {
		want.PBKDF = ""
	}
	made, err := e.Client.Format(t.Context(), want, key(t, "right"))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []luks.Header{made, e.header(t, file)} {
		if h.Type != kind || h.UUID != uuid || h.Offset != offset || h.KeySize != 512 || len(h.Keyslots) != 1 {
			t.Errorf("header %+v", h)
		}
	}
	return device, file
}

func detached(t *testing.T, env Env)  { env.detached(t, luks.LUKS2) }
func detached1(t *testing.T, env Env) { env.detached(t, luks.LUKS1) }

func (e Env) detached(t *testing.T, kind luks.Type) {
	t.Helper()
	ctx := t.Context()
	device, file := e.apart(t, kind, 0)
	if is, err := e.Client.IsLUKS(ctx, device); err != nil || is {
		t.Errorf("the device bears a header: %v, %v", is, err)
	}
	if found, err := e.Client.Signatures(ctx, device); err != nil || len(found) != 0 {
		t.Errorf("the device bears %v, %v", found, err)
	}
	if found, err := e.Client.Signatures(ctx, file); err != nil || len(found) == 0 || !found[0].Ours(uuid) {
		t.Errorf("the file bears %v, %v", found, err)
	}
	m := e.open(t, device, "con_apart", luks.OpenOptions{Header: file})
	if m.Type != kind || m.UUID != uuid || m.Size != 4*mib || m.Offset != 0 {
		t.Errorf("mapping %+v", m)
	}
	// All that is about the header alone takes the file.
	if err := e.Client.TestKey(ctx, file, key(t, "right")); err != nil {
		t.Error(err)
	}
	if err := e.Client.AddKey(ctx, file, key(t, "right"), key(t, "second"), luks.AddKeyOptions{Slot: 1, PBKDF: "pbkdf2", PBKDFForceIterations: 1000}); err != nil {
		t.Fatal(err)
	}
	if err := e.Client.KillSlot(ctx, file, key(t, "second"), 0); err != nil {
		t.Fatal(err)
	}
	var wrong *luks.WrongKeyError
	if err := e.Client.TestKey(ctx, file, key(t, "right")); !errors.As(err, &wrong) {
		t.Errorf("with the key that was taken away: %v", err)
	}
	if err := e.Client.HeaderBackup(ctx, file, filepath.Join(t.TempDir(), "backup")); err != nil {
		t.Error(err)
	}
}

func detachedOffset(t *testing.T, env Env) {
	device, file := env.apart(t, luks.LUKS2, 16*mib)
	if m := env.open(t, device, "con_behind", luks.OpenOptions{Header: file}); m.Size != 4*mib || m.Offset != 16*mib {
		t.Errorf("mapping %+v", m)
	}
	other := env.Device(t, 20*mib)
	for kind, offset := range map[luks.Type]int64{luks.LUKS2: 16*mib - 4096, luks.LUKS1: 4096} {
		want := spec(other)
		want.Type, want.PBKDF, want.Header, want.Offset = kind, "pbkdf2", file, offset
		var bad *luks.SpecError
		if _, err := env.Client.Format(t.Context(), want, key(t, "right")); !errors.As(err, &bad) || bad.Field != "Offset" {
			t.Errorf("%s at %d: %v", kind, offset, err)
		}
	}
}

func headerFile(t *testing.T, env Env) {
	ctx := t.Context()
	device, file := env.apart(t, luks.LUKS2, 0)
	var missing *luks.NotFoundError
	if err := env.Client.Open(ctx, device, "con_none", key(t, "right"), luks.OpenOptions{Header: "/dev/no-such-header"}); !errors.As(err, &missing) || missing.Kind != "header file" {
		t.Errorf("opened without: %v", err)
	}
	want := spec(device)
	want.Header, want.Offset = "/dev/no-such-header", 0
	if _, err := env.Client.Format(ctx, want, key(t, "right")); !errors.As(err, &missing) || missing.Kind != "header file" {
		t.Errorf("formatted without: %v", err)
	}
	var none *luks.NotLUKSError
	blank := env.Device(t, 16*mib)
	if err := env.Client.Open(ctx, device, "con_none", key(t, "right"), luks.OpenOptions{Header: blank}); !errors.As(err, &none) || none.Device != blank {
		t.Errorf("opened with a blank one: %v", err)
	}
	if err := env.Client.Open(ctx, device, "con_none", key(t, "right"), luks.OpenOptions{}); !errors.As(err, &none) || none.Device != device {
		t.Errorf("opened as if it were on the device: %v", err)
	}
	var wrong *luks.WrongKeyError
	if err := env.Client.Open(ctx, device, "con_none", key(t, "wrong"), luks.OpenOptions{Header: file}); !errors.As(err, &wrong) {
		t.Errorf("opened with a wrong key: %v", err)
	}
	env.none(t, "con_none")
	var small *luks.TooSmallError
	want.Header = env.Device(t, 8*mib)
	if _, err := env.Client.Format(ctx, want, key(t, "right")); !errors.As(err, &small) || small.Device != want.Header {
		t.Errorf("formatted into one too small: %v", err)
	}
}

func detachedInUse(t *testing.T, env Env) {
	device, file := env.apart(t, luks.LUKS2, 0)
	env.open(t, device, "con_used", luks.OpenOptions{Header: file})
	var used *luks.InUseError
	want := spec(device)
	want.Header, want.Offset = env.Device(t, 16*mib), 0
	if _, err := env.Client.Format(t.Context(), want, key(t, "right")); !errors.As(err, &used) {
		t.Errorf("formatted while it is open: %v", err)
	}
	if is, err := env.Client.IsLUKS(t.Context(), want.Header); err != nil || is {
		t.Errorf("a header was written all the same: %v, %v", is, err)
	}
	if err := env.Client.Open(t.Context(), device, "con_twice", key(t, "right"), luks.OpenOptions{Header: file}); !errors.As(err, &used) {
		t.Errorf("opened twice: %v", err)
	}
}
