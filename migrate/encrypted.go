package migrate

import (
	"io"
	"os"
	"path/filepath"
	"strings"
)

// isLUKS looks for the magic that both LUKS1 and LUKS2 begin with (LUKS On-Disk
// Format Specification 1.2.3, figure 1; LUKS2 1.1.1, figure 2). Asking
// cryptsetup takes a process for every disk of the host.
func isLUKS(disk io.ReaderAt) bool {
	magic := make([]byte, 6)
	_, err := disk.ReadAt(magic, 0)
	return err == nil && string(magic) == "LUKS\xba\xbe"
}

// encryptedBelow says whether all that is written to the device of that number
// goes through dm-crypt: whether on every way down to a physical device there
// is a mapping whose UUID begins as cryptsetup lets it, "CRYPT-".
func encryptedBelow(sys, number string, depth int) bool {
	folder, err := filepath.EvalSymlinks(filepath.Join(sys, number))
	if err != nil || depth == maxDepth {
		return false
	}
	if uuid, err := os.ReadFile(filepath.Join(folder, "dm", "uuid")); err == nil && strings.HasPrefix(string(uuid), "CRYPT-") {
		return true
	}
	below := devicesBelow(folder, number)
	for _, n := range below {
		if !encryptedBelow(sys, n, depth+1) {
			return false
		}
	}
	return len(below) > 0
}
