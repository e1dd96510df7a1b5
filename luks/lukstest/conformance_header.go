package lukstest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

func bare(t *testing.T, env Env) {
	device := env.Device(t, mib)
	if is, err := env.Client.IsLUKS(t.Context(), device); err != nil || is {
		t.Errorf("is LUKS: %v, %v", is, err)
	}
	var not *luks.NotLUKSError
	if _, err := env.Client.Header(t.Context(), device); !errors.As(err, &not) || not.Device != device {
		t.Error(err)
	}
	if err := env.Client.Open(t.Context(), device, "con_bare", key(t, "right"), luks.OpenOptions{}); !errors.As(err, &not) {
		t.Error(err)
	}
	if err := env.Client.TestKey(t.Context(), device, key(t, "right")); !errors.As(err, &not) {
		t.Error(err)
	}

	const nowhere = "/dev/no-such-device"
	var missing *luks.NotFoundError
	_, isErr := env.Client.IsLUKS(t.Context(), nowhere)
	_, headerErr := env.Client.Header(t.Context(), nowhere)
	_, formatErr := env.Client.Format(t.Context(), spec(nowhere), key(t, "right"))
	_, sizeErr := env.Client.DeviceSize(t.Context(), nowhere)
	openErr := env.Client.Open(t.Context(), nowhere, "con_bare", key(t, "right"), luks.OpenOptions{})
	for what, err := range map[string]error{"is LUKS": isErr, "header": headerErr, "format": formatErr, "open": openErr, "size": sizeErr} {
		if !errors.As(err, &missing) || missing.Kind != "device" || missing.Name != nowhere {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func backup(t *testing.T, env Env) {
	device := env.volume(t)
	file := filepath.Join(t.TempDir(), "header")
	if err := env.Client.HeaderBackup(t.Context(), device, file); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("the backup is %v, %v", info, err)
	}
	before, _ := os.ReadFile(file)
	var exists *luks.ExistsError
	if err := env.Client.HeaderBackup(t.Context(), device, file); !errors.As(err, &exists) || exists.File != file {
		t.Error(err)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("the backup was overwritten")
	}
	var not *luks.NotLUKSError
	if err := env.Client.HeaderBackup(t.Context(), env.Device(t, mib), filepath.Join(t.TempDir(), "none")); !errors.As(err, &not) {
		t.Error(err)
	}
}

func persistent(t *testing.T, env Env) {
	device := env.volume(t)
	env.open(t, device, "con_flags", luks.OpenOptions{AllowDiscards: true, Persistent: true})
	if flags := env.header(t, device).Flags; len(flags) != 1 || flags[0] != "allow-discards" {
		t.Errorf("flags %q", flags)
	}
	env.close(t, "con_flags")
	if m := env.open(t, device, "con_flags", luks.OpenOptions{}); !m.Discards {
		t.Errorf("opened again: %+v", m)
	}
	env.close(t, "con_flags")
	// All that are given are written, in place of what was there; of an opening
	// that is not for good, none.
	for _, opening := range []struct {
		options luks.OpenOptions
		want    []string
	}{
		{luks.OpenOptions{AllowDiscards: true, SameCPUCrypt: true, Persistent: true}, []string{"allow-discards", "same-cpu-crypt"}},
		{luks.OpenOptions{AllowDiscards: true}, []string{"allow-discards", "same-cpu-crypt"}},
		{luks.OpenOptions{SubmitFromCryptCPUs: true}, []string{"allow-discards", "same-cpu-crypt"}},
	} {
		env.open(t, device, "con_flags", opening.options)
		if flags := env.header(t, device).Flags; !slices.Equal(flags, opening.want) {
			t.Errorf("opened with %+v: flags %q, not %q", opening.options, flags, opening.want)
		}
		env.close(t, "con_flags")
	}
	other := env.volume(t)
	env.open(t, other, "con_flags", luks.OpenOptions{SameCPUCrypt: true, Persistent: true})
	env.close(t, "con_flags")
	env.open(t, other, "con_flags", luks.OpenOptions{AllowDiscards: true, Persistent: true})
	if flags := env.header(t, other).Flags; !slices.Equal(flags, []string{"allow-discards"}) {
		t.Errorf("flags %q, of which one was there before", flags)
	}
}
