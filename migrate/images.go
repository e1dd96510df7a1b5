package migrate

import (
	"context"

	"github.com/vmmigrate/vmmigrate/image"
)

var _ Images = Host{}

// CreateImage implements Images.
func (h Host) CreateImage(ctx context.Context, path string, spec image.NewSpec) error {
	return h.Images.Create(ctx, path, spec)
}

// MendImage implements Images.
func (h Host) MendImage(ctx context.Context, path string) error { return h.Images.Mend(ctx, path) }

// NeededFor implements Images.
func (h Host) NeededFor(ctx context.Context, chain image.Chain, spec image.NewSpec) (int64, error) {
	return h.Images.Needed(ctx, chain, spec)
}
