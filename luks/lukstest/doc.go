// Package lukstest has a fake of package luks's Client, and the suite that
// both the fake and the real cryptsetup pass: what a test learns from Fake
// holds on a host.
package lukstest

import (
	"context"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Client is what *luks.Client and *Fake have in common.
type Client interface {
	Format(ctx context.Context, spec luks.FormatSpec, key luks.Key) (luks.Header, error)
	Try(ctx context.Context, spec luks.FormatSpec) error
	Open(ctx context.Context, device, mapper string, key luks.Key, options luks.OpenOptions) error
	Close(ctx context.Context, mapper string) error
	IsLUKS(ctx context.Context, device string) (bool, error)
	Header(ctx context.Context, device string) (luks.Header, error)
	DeviceSize(ctx context.Context, device string) (int64, error)
	Mapping(ctx context.Context, mapper string) (luks.Mapping, error)
	Mappings(ctx context.Context) ([]luks.Mapping, error)
	MappingsOf(ctx context.Context, device string) ([]luks.Mapping, error)
	HeaderBackup(ctx context.Context, device, file string) error
	TestKey(ctx context.Context, device string, key luks.Key) error
	AddKey(ctx context.Context, device string, key, added luks.Key, options luks.AddKeyOptions) error
	KillSlot(ctx context.Context, device string, key luks.Key, slot int) error
	Signatures(ctx context.Context, device string) ([]luks.Signature, error)
	DirectIO(ctx context.Context, mapper string) error
	Erase(ctx context.Context, device, uuid string, offset int64) error
}

var (
	_ Client = (*luks.Client)(nil)
	_ Client = (*Fake)(nil)
)
