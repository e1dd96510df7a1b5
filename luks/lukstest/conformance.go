package lukstest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Env is what Conformance runs against.
type Env struct {
	Client Client
	// Device is a device of so many bytes that the test may overwrite, and
	// that is gone when the test ends.
	Device func(t *testing.T, size int64) string
	// Hold opens the mapping's device, and release closes it again. who is
	// what a *luks.BusyError's Holders must name.
	Hold func(t *testing.T, mapping luks.Mapping) (release func(), who string)
}

// Conformance checks what every Client has to do.
func Conformance(t *testing.T, env Env) {
	t.Helper()
	for _, test := range []struct {
		claim string
		run   func(*testing.T, Env)
	}{
		{"a volume is formatted as told, and says so", formatted},
		{"a LUKS1 volume is formatted as told, and says so", formatted1},
		{"a mapping is as large as what follows the offset", opened},
		{"a volume is opened with its key alone", keys},
		{"a key is bytes and keeps its newline", newline},
		{"a name that is taken, and a device in use, are refused", taken},
		{"a mapping that is held is not closed and the holder named", held},
		{"closing what is not open is no error", closed},
		{"a device too small is refused and not written", small},
		{"what cryptsetup would refuse halfway is refused before", refused},
		{"what can't be had here is known before a device is touched", tried},
		{"a device without a header is told from one that is not there", bare},
		{"a header is backed up once, for its owner only", backup},
		{"flags given for good are in the header", persistent},
		{"a blank device bears nothing and a volume its own header", signed},
		{"a header is erased by its UUID alone, and the device is blank then", erased},
		{"a header in a file of its own leaves the device to the payload", detached},
		{"a LUKS1 header in a file of its own does too", detached1},
		{"a payload behind a detached header begins where cryptsetup lets it", detachedOffset},
		{"a header file that is missing, or no header, is told from the device", headerFile},
		{"an open payload is not given a new detached header", detachedInUse},
		{"a key that is added opens the volume until its slot is killed", added},
	} {
		t.Run(test.claim, func(t *testing.T) { test.run(t, env) })
	}
}

const (
	mib  = 1 << 20
	uuid = "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d3e"
)

// spec has a key derivation that takes no time, for the key is not at stake.
func spec(device string) luks.FormatSpec {
	return luks.FormatSpec{
		Device: device, UUID: uuid, Type: luks.LUKS2, Cipher: "aes-xts-plain64", KeySize: 512, Hash: "sha512",
		SectorSize: 512, PBKDF: "pbkdf2", PBKDFForceIterations: 1000, Offset: 17*mib + 4096,
	}
}

func key(t *testing.T, text string) luks.Key {
	t.Helper()
	k, err := luks.NewKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Wipe)
	return k
}

// volume is a device with a volume of the key "right" on it.
func (e Env) volume(t *testing.T) string {
	t.Helper()
	device := e.Device(t, 24*mib)
	if _, err := e.Client.Format(t.Context(), spec(device), key(t, "right")); err != nil {
		t.Fatal(err)
	}
	return device
}

// open opens a volume until the test ends.
func (e Env) open(t *testing.T, device, mapper string, options luks.OpenOptions) luks.Mapping {
	t.Helper()
	if err := e.Client.Open(t.Context(), device, mapper, key(t, "right"), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.close(t, mapper) })
	mapping, err := e.Client.Mapping(t.Context(), mapper)
	if err != nil {
		t.Fatal(err)
	}
	return mapping
}

func formatted(t *testing.T, env Env) {
	device := env.Device(t, 24*mib)
	want := spec(device)
	want.Label = "con label"
	made, err := env.Client.Format(t.Context(), want, key(t, "right"))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []luks.Header{made, env.header(t, device)} {
		if h.Type != luks.LUKS2 || h.UUID != uuid || h.Label != "con label" || h.Cipher != "aes-xts-plain64" || h.KeySize != 512 || h.Hash != "sha512" ||
			h.SectorSize != 512 || h.Offset != want.Offset || len(h.Keyslots) != 1 || len(h.Requirements) != 0 {
			t.Errorf("header %+v", h)
		} else if s := h.Keyslots[0]; s.ID != 0 || s.PBKDF != "pbkdf2" || s.Hash != "sha512" || s.Iterations != 1000 {
			t.Errorf("key slot %+v", s)
		}
	}
	want.SectorSize = 4096
	if h, err := env.Client.Format(t.Context(), want, key(t, "right")); err != nil || h.SectorSize != 4096 {
		t.Errorf("formatted again: %+v, %v", h, err)
	}
}

func formatted1(t *testing.T, env Env) {
	device := env.Device(t, 8*mib)
	want := spec(device)
	want.Type, want.PBKDF, want.Offset = luks.LUKS1, "", 2*mib+4096
	if _, err := env.Client.Format(t.Context(), want, key(t, "right")); err != nil {
		t.Fatal(err)
	}
	h := env.header(t, device)
	if h.Type != luks.LUKS1 || h.UUID != uuid || h.Cipher != "aes-xts-plain64" || h.KeySize != 512 || h.Hash != "sha512" ||
		h.SectorSize != 512 || h.Offset != want.Offset || len(h.Keyslots) != 1 {
		t.Errorf("header %+v", h)
	}
	m := env.open(t, device, "con_one", luks.OpenOptions{})
	if m.Type != luks.LUKS1 || m.UUID != uuid || m.Size != 8*mib-want.Offset || m.Offset != want.Offset {
		t.Errorf("mapping %+v", m)
	}
}

func (e Env) header(t *testing.T, device string) luks.Header {
	t.Helper()
	h, err := e.Client.Header(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func opened(t *testing.T, env Env) {
	device := env.volume(t)
	m := env.open(t, device, "con_x.y+z", luks.OpenOptions{})
	offset := spec(device).Offset
	if m.Name != "con_x.y+z" || m.Path != "/dev/mapper/con_x.y+z" || m.Type != luks.LUKS2 || m.UUID != uuid || m.Target != "crypt" ||
		m.Size != 24*mib-offset || m.Offset != offset || m.Cipher != "aes-xts-plain64" || m.SectorSize != 512 || m.OpenCount != 0 || m.ReadOnly || m.Discards {
		t.Errorf("mapping %+v", m)
	}
	if size, err := env.Client.DeviceSize(t.Context(), m.Path); err != nil || size != m.Size {
		t.Errorf("its device has %d bytes, %v", size, err)
	}
	all, err := env.Client.Mappings(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != m.Name || all[0].Device != m.Device || all[0].Size != m.Size {
		t.Errorf("all mappings: %+v, %v", all, err)
	}
	over, err := env.Client.MappingsOf(t.Context(), device)
	if err != nil || len(over) != 1 || over[0].Name != m.Name {
		t.Errorf("mappings of %s: %+v, %v", device, over, err)
	}
	other := env.Device(t, mib)
	if over, err := env.Client.MappingsOf(t.Context(), other); err != nil || len(over) != 0 {
		t.Errorf("mappings of %s: %+v, %v", other, over, err)
	}
	env.close(t, m.Name)
	if m := env.open(t, device, "con_ro", luks.OpenOptions{ReadOnly: true, AllowDiscards: true, NoReadWorkqueue: true, NoWriteWorkqueue: true, SameCPUCrypt: true, SubmitFromCryptCPUs: true}); !m.ReadOnly || !m.Discards {
		t.Errorf("mapping %+v", m)
	}
}

func (e Env) close(t *testing.T, mapper string) {
	t.Helper()
	// The test's own context ends before its cleanups run.
	if err := e.Client.Close(context.WithoutCancel(t.Context()), mapper); err != nil {
		t.Error(err)
	}
}

func keys(t *testing.T, env Env) {
	device := env.volume(t)
	if err := env.Client.TestKey(t.Context(), device, key(t, "right")); err != nil {
		t.Error(err)
	}
	var wrong *luks.WrongKeyError
	if err := env.Client.TestKey(t.Context(), device, key(t, "wrong")); !errors.As(err, &wrong) || wrong.Device != device {
		t.Error(err)
	}
	if err := env.Client.Open(t.Context(), device, "con_wrong", key(t, "wrong"), luks.OpenOptions{}); !errors.As(err, &wrong) || wrong.Device != device {
		t.Error(err)
	}
	env.none(t, "con_wrong")
	var none *luks.KeyError
	if err := env.Client.Open(t.Context(), device, "con_wrong", luks.Key{}, luks.OpenOptions{}); !errors.As(err, &none) {
		t.Error(err)
	}
}

func (e Env) none(t *testing.T, mapper string) {
	t.Helper()
	m, err := e.Client.Mapping(t.Context(), mapper)
	var missing *luks.NotFoundError
	if !errors.As(err, &missing) || missing.Kind != "mapping" || missing.Name != mapper {
		t.Errorf("there is a mapping %+v, %v", m, err)
	}
}

func newline(t *testing.T, env Env) {
	device := env.Device(t, 24*mib)
	odd := "a\nb\x00c\n"
	if _, err := env.Client.Format(t.Context(), spec(device), key(t, odd)); err != nil {
		t.Fatal(err)
	}
	if err := env.Client.TestKey(t.Context(), device, key(t, odd)); err != nil {
		t.Error(err)
	}
	for _, other := range []string{"a", "a\nb\x00c", "a\nb", odd + "\n"} {
		var wrong *luks.WrongKeyError
		if err := env.Client.TestKey(t.Context(), device, key(t, other)); !errors.As(err, &wrong) {
			t.Errorf("key %q: %v", other, err)
		}
	}
	large := strings.Repeat("k", luks.MaxKey)
	if _, err := env.Client.Format(t.Context(), spec(device), key(t, large)); err != nil {
		t.Errorf("the largest key: %v", err)
	}
	if err := env.Client.TestKey(t.Context(), device, key(t, large)); err != nil {
		t.Errorf("the largest key: %v", err)
	}
}

func taken(t *testing.T, env Env) {
	device, other := env.volume(t), env.volume(t)
	env.open(t, device, "con_taken", luks.OpenOptions{})
	var exists *luks.ExistsError
	if err := env.Client.Open(t.Context(), other, "con_taken", key(t, "right"), luks.OpenOptions{}); !errors.As(err, &exists) || exists.Mapper != "con_taken" {
		t.Error(err)
	}
	var used *luks.InUseError
	if err := env.Client.Open(t.Context(), device, "con_second", key(t, "right"), luks.OpenOptions{}); !errors.As(err, &used) || used.Device != device || !strings.Contains(strings.Join(used.Holders, " "), "con_taken") {
		t.Error(err)
	}
	if _, err := env.Client.Format(t.Context(), spec(device), key(t, "new")); !errors.As(err, &used) || used.Device != device {
		t.Error(err)
	}
	if err := env.Client.TestKey(t.Context(), device, key(t, "right")); err != nil {
		t.Errorf("after a refused format: %v", err)
	}
	var bad *luks.NameError
	for _, name := range []string{"", "-x", "a/b", "a b", "ä", "control", ".", "..", strings.Repeat("x", 128)} {
		if err := env.Client.Open(t.Context(), other, name, key(t, "right"), luks.OpenOptions{}); !errors.As(err, &bad) || bad.Name != name {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func held(t *testing.T, env Env) {
	device := env.volume(t)
	m := env.open(t, device, "con_held", luks.OpenOptions{})
	release, who := env.Hold(t, m)
	err := env.Client.Close(t.Context(), "con_held")
	var busy *luks.BusyError
	if !errors.As(err, &busy) || busy.Mapper != "con_held" || !strings.Contains(strings.Join(busy.Holders, " "), who) {
		t.Errorf("closed: %v, want it held by %s", err, who)
	}
	if m, err := env.Client.Mapping(t.Context(), "con_held"); err != nil || m.OpenCount == 0 {
		t.Errorf("mapping %+v, %v", m, err)
	}
	release()
	if err := env.Client.Close(t.Context(), "con_held"); err != nil {
		t.Error(err)
	}
	env.none(t, "con_held")
}

func closed(t *testing.T, env Env) {
	if err := env.Client.Close(t.Context(), "con_never"); err != nil {
		t.Error(err)
	}
	env.none(t, "con_never")
	env.none(t, "-h")
	env.none(t, "")
}

func small(t *testing.T, env Env) {
	device := env.Device(t, 16*mib)
	too := spec(device)
	too.Offset = 16 * mib
	var small *luks.TooSmallError
	if _, err := env.Client.Format(t.Context(), too, key(t, "right")); !errors.As(err, &small) || small.Size != 16*mib || small.Need != 16*mib+4096 {
		t.Error(err)
	}
	if is, err := env.Client.IsLUKS(t.Context(), device); err != nil || is {
		t.Errorf("a header was written: %v, %v", is, err)
	}
}

func refused(t *testing.T, env Env) {
	device := env.volume(t)
	for field, change := range map[string]func(*luks.FormatSpec){
		"Offset":     func(s *luks.FormatSpec) { s.Offset += 512 },
		"UUID":       func(s *luks.FormatSpec) { s.UUID = "nonsense" },
		"SectorSize": func(s *luks.FormatSpec) { s.Type, s.PBKDF, s.SectorSize = luks.LUKS1, "", 4096 },
		"PBKDF":      func(s *luks.FormatSpec) { s.Type, s.PBKDF = luks.LUKS1, "argon2id" },
		"KeySize":    func(s *luks.FormatSpec) { s.KeySize = 0 },
		"Cipher":     func(s *luks.FormatSpec) { s.Cipher = "" },
		"Type":       func(s *luks.FormatSpec) { s.Type = "luks3" },
	} {
		s := spec(device)
		change(&s)
		var bad *luks.SpecError
		if _, err := env.Client.Format(t.Context(), s, key(t, "new")); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("bad %s: %v", field, err)
		}
	}
	if err := env.Client.TestKey(t.Context(), device, key(t, "right")); err != nil {
		t.Errorf("the volume did not survive the refusals: %v", err)
	}
}
