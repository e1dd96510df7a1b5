package succession

import (
	"context"
	"fmt"
	"strings"

	"github.com/vmmigrate/vmmigrate/domainxml"
)

// ImageFiles are the files of an image beside its own.
type ImageFiles struct {
	// Data hold bytes of the image itself: qcow2's external data file, or the
	// extents of a vmdk. Behind are all files of the images behind it, from the
	// top down.
	Data, Behind []string
}

// pathOf is where a disk is, or "".
func (e *Env) pathOf(ctx context.Context, disk domainxml.Disk) (string, error) {
	if disk.SourceType == "volume" {
		return e.Hypervisor.VolumePath(ctx, disk.Pool, disk.Volume)
	}
	return disk.Path, nil
}

// judgeImage tells what of a disk that is an image lies in other files. What is
// behind it may be a template of many, so it is not wiped. Where the image's own
// bytes are in other files, to wipe the one that names them would leave nearly
// all of the disk and take the way to it.
func (j *judge) judgeImage(ctx context.Context, disk domainxml.Disk, path string) {
	files, err := j.Chain(ctx, path, disk.Format)
	if err != nil {
		// One that is gone is told of where the disk itself is.
		j.warnings = append(j.warnings, fmt.Sprintf("whether %s rests on other files can't be told (%v): what of the disk is in such is not wiped", path, err))
	}
	if len(files.Data) > 0 {
		j.against(Elsewhere, disk.Target, "", "the bytes of %s are in %s, and not in %s, which is all that is wiped of an image", disk.Target, strings.Join(files.Data, ", "), path)
	}
	for _, below := range files.Behind {
		j.warnings = append(j.warnings, fmt.Sprintf("%s rests on %s, which stays as it is: what of the disk is in there is not wiped", path, below))
	}
}
