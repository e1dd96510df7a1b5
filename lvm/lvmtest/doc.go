// Package lvmtest has a fake of package lvm's Client, and the suite that both
// the fake and the real lvm2 pass: what a test learns from Fake holds on a
// host.
package lvmtest

import (
	"context"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// Client is what *lvm.Client and *Fake have in common.
type Client interface {
	VGs(ctx context.Context) ([]lvm.VG, error)
	VG(ctx context.Context, name string) (lvm.VG, error)
	LVs(ctx context.Context) ([]lvm.LV, error)
	LV(ctx context.Context, vg, name string) (lvm.LV, error)
	ByTag(ctx context.Context, tag string) ([]lvm.LV, error)
	LVByPath(ctx context.Context, path string) (lvm.LV, error)
	Create(ctx context.Context, spec lvm.Spec) (lvm.LV, error)
	Remove(ctx context.Context, vg, name, tag string) error
	On(ctx context.Context, device string) ([]lvm.VG, error)
	Deactivate(ctx context.Context, device string) ([]string, error)
}

var (
	_ Client = (*lvm.Client)(nil)
	_ Client = (*Fake)(nil)
)
