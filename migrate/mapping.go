package migrate

import (
	"context"
	"errors"

	"github.com/vmmigrate/vmmigrate/luks"
)

// openMapping is a mapping, if there is one.
type openMapping struct {
	luks.Mapping
	open bool
}

// mapping looks up the mapping of a disk's name, whatever it opens.
func (j *Job) mapping(ctx context.Context, disk *DiskPlan) (openMapping, error) {
	mapping, err := j.Encryption.Mapping(ctx, disk.Mapper)
	var none *luks.NotFoundError
	if errors.As(err, &none) {
		return openMapping{}, nil
	}
	return openMapping{mapping, err == nil}, err
}
