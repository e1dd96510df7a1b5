package migrate

import "testing"

// A device that was there before, as it was found and by a name that stays.
const (
	blankLink = "/dev/sdb1"
	blankName = "/dev/disk/by-partuuid/b1a2-01"
)

// sizeOf is the size of a device, whatever kind it is.
func (w *world) sizeOf(path string) (int64, error) {
	if size, there := w.blanks[path]; there {
		return size, nil
	}
	if file, there := w.file(path); there {
		return file.size, nil
	}
	return w.lvm.DeviceSize(path)
}

// withDevice has the VM imap, off, with one disk, and a blank device for that,
// larger than it has to be.
func withDevice(t *testing.T) *world {
	t.Helper()
	w := newWorldIn(t, scratch(t), 4096*3)
	w.blanks = map[string]int64{blankLink: 20 * mib, blankName: 20 * mib}
	w.luks.Resolve = func(path string) string {
		if path == blankLink {
			return blankName
		}
		return w.lvm.Resolve(path)
	}
	w.chosen = map[string]DiskOptions{"vda": {Device: blankLink}}
	return w
}

// everyTarget runs a test with each kind of target.
func everyTarget(t *testing.T, test func(t *testing.T, host func(*testing.T) *world)) {
	t.Helper()
	for name, host := range map[string]func(*testing.T) *world{
		"new volumes": newWorld, "a device": withDevice, "a file": withFolder, "an image": withImage,
		"volumes with a header apart": withHeaders, "a device with its header apart": withDeviceAndHeader, "an image with its header apart": withImageAndHeader,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, host)
		})
	}
}
