package planfile

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// head is what everybody who opens the file reads first.
const head = `# A plan of vmmigrate: which VMs to move onto encrypted volumes, and where to.
#
# Edit it, then carry it out with:
#   vmmigrate run --plan THIS-FILE            (--dry-run shows every command)
#
# The VMs are migrated from the top down; change the order as you like, and
# leave one out with "skip: true". A line that is left out means the default.
# What has changed on the host since is shown before anything is done. Mistyped
# lines are refused. Keys are never written here, only where to find them.

`

// keysHelp says what can be written there, since most plans have none.
const keysHelp = `
# Where the keys are. Without this part they come from the command line or the
# terminal. For all VMs, and for single ones by name, one of:
#   file: /root/luks.key          the bytes of a file, as they are
#   credential: vmmigrate.imap    a systemd credential
#   command: [pass, show, imap]   what a program prints; no shell
#   prompt: each                  asked for on the terminal, or once for all
`

// keysExample is shown where the plan has no keys.
const keysExample = `#
# keys:
#   default: {file: /root/luks.key}
#   vms:
#     imap: {command: [pass, show, imap]}
`

// Format is the text of a plan file, with comments. Read reads it back.
func Format(f *File) []byte {
	w := new(writer)
	w.WriteString(head)
	w.entry(0, "version", strconv.Itoa(Version))
	w.text(0, "host", f.Host)
	if !f.Made.IsZero() {
		w.entry(0, "made", f.Made.UTC().Format(time.RFC3339))
	}
	if defaults := w.choices(1, f.Defaults); defaults != "" {
		w.WriteString("\n# For all VMs, unless one says otherwise.\ndefaults:\n" + defaults)
	}
	w.keys(f.Keys)
	w.WriteString("\nvms:\n")
	for i, vm := range f.VMs {
		if i > 0 {
			w.WriteString("\n")
		}
		w.vm(vm)
	}
	return []byte(w.String())
}

type writer struct{ strings.Builder }

func (w *writer) entry(depth int, key, value string) {
	fmt.Fprintf(w, "%s%s: %s\n", strings.Repeat("  ", depth), key, value)
}

// text writes a text unless it is empty.
func (w *writer) text(depth int, key, value string) {
	if value != "" {
		w.entry(depth, key, scalar(value))
	}
}

func (w *writer) number(depth int, key string, value int) {
	if value != 0 {
		w.entry(depth, key, strconv.Itoa(value))
	}
}

func (w *writer) size(depth int, key string, value int64) {
	if value > 0 {
		w.entry(depth, key, formatSize(value))
	}
}

func (w *writer) boolean(depth int, key string, value *bool) {
	if value != nil {
		w.entry(depth, key, strconv.FormatBool(*value))
	}
}

// choices are the lines of some choices.
func (*writer) choices(depth int, c Choices) string {
	w := new(writer)
	w.text(depth, "vg", c.VG)
	if len(c.PVs) > 0 {
		w.entry(depth, "pvs", flow(c.PVs))
	}
	w.text(depth, "target-dir", c.TargetDir)
	w.text(depth, "layout", string(c.Layout))
	w.text(depth, "fs-type", string(c.FS.Type))
	if c.FS.Size > 0 {
		w.entry(depth, "fs-size", formatSize(c.FS.Size))
	}
	w.text(depth, "fs-dir", c.FS.Dir)
	w.text(depth, "lvm-type", c.LVMType)
	w.text(depth, "thin-pool", c.ThinPool)
	if len(c.BackingDirs) > 0 {
		w.entry(depth, "backing-dirs", flow(c.BackingDirs))
	}
	w.boolean(depth, "keep-mac", c.KeepMAC)
	w.boolean(depth, "allow-discards", c.AllowDiscards)
	w.boolean(depth, "encrypt-again", c.EncryptAgain)
	w.boolean(depth, "autostart", c.Autostart)
	w.text(depth, "verify", string(c.Verify))
	if c.LUKS != (LUKS{}) {
		fmt.Fprintf(w, "%sluks:\n", strings.Repeat("  ", depth))
		w.text(depth+1, "type", c.LUKS.Type)
		w.text(depth+1, "cipher", c.LUKS.Cipher)
		w.number(depth+1, "key-size", c.LUKS.KeySize)
		w.text(depth+1, "hash", c.LUKS.Hash)
		w.number(depth+1, "sector-size", c.LUKS.SectorSize)
		w.text(depth+1, "pbkdf", c.LUKS.PBKDF)
		w.number(depth+1, "pbkdf-memory", c.LUKS.PBKDFMemory)
		w.number(depth+1, "pbkdf-force-iterations", c.LUKS.PBKDFForceIterations)
		w.number(depth+1, "iter-time", c.LUKS.IterTime)
	}
	w.copy(depth, c.Copy)
	return w.String()
}

func (w *writer) keys(k Keys) {
	w.WriteString(keysHelp)
	if k.Default == nil && len(k.VMs) == 0 {
		w.WriteString(keysExample)
		return
	}
	w.WriteString("keys:\n")
	if k.Default != nil {
		w.entry(1, "default", source(*k.Default))
	}
	if len(k.VMs) > 0 {
		w.WriteString("  vms:\n")
		for _, vm := range slices.Sorted(maps.Keys(k.VMs)) {
			w.entry(2, scalar(vm), source(k.VMs[vm]))
		}
	}
}

func source(k KeySource) string {
	switch {
	case k.File != "":
		return "{file: " + scalar(k.File) + "}"
	case k.Credential != "":
		return "{credential: " + scalar(k.Credential) + "}"
	case len(k.Command) > 0:
		return "{command: " + flow(k.Command) + "}"
	}
	return "{prompt: " + string(k.Prompt) + "}"
}

// flow is a list in one line.
func flow(list []string) string {
	words := make([]string, len(list))
	for i, word := range list {
		words[i] = scalar(word)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func (w *writer) vm(vm VM) {
	for _, comment := range vm.Comment {
		w.WriteString(strings.TrimRight("  # "+plain(comment), " ") + "\n")
	}
	fmt.Fprintf(w, "  - name: %s\n", scalar(vm.Name))
	w.text(2, "uuid", vm.UUID)
	w.text(2, "state", vm.State)
	w.text(2, "clone", vm.Clone)
	if vm.Skip {
		w.entry(2, "skip", "true")
	}
	w.WriteString(w.choices(2, vm.Choices))
	if len(vm.Disks) == 0 {
		return
	}
	w.WriteString("    disks:\n")
	for _, disk := range vm.Disks {
		fmt.Fprintf(w, "      - target: %s\n", scalar(disk.Target))
		w.text(4, "source", disk.Source)
		w.size(4, "size", disk.Size)
		w.text(4, "vg", disk.VG)
		w.text(4, "lv", disk.LV)
		w.text(4, "device", disk.Device)
		w.text(4, "header", disk.Header)
		if disk.Skip {
			w.entry(4, "skip", "true")
		}
	}
}

// plainScalar is what YAML takes for a text without quotes, whatever its
// version: a letter or slash, and then nothing that means something anywhere.
var plainScalar = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./+-]*$`)

// reserved are the plain words that some YAML takes for something else.
var reserved = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null|nan|inf)$`)

// scalar is a text as YAML, in double quotes where it needs them (YAML 1.2.2,
// 7.3.1).
func scalar(text string) string {
	if plainScalar.MatchString(text) && !reserved.MatchString(text) {
		return text
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r) && r != unicode.ReplacementChar && r != '\ufeff':
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// plain keeps a comment on its line.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
