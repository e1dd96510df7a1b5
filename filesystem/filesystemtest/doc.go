// Package filesystemtest has a fake of package filesystem's Client, and the suite
// that both the fake and the real one pass: what a test learns from Fake holds on
// a host.
package filesystemtest

import (
	"context"

	"github.com/vmmigrate/vmmigrate/filesystem"
)

// Client is what *filesystem.Client and *Fake have in common.
type Client interface {
	Make(ctx context.Context, spec filesystem.Spec) error
	Identify(ctx context.Context, device string) (filesystem.Identity, error)
	MakeDir(ctx context.Context, dir string) error
	RemoveDir(ctx context.Context, dir string) error
	Mount(ctx context.Context, spec filesystem.MountSpec) error
	Mounts(ctx context.Context, device string) ([]string, error)
	Unmount(ctx context.Context, dir, device string) error
	Free(ctx context.Context, dir string) (size, free int64, err error)
}

var (
	_ Client = (*filesystem.Client)(nil)
	_ Client = (*Fake)(nil)
)
