package lifecycle

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"

	"github.com/vmmigrate/vmmigrate/luks"
)

// saved is what a header backup of the vault holds.
type saved struct {
	Header luks.Header
	Keys   map[int]string
}

func (v *vault) fails(op, device string) error {
	if v.fail == nil {
		return nil
	}
	return v.fail(op, device)
}

func (v *vault) Format(ctx context.Context, spec luks.FormatSpec, key luks.Key) (luks.Header, error) {
	header, err := v.Fake.Format(ctx, spec, key)
	if err == nil {
		v.keys[v.Resolve(cmp.Or(spec.Header, spec.Device))] = map[int]string{0: string(key.Bytes())}
	}
	return header, err
}

func (v *vault) AddKey(ctx context.Context, device string, key, added luks.Key, options luks.AddKeyOptions) error {
	if err := v.fails("add", device); err != nil {
		return err
	}
	err := v.Fake.AddKey(ctx, device, key, added, options)
	if err == nil {
		v.keys[v.Resolve(device)][options.Slot] = string(added.Bytes())
		err = v.fails("added", device)
	}
	return err
}

func (v *vault) KillSlot(ctx context.Context, device string, key luks.Key, slot int) error {
	v.killed = append(v.killed, slot)
	if err := v.fails("kill", device); err != nil {
		return err
	}
	err := v.Fake.KillSlot(ctx, device, key, slot)
	if err == nil {
		delete(v.keys[v.Resolve(device)], slot)
		err = v.fails("killed", device)
	}
	return err
}

func (v *vault) KeySlot(ctx context.Context, device string, key luks.Key) (int, error) {
	if err := v.fails("test", device); err != nil {
		return 0, err
	}
	if err := v.TestKey(ctx, device, key); err != nil {
		return 0, err
	}
	for slot, text := range v.keys[v.Resolve(device)] {
		if text == string(key.Bytes()) {
			return slot, nil
		}
	}
	return 0, errors.New("the vault knows a key that it was not given")
}

func (v *vault) KeyData(_ context.Context, device string) (string, error) {
	s, err := readSaved(device)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(s.Keys)
	return string(text), err
}

// damage overwrites a header.
func (v *vault) damage(device string) {
	v.Forget(device)
	delete(v.keys, v.Resolve(device))
}

func (v *vault) HeaderBackup(ctx context.Context, device, file string) error {
	if _, err := readSaved(device); err == nil { // a header's own file, restored
		text, err := os.ReadFile(device)
		return errors.Join(err, os.WriteFile(file, text, 0o600))
	}
	header, err := v.Fake.Header(ctx, device)
	if err != nil {
		return err
	}
	facts, err := json.Marshal(header)
	if err != nil {
		return err
	}
	keys, err := json.Marshal(v.keys[v.Resolve(device)])
	if err != nil {
		return err
	}
	// As LUKS2 has it: two copies of the metadata, then the keys.
	one := append(binary.BigEndian.AppendUint64([]byte("LUKS\xba\xbe\x00\x02"), uint64(16+len(facts))), facts...)
	return os.WriteFile(file, append(append(one, one...), keys...), 0o600)
}

// readSaved reads what HeaderBackup wrote.
func readSaved(file string) (saved, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return saved{}, err
	}
	keys := keyArea(text)
	if len(keys) == len(text) {
		return saved{}, &luks.NotLUKSError{Device: file}
	}
	var s saved
	err = errors.Join(json.Unmarshal(text[16:(len(text)-len(keys))/2], &s.Header), json.Unmarshal(keys, &s.Keys))
	return s, err
}

// Header reads a backup, too.
func (v *vault) Header(ctx context.Context, device string) (luks.Header, error) {
	s, err := readSaved(device)
	if errors.Is(err, os.ErrNotExist) {
		return v.Fake.Header(ctx, device)
	}
	return s.Header, err
}

func (v *vault) HeaderRestore(ctx context.Context, device, file string) error {
	if err := v.fails("restore", device); err != nil {
		return err
	}
	s, err := readSaved(file)
	if err != nil {
		return err
	}
	h := s.Header
	// The fake formats with a key in slot 0, so that is what a test's backup
	// has to have.
	first := mustKey(s.Keys[0])
	if _, err := v.Format(ctx, luks.FormatSpec{
		Device: device, UUID: h.UUID, Type: h.Type, Cipher: h.Cipher, KeySize: h.KeySize, SectorSize: h.SectorSize, Hash: h.Hash, Offset: h.Offset,
	}, first); err != nil {
		return err
	}
	for slot, text := range s.Keys {
		if slot == 0 {
			continue
		}
		if err := v.AddKey(ctx, device, first, mustKey(text), luks.AddKeyOptions{Slot: slot}); err != nil {
			return err
		}
	}
	return nil
}

func mustKey(text string) luks.Key {
	key, _ := luks.NewKey([]byte(text)) // of some bytes it is one
	return key
}
