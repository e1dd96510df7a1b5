package migrate

import "io"

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
// is a mapping of its.
func (h Host) encryptedBelow(number string, depth int) bool {
	if depth == maxDepth {
		return false
	}
	device := h.device(number)
	if device.encrypts {
		return true
	}
	for _, n := range device.below {
		if !h.encryptedBelow(n, depth+1) {
			return false
		}
	}
	return len(device.below) > 0
}
