package lukstest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Fake is a host's LUKS volumes and mappings in memory. Its exported fields
// are to be set before it is used; its methods may be called by several
// goroutines.
type Fake struct {
	// Size is the size of a device in bytes, such as an lvmtest.Fake's
	// DeviceSize. Any error of its means that there is no such device.
	Size func(device string) (int64, error)
	// Resolve is the one true name of a device, which a mapping's Device
	// shows, such as an lvmtest.Fake's Resolve; nil leaves paths as they are.
	Resolve func(device string) string
	// Before is asked before, and After after, an act that changes
	// something: "format", "open", "close", "backup", "add-key", "kill-slot"
	// or "erase". An error of Before's is returned and the act not done; one
	// of After's is returned when it was, as if the process had died there.
	Before, After func(op string) error
	// HeldBy says who else has a mapping's device open, such as an
	// lvmtest.Fake's ActiveOn.
	HeldBy func(path string) []string

	mu       sync.Mutex
	headers  map[string]*header // by the device's true name
	foreign  map[string]luks.Signature
	mappings map[string]*mapping
	serial   int
}

type header struct {
	luks.Header
	keys map[int][sha256.Size]byte // by slot
}

type mapping struct {
	luks.Mapping
	holders []string
}

// New is a host with nothing encrypted.
func New() *Fake {
	return &Fake{headers: map[string]*header{}, mappings: map[string]*mapping{}}
}

// act runs an act between Before and After.
func (f *Fake) act(ctx context.Context, op string, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.Before != nil {
		if err := f.Before(op); err != nil {
			return err
		}
	}
	f.mu.Lock()
	err := do()
	f.mu.Unlock()
	if err == nil && f.After != nil {
		err = f.After(op)
	}
	return err
}

// Hold has somebody hold a mapping open, or nobody when there are no holders.
func (f *Fake) Hold(mapper string, holders ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.mappings[mapper]; m != nil {
		m.holders = holders
	}
}

// InUse says whether a mapping has the device open.
func (f *Fake) InUse(device string) bool {
	device = f.resolve(device)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over(device) != ""
}

// Forget is to be told when a device is gone with all that was on it.
func (f *Fake) Forget(device string) {
	device = f.resolve(device)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.headers, device)
}

// Reboot closes all mappings, whoever holds them.
func (f *Fake) Reboot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.mappings)
}

// resolve is asked without f.mu held: who answers may ask back.
func (f *Fake) resolve(device string) string {
	if f.Resolve == nil {
		return device
	}
	return f.Resolve(device)
}

// over is the name of the mapping over a device by its true name, or "".
func (f *Fake) over(device string) string {
	for name, m := range f.mappings {
		if m.Device == device {
			return name
		}
	}
	return ""
}

func (f *Fake) size(device string) (int64, error) {
	if f.Size == nil {
		return 0, &luks.NotFoundError{Kind: "device", Name: device}
	}
	n, err := f.Size(device)
	if err != nil {
		return 0, &luks.NotFoundError{Kind: "device", Name: device}
	}
	return n, nil
}

// DeviceSize implements Client.
func (f *Fake) DeviceSize(ctx context.Context, device string) (int64, error) {
	if m, ok := f.mapped(device); ok {
		return m.Size, ctx.Err()
	}
	n, err := f.size(device)
	return n, errors.Join(err, ctx.Err())
}

func (f *Fake) mapped(path string) (luks.Mapping, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mappings[strings.TrimPrefix(path, "/dev/mapper/")]
	if m == nil || m.Path != path {
		return luks.Mapping{}, false
	}
	return m.Mapping, true
}

// Format implements Client.
func (f *Fake) Format(ctx context.Context, spec luks.FormatSpec, key luks.Key) (luks.Header, error) {
	spec.Type = cmp.Or(spec.Type, luks.LUKS2)
	if err := errors.Join(spec.Check(), checkKey(key)); err != nil {
		return luks.Header{}, err
	}
	size, err := f.size(spec.Device)
	if err != nil {
		return luks.Header{}, err
	}
	if need := spec.Offset + 4096; size < need {
		return luks.Header{}, &luks.TooSmallError{Device: spec.Device, Size: size, Need: need}
	}
	made := &header{keys: map[int][sha256.Size]byte{0: sha256.Sum256(key.Bytes())}, Header: luks.Header{
		Type: spec.Type, UUID: spec.UUID, Label: spec.Label, Cipher: spec.Cipher, KeySize: spec.KeySize,
		Hash: cmp.Or(spec.Hash, "sha256"), SectorSize: spec.SectorSize, Offset: spec.Offset,
		Keyslots: []luks.Keyslot{{PBKDF: cmp.Or(spec.PBKDF, "pbkdf2"), Hash: cmp.Or(spec.Hash, "sha256"), Memory: spec.PBKDFMemory, Iterations: max(spec.PBKDFForceIterations, 1000)}},
	}}
	device := f.resolve(spec.Device)
	at := device
	if spec.Header != "" {
		size, err := f.headerSize(spec.Header)
		if err != nil {
			return luks.Header{}, err
		}
		if need := luks.HeaderSize(spec.Type); size < need {
			return luks.Header{}, &luks.TooSmallError{Device: spec.Header, Size: size, Need: need}
		}
		at = f.resolve(spec.Header)
	}
	err = f.act(ctx, "format", func() error {
		if by := f.over(device); by != "" {
			return &luks.InUseError{Device: spec.Device, Holders: []string{"the device " + by + " on top of it"}}
		}
		f.headers[at] = made
		delete(f.foreign, at)
		return nil
	})
	if err != nil {
		return luks.Header{}, err
	}
	return made.Header, nil
}

// headerSize is the size of the file that a detached header is in.
func (f *Fake) headerSize(file string) (int64, error) {
	size, err := f.size(file)
	if err != nil {
		return 0, &luks.NotFoundError{Kind: "header file", Name: file}
	}
	return size, nil
}

func checkKey(key luks.Key) error {
	if key.Len() == 0 {
		return &luks.KeyError{Reason: "it is empty"}
	}
	return nil
}

// unlock is the header on device, truly called name, if key fits it. f.mu must
// be held.
func (f *Fake) unlock(device, name string, key luks.Key) (*header, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	h := f.headers[name]
	switch {
	case h == nil:
		return nil, &luks.NotLUKSError{Device: device}
	case h.slot(key) < 0:
		return nil, &luks.WrongKeyError{Device: device}
	}
	return h, nil
}

// flags are what cryptsetup writes into a LUKS2 header for an opening, in place of
// what was there (libcryptsetup's LUKS2_config_set_flags, in its order).
func flags(o luks.OpenOptions) []string {
	var all []string
	for _, flag := range []struct {
		set  bool
		name string
	}{
		{o.AllowDiscards, "allow-discards"},
		{o.SameCPUCrypt, "same-cpu-crypt"},
		{o.SubmitFromCryptCPUs, "submit-from-crypt-cpus"},
		{o.NoReadWorkqueue, "no-read-workqueue"},
		{o.NoWriteWorkqueue, "no-write-workqueue"},
	} {
		if flag.set {
			all = append(all, flag.name)
		}
	}
	return all
}

// Open implements Client.
func (f *Fake) Open(ctx context.Context, device, mapper string, key luks.Key, options luks.OpenOptions) error {
	if err := luks.ValidMapper(mapper); err != nil {
		return err
	}
	size, err := f.size(device)
	if err != nil {
		return err
	}
	name := f.resolve(device)
	headerOf, at := device, name
	if options.Header != "" {
		if _, err := f.headerSize(options.Header); err != nil {
			return err
		}
		headerOf, at = options.Header, f.resolve(options.Header)
	}
	return f.act(ctx, "open", func() error {
		// In cryptsetup's order: the name, the header and key, the device.
		if f.mappings[mapper] != nil {
			return &luks.ExistsError{Mapper: mapper}
		}
		h, err := f.unlock(headerOf, at, key)
		if err != nil {
			return err
		}
		if by := f.over(name); by != "" {
			return &luks.InUseError{Device: device, Holders: []string{"the device " + by + " on top of it"}}
		}
		discards := options.AllowDiscards || slices.Contains(h.Flags, "allow-discards")
		if options.Persistent && h.Type == luks.LUKS2 {
			h.Flags = flags(options) // of LUKS1, cryptsetup says that it can't, and opens it
		}
		f.serial++
		f.mappings[mapper] = &mapping{Mapping: luks.Mapping{
			Name: mapper, Path: "/dev/mapper/" + mapper, Type: h.Type, UUID: h.UUID, Target: "crypt",
			DMUUID: fmt.Sprintf("CRYPT-%s-%s-%s", strings.ToUpper(string(h.Type)), strings.ReplaceAll(h.UUID, "-", ""), mapper),
			Device: name, Major: 254, Minor: 1000 + f.serial, Size: size - h.Offset, Offset: h.Offset,
			SectorSize: h.SectorSize, Cipher: h.Cipher, ReadOnly: options.ReadOnly, Discards: discards,
		}}
		return nil
	})
}

// TestKey implements Client.
func (f *Fake) TestKey(ctx context.Context, device string, key luks.Key) error {
	if _, err := f.size(device); err != nil {
		return err
	}
	name := f.resolve(device)
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.unlock(device, name, key)
	return errors.Join(err, ctx.Err())
}

// holders are those of a mapping, by Hold and by HeldBy.
func (f *Fake) holders(m *mapping) []string {
	all := slices.Clone(m.holders)
	if f.HeldBy != nil {
		all = append(all, f.HeldBy(m.Path)...)
	}
	return all
}

// Close implements Client.
func (f *Fake) Close(ctx context.Context, mapper string) error {
	return f.act(ctx, "close", func() error {
		m := f.mappings[mapper]
		if m == nil {
			return nil
		}
		if all := f.holders(m); len(all) > 0 {
			return &luks.BusyError{Mapper: mapper, Holders: all}
		}
		delete(f.mappings, mapper)
		return nil
	})
}

// IsLUKS implements Client.
func (f *Fake) IsLUKS(ctx context.Context, device string) (bool, error) {
	_, err := f.Header(ctx, device)
	var not *luks.NotLUKSError
	if errors.As(err, &not) {
		return false, nil
	}
	return err == nil, err
}

// Header implements Client.
func (f *Fake) Header(ctx context.Context, device string) (luks.Header, error) {
	if _, err := f.DeviceSize(ctx, device); err != nil {
		return luks.Header{}, err
	}
	name := f.resolve(device)
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.headers[name]; h != nil {
		seen := h.Header
		seen.Keyslots = slices.Clone(h.Keyslots)
		return seen, nil
	}
	return luks.Header{}, &luks.NotLUKSError{Device: device}
}

// Mapping implements Client.
func (f *Fake) Mapping(ctx context.Context, mapper string) (luks.Mapping, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.mappings[mapper]; m != nil {
		return f.seen(m), ctx.Err()
	}
	return luks.Mapping{}, errors.Join(&luks.NotFoundError{Kind: "mapping", Name: mapper}, ctx.Err())
}

func (f *Fake) seen(m *mapping) luks.Mapping {
	one := m.Mapping
	one.OpenCount = len(f.holders(m))
	return one
}

// Mappings implements Client.
func (f *Fake) Mappings(ctx context.Context) ([]luks.Mapping, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []luks.Mapping
	for _, m := range f.mappings {
		all = append(all, f.seen(m))
	}
	slices.SortFunc(all, func(a, b luks.Mapping) int { return cmp.Compare(a.Name, b.Name) })
	return all, ctx.Err()
}

// MappingsOf implements Client.
func (f *Fake) MappingsOf(ctx context.Context, device string) ([]luks.Mapping, error) {
	if _, err := f.size(device); err != nil {
		return nil, err
	}
	all, err := f.Mappings(ctx)
	name := f.resolve(device)
	return slices.DeleteFunc(all, func(m luks.Mapping) bool { return m.Device != name }), err
}
