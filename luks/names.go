package luks

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

const (
	// maxMapper is the longest name device-mapper takes: DM_NAME_LEN is 128
	// with the final NUL (linux/dm-ioctl.h).
	maxMapper = 127
	// maxChosen bounds the names that MapperName makes, so that
	// CRYPT-LUKS2-, a UUID's 32 digits, a dash and the name also fit in a
	// device-mapper UUID (DM_UUID_LEN is 129 with the final NUL).
	maxChosen = 80
)

// ValidMapper returns a *NameError when name can't be a mapping's: it is to be
// a single entry of /dev/mapper that libdevmapper need not mangle, of letters,
// digits and #+-.:=@_ (dmsetup(8), --manglename).
func ValidMapper(name string) error {
	reason := ""
	switch {
	case name == "":
		reason = "it is empty"
	case name == "." || name == "..":
		reason = "it is a folder's name"
	case name == "control":
		reason = "device-mapper has that one for itself"
	case name[0] == '-':
		reason = "it starts with a dash"
	case len(name) > maxMapper:
		reason = fmt.Sprintf("it is longer than %d characters", maxMapper)
	}
	for _, r := range name {
		if reason == "" && !allowed(r) {
			reason = fmt.Sprintf("%q is none of a-z A-Z 0-9 # + - . : = @ _", r)
		}
	}
	if reason == "" {
		return nil
	}
	return &NameError{Name: name, Reason: reason}
}

func allowed(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("#+-.:=@_", r)
}

// digested is how MapperName ends a name that it had to change.
var digested = regexp.MustCompile(`-[0-9a-f]{8}$`)

// MapperName makes a valid mapping's name of any text, the same one every
// time. Text that is a valid name of at most 80 characters is kept. In any
// other the characters that are not allowed become underscores, it is
// shortened, and the first 8 hex digits of the text's SHA-256 are put behind
// it, so that two texts that differ only in what was lost have different
// names. For that to hold a name that already ends in a dash and 8 hex digits
// is given its own.
func MapperName(text string) string {
	if ValidMapper(text) == nil && len(text) <= maxChosen && !digested.MatchString(text) {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	suffix := "-" + hex.EncodeToString(sum[:4])
	var kept strings.Builder
	lost := false
	for _, r := range text {
		if !allowed(r) {
			lost = true
			continue
		}
		if lost && kept.Len() > 0 {
			kept.WriteByte('_')
		}
		lost = false
		kept.WriteRune(r)
	}
	name := kept.String()
	if room := maxChosen - len(suffix); len(name) > room {
		name = name[:room]
	}
	if name = strings.Trim(name, "-._"); name == "" {
		name = "cr"
	}
	return name + suffix
}
