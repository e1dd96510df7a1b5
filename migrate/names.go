package migrate

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// DeviceNames are what a block device is called besides its path.
type DeviceNames struct {
	// Stable is a name that stays the same when devices are found in another
	// order, "" if there is none.
	Stable string
	// Whole is the ID of the disk that a partition is on, "" of any other.
	Whole string
}

// stableFolders are where udev names devices by what they are and not by when
// they were found, the best first.
var stableFolders = [...]string{"/dev/disk/by-partuuid", "/dev/disk/by-id"}

// Names implements Devices.
func (Host) Names(_ context.Context, path string) (DeviceNames, error) {
	number, err := deviceOf(path)
	if err != nil {
		return DeviceNames{}, err
	}
	var names DeviceNames
	folder := "/sys/dev/block/" + number
	if _, err := os.Stat(folder + "/partition"); err == nil {
		if whole := readNumber(folder + "/.."); whole != "" {
			names.Whole = "block " + whole
		}
	}
	for _, dir := range stableFolders {
		links, err := os.ReadDir(dir) // by name
		if err != nil {
			continue // a host without udev has none
		}
		for _, link := range links {
			if strings.HasPrefix(link.Name(), "lvm-pv-uuid-") {
				continue // named after what lies on it, which is to be overwritten
			}
			at := filepath.Join(dir, link.Name())
			var stat unix.Stat_t
			if unix.Stat(at, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFBLK {
				continue
			}
			if is, err := deviceOf(at); err == nil && is == number {
				names.Stable = at
				return names, nil
			}
		}
	}
	return names, nil
}
