package lukstest

import (
	"context"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Sign puts somebody else's signature on a device, in the place of a LUKS
// header, or takes it away where it is the zero one.
func (f *Fake) Sign(device string, signature luks.Signature) {
	device = f.resolve(device)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.headers, device)
	if f.foreign == nil {
		f.foreign = make(map[string]luks.Signature)
	}
	f.foreign[device] = signature
}

// Signatures implements Client.
func (f *Fake) Signatures(ctx context.Context, device string) ([]luks.Signature, error) {
	if _, err := f.size(device); err != nil {
		return nil, err
	}
	device = f.resolve(device)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.signatures(device), ctx.Err()
}

// signatures are those on a device by its true name. f.mu must be held.
func (f *Fake) signatures(device string) []luks.Signature {
	if h := f.headers[device]; h != nil {
		return []luks.Signature{{Type: "crypto_LUKS", UUID: h.UUID}}
	}
	if s := f.foreign[device]; s != (luks.Signature{}) {
		return []luks.Signature{s}
	}
	return nil
}

// DirectIO implements Client. No fake device is a file.
func (f *Fake) DirectIO(ctx context.Context, mapper string) error {
	_, err := f.Mapping(ctx, mapper)
	return err
}

// Erase implements Client.
func (f *Fake) Erase(ctx context.Context, device, uuid string, _ int64) error {
	if _, err := f.size(device); err != nil {
		return err
	}
	name := f.resolve(device)
	f.mu.Lock()
	found, by := f.signatures(name), f.over(name)
	f.mu.Unlock()
	switch {
	case len(found) == 0:
		return ctx.Err()
	case !found[0].Ours(uuid):
		return &luks.ForeignError{Device: device, UUID: uuid, Bears: found[0]}
	case by != "":
		return &luks.InUseError{Device: device, Holders: []string{"the device " + by + " on top of it"}}
	}
	return f.act(ctx, "erase", func() error {
		delete(f.headers, name)
		return nil
	})
}
