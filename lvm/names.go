package lvm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

const (
	// maxName is the longest name of a volume or group: NAME_LEN is 128 with
	// the final NUL (lvm2, lib/misc/lvm-string.h).
	maxName = 127
	// maxMapping is the longest name of a device-mapper device: DM_NAME_LEN
	// is 128 with the final NUL (linux/dm-ioctl.h).
	maxMapping = 127
	// layerRoom is kept free in a mapping's name for the layers that lvm2
	// puts under a volume, such as -lv_rimage_10 or -lv_tmeta.
	layerRoom = 12
	// maxChosen bounds the names that Sanitise makes, counted as
	// device-mapper spells them, so that a group's name of 34 characters
	// and a layer's suffix still fit beside it.
	maxChosen = 80
)

// reservedParts and reservedStarts are what lvm2 keeps for itself
// (lvm(8), VALID NAMES).
var (
	reservedParts = []string{
		"_cdata", "_cmeta", "_corig", "_cvol", "_iorig", "_mimage", "_mlog", "_pmspare", "_rimage", "_rmeta",
		"_tdata", "_tmeta", "_vdata", "_vorigin", "_wcorig", "_imeta",
	}
	reservedStarts = []string{"snapshot", "pvmove"}
)

// ValidName returns a *NameError when lvm2 would not take name for a volume in
// vg. Its rules are those of lvm(8), VALID NAMES, and that the volume's
// device-mapper name, where each dash counts twice, fits.
func ValidName(vg, name string) error {
	if reason := invalid(name); reason != "" {
		return &NameError{Name: name, Reason: reason}
	}
	for _, part := range reservedParts {
		if strings.Contains(name, part) {
			return &NameError{Name: name, Reason: fmt.Sprintf("names with %q in them are LVM's own", part)}
		}
	}
	for _, start := range reservedStarts {
		if strings.HasPrefix(name, start) {
			return &NameError{Name: name, Reason: fmt.Sprintf("names that start with %q are LVM's own", start)}
		}
	}
	if n := len(mapping(vg)) + 1 + len(mapping(name)) + layerRoom; n > maxMapping {
		return &NameError{Name: name, Reason: fmt.Sprintf("with the volume group's name it is %d characters too long", n-maxMapping)}
	}
	return nil
}

// ValidVGName returns a *NameError when name can't be a volume group's.
func ValidVGName(name string) error {
	if reason := invalid(name); reason != "" {
		return &NameError{Name: name, Reason: reason}
	}
	return nil
}

func invalid(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case name == "." || name == "..":
		return "it is a folder's name"
	case name[0] == '-':
		return "it starts with a dash"
	case len(name) > maxName:
		return fmt.Sprintf("it is longer than %d characters", maxName)
	}
	for _, r := range name {
		if !allowed(r) {
			return fmt.Sprintf("%q is none of a-z A-Z 0-9 + _ . -", r)
		}
	}
	return ""
}

func allowed(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+_.-", r)
}

// mapping is a name as it stands in a device-mapper name, where one dash
// parts group and volume and those of the names are doubled.
func mapping(name string) string { return strings.ReplaceAll(name, "-", "--") }

// digested is how Sanitise ends a name that it had to change.
var digested = regexp.MustCompile(`-[0-9a-f]{8}$`)

// Sanitise makes a valid volume name of any text, the same one every time.
// Text that is a valid and not too long name is kept. In any other the
// characters that LVM does not take become underscores, it is shortened, and
// the first 8 hex digits of the text's SHA-256 are put behind it, so that two
// texts that differ only in what was lost have different names. For that to
// hold a name that already ends in a dash and 8 hex digits is given its own.
func Sanitise(text string) string {
	if ValidName("", text) == nil && len(mapping(text)) <= maxChosen && !digested.MatchString(text) {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	suffix := "-" + hex.EncodeToString(sum[:4])

	var kept strings.Builder
	room := maxChosen - len(mapping(suffix))
	lost := false
	for _, r := range text {
		if !allowed(r) {
			lost = true
			continue
		}
		piece := string(r)
		if lost && kept.Len() > 0 {
			piece = "_" + piece
		}
		lost = false
		room -= len(mapping(piece))
		if room < 0 {
			break
		}
		kept.WriteString(piece)
	}
	name := strings.Trim(kept.String(), "-._")
	for _, part := range reservedParts {
		name = strings.ReplaceAll(name, part, strings.Replace(part, "_", ".", 1))
	}
	if name == "" {
		name = "lv"
	}
	for _, start := range reservedStarts {
		if strings.HasPrefix(name, start) {
			name = "lv." + name
		}
	}
	return name + suffix
}
