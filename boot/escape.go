package boot

import (
	"fmt"
	"strings"
)

// maxUnit is the longest name of a unit: UNIT_NAME_MAX is 256 with the final
// NUL (systemd's unit-def.h), and a drop-in's folder has .d behind it in a file
// name of at most 255 bytes.
const maxUnit = 255 - len(".d")

// Escape writes text as an instance's name, as `systemd-escape` does: a slash
// becomes a dash, and whatever is no letter, digit, colon, underscore or dot,
// or is a dot in front, becomes \xNN (systemd.unit(5), "String Escaping for
// Inclusion in Unit Names").
func Escape(text string) string {
	var out strings.Builder
	for i := range len(text) {
		switch b := text[i]; {
		case b == '/':
			out.WriteByte('-')
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == ':', b == '_', b == '.' && i > 0:
			out.WriteByte(b)
		default:
			fmt.Fprintf(&out, `\x%02x`, b)
		}
	}
	return out.String()
}

const (
	guestPrefix = "vmmigrate-guest@"
	cryptPrefix = "systemd-cryptsetup@"
	service     = ".service"
)

// Template is the unit of which every guest's is an instance.
const Template = guestPrefix + service

// GuestUnit is the unit of a guest, and ok is false where its name would be too
// long for one.
func GuestUnit(instance string) (unit string, ok bool) {
	unit = guestPrefix + Escape(instance) + service
	return unit, instance != "" && len(unit) <= maxUnit
}

// CryptUnit is the unit that systemd makes of a crypttab's line for a mapping
// (systemd-cryptsetup@.service(8)).
func CryptUnit(mapper string) string { return cryptPrefix + Escape(mapper) + service }

// MountUnit is the unit that systemd makes of what is mounted on a folder
// (systemd.mount(5)).
func MountUnit(dir string) string { return Escape(strings.Trim(dir, "/")) + ".mount" }

// ValidWord returns a *WordError for what can't be a word of a crypttab. A
// colon in the path of a key file or header would name the device that it lies on
// (crypttab(5)).
func ValidWord(what, word string) error {
	reason := ""
	switch {
	case word == "":
		reason = "it is empty"
	case strings.ContainsAny(word, " \t\r\n\v\f\x00"):
		reason = "it has white space, and there is no way to quote that"
	case word[0] == '#':
		reason = "it begins like a comment"
	case (what == "key file" || what == "header file") && strings.ContainsRune(word, ':'):
		reason = "what stands behind a colon is taken for the device that the file lies on"
	case what == "header file" && strings.ContainsAny(word, `,\`):
		reason = "a comma ends an option there, and a backslash is not taken as it is"
	}
	if reason == "" {
		return nil
	}
	return &WordError{What: what, Word: word, Reason: reason}
}
