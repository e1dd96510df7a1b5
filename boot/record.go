package boot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Method is how disks are unlocked at boot.
type Method string

// The methods.
const (
	// Prompt asks on the console, and on every terminal where
	// systemd-tty-ask-password-agent(1) runs.
	Prompt  Method = "prompt"
	KeyFile Method = "key-file"
	TPM2    Method = "tpm2"
	Tang    Method = "tang"
	FIDO2   Method = "fido2"
)

// Methods are all of them.
var Methods = []Method{Prompt, KeyFile, TPM2, Tang, FIDO2}

// Enrolls says whether a method has a key slot of its own.
func (m Method) Enrolls() bool { return m == TPM2 || m == Tang || m == FIDO2 }

// Enroller is the program that enrolls for a method, or "".
func Enroller(m Method) string {
	switch m {
	case TPM2, FIDO2:
		return "systemd-cryptenroll"
	case Tang:
		return "clevis-luks-bind"
	}
	return ""
}

// Unlock is how a guest's disks are unlocked at boot.
type Unlock struct {
	Method Method `json:"method"`
	// KeyFile is that of method KeyFile.
	KeyFile string `json:"key_file,omitempty"`
	// URL is the tang server's, and Thumbprint that of the key it is trusted
	// by.
	URL        string `json:"url,omitempty"`
	Thumbprint string `json:"thumbprint,omitempty"`
	// Device is the TPM or FIDO2 token: a path, "auto", or of a TPM also
	// DRIVER:PARAMETERS (systemd-cryptenroll(1), --tpm2-device).
	Device string `json:"device,omitempty"`
	// PCRs are what a TPM binds the key to, as --tpm2-pcrs takes them; "" is
	// systemd's default.
	PCRs string `json:"pcrs,omitempty"`
}

// String is the method as --unlock has it.
func (u Unlock) String() string {
	switch u.Method {
	case KeyFile:
		return "key-file:" + u.KeyFile
	case Tang:
		return "tang:" + u.URL
	}
	return string(u.Method)
}

// WithDefaults has the device of a TPM or token, where none was said.
func (u Unlock) WithDefaults() Unlock {
	if u.Device == "" && (u.Method == TPM2 || u.Method == FIDO2) {
		u.Device = "auto"
	}
	return u
}

// Means says whether wanted asks for u; what wanted leaves out is as it is in
// u.
func (u Unlock) Means(wanted Unlock) bool {
	same := func(is, wanted string) bool { return wanted == "" || is == wanted }
	return u.Method == wanted.Method && u.KeyFile == wanted.KeyFile && u.URL == wanted.URL &&
		same(u.Device, wanted.Device) && same(u.PCRs, wanted.PCRs) && same(u.Thumbprint, wanted.Thumbprint)
}

// Record is what is set up for one guest. It is kept in its unit's drop-in, so
// that what belongs together is one file.
type Record struct {
	// Job made the guest's clone, Clone is its name when this was set up, and
	// Instance that of its unit, not escaped.
	Job      string `json:"job"`
	Clone    string `json:"clone"`
	Instance string `json:"instance"`
	Unlock   Unlock `json:"unlock"`
	// Connect is the libvirt URI, where it is not the default.
	Connect string `json:"connect,omitempty"`
	// StateDir is that of header backups, where it is not the default.
	StateDir string `json:"state_dir,omitempty"`
	// LibvirtAutostart is whether libvirt's own flag was on.
	LibvirtAutostart bool `json:"libvirt_autostart"`
	// MadeCrypttab is whether there was no crypttab before.
	MadeCrypttab bool `json:"made_crypttab"`
	// Done is whether all of it was set up; without it something stopped
	// half-way.
	Done  bool         `json:"done"`
	Disks []RecordDisk `json:"disks"`
}

// RecordDisk is one disk of a guest.
type RecordDisk struct {
	// Target is its name in the guest, LUKS the UUID in its header, Mapper
	// the mapping's name, and VG and LV are the volume as it was called, or
	// Path what is no logical volume.
	Target string `json:"target"`
	LUKS   string `json:"luks"`
	Mapper string `json:"mapper"`
	VG     string `json:"vg,omitempty"`
	LV     string `json:"lv,omitempty"`
	Path   string `json:"path,omitempty"`
	// HeaderFile is the file that the LUKS header is in, where that is not on the
	// volume.
	HeaderFile string `json:"header_file,omitempty"`
	// Mount is the folder that the file system with the disk's image is mounted
	// on, where it is an image.
	Mount string `json:"mount,omitempty"`
	// Discards is whether the guest's are passed on.
	Discards bool `json:"discards,omitempty"`
	// SlotsBefore and TokensBefore are those that the header had before one
	// was enrolled. What came since, and is of the method, is ours.
	SlotsBefore  []int `json:"slots_before,omitempty"`
	TokensBefore []int `json:"tokens_before,omitempty"`
	// Stale is whether the key file did not unlock it when its keys were changed
	// last.
	Stale bool `json:"stale,omitempty"`
}

// device is the volume's path. No device bears the UUID of a header that is in a
// file of its own.
func (d RecordDisk) device() string {
	if d.VG != "" {
		return "/dev/" + d.VG + "/" + d.LV
	}
	return d.Path
}

// Volume names the volume: VG/LV, or its path.
func (d RecordDisk) Volume() string {
	if d.VG != "" {
		return d.VG + "/" + d.LV
	}
	return d.Path
}

// Unit is the guest's.
func (r Record) Unit() string {
	unit, _ := GuestUnit(r.Instance)
	return unit
}

// Mappers are those of its disks.
func (r Record) Mappers() []string {
	var all []string
	for _, disk := range r.Disks {
		all = append(all, disk.Mapper)
	}
	return all
}

// clevisUnit answers systemd's questions for passphrases where a tang server
// does (clevis-luks-unlockers(7)).
const clevisUnit = "clevis-luks-askpass.path"

// clevisTime is how long a tang server may take to answer until a boot goes on
// without the guest. clevis tries again and again meanwhile: a switch may be
// slower than the host.
const clevisTime = "5min"

// Entries are the lines of the crypttab. They go by the LUKS UUID, since a volume
// may be renamed, or by the path of a file, in which nobody looks for a UUID
// (crypttab(5)), or by that of any volume that has its header elsewhere. noauto leaves it to the guest's unit to pull them in, and nofail
// says the same to whatever else reads the file.
func (r Record) Entries() ([]Entry, error) {
	var all []Entry
	for _, disk := range r.Disks {
		e := Entry{Mapper: disk.Mapper, Source: "UUID=" + disk.LUKS, Key: "none"}
		if disk.Path != "" && !strings.HasPrefix(disk.Path, "/dev/") {
			e.Source = disk.Path
		}
		if disk.HeaderFile != "" {
			e.Source = disk.device()
		}
		options := []string{"luks", "noauto", "nofail"}
		switch r.Unlock.Method {
		case KeyFile:
			// Nobody is at the console of a host that unlocks by itself: it
			// is to fail, and be seen to, and not to wait.
			e.Key = r.Unlock.KeyFile
			options = append(options, "headless=yes")
			if err := ValidWord("key file", e.Key); err != nil {
				return nil, err
			}
		case TPM2:
			options = append(options, "tpm2-device="+commas(r.Unlock.Device), "headless=yes")
		case FIDO2:
			options = append(options, "fido2-device="+commas(r.Unlock.Device))
		case Tang:
			// clevis answers what systemd would ask a person.
			options = append(options, "_netdev", "timeout="+clevisTime)
		}
		if disk.Discards {
			options = append(options, "discard")
		}
		if disk.HeaderFile != "" {
			if err := ValidWord("header file", disk.HeaderFile); err != nil {
				return nil, err
			}
			options = append(options, "header="+disk.HeaderFile)
		}
		e.Options = strings.Join(options, ",")
		for _, word := range [][2]string{{"mapping", e.Mapper}, {"device", e.Source}, {"options", e.Options}} {
			if err := ValidWord(word[0], word[1]); err != nil {
				return nil, err
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// commas escapes those of an option's value, as systemd unescapes them
// (cryptsetup.c, EXTRACT_UNESCAPE_SEPARATORS).
func commas(value string) string { return strings.NewReplacer(`\`, `\\`, ",", `\,`).Replace(value) }

// stateKey is where a drop-in holds its record. systemd passes over a section
// whose name begins with X- (systemd.unit(5)).
const stateKey = "Record="

// dropIn is the drop-in of the guest's unit.
func (r Record) dropIn() ([]byte, error) {
	record, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var units []string
	for _, mapper := range r.Mappers() {
		// A % begins a specifier; no escaped name has one.
		units = append(units, CryptUnit(mapper))
	}
	all := strings.Join(units, " ")
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Written by `vmmigrate autostart enable`; `vmmigrate autostart disable` removes it.\n")
	fmt.Fprintf(&out, "# The disks are unlocked before the guest starts and locked after it has stopped.\n")
	fmt.Fprintf(&out, "[Unit]\nRequires=%s\nAfter=%s\n", all, all)
	for _, disk := range r.Disks {
		if disk.Mount != "" {
			// The guest's start mounts it. At shutdown the guest is off before
			// systemd, which has made a unit of the mount, would unmount it.
			fmt.Fprintf(&out, "After=%s\n", MountUnit(disk.Mount))
		}
	}
	if r.Unlock.Method == Tang {
		// clevis need not be enabled for other disks.
		fmt.Fprintf(&out, "Wants=%s network-online.target\nAfter=%s\n", clevisUnit, clevisUnit)
	}
	fmt.Fprintf(&out, "\n[Service]\n%s\n[X-Vmmigrate]\n%s%s\n", r.environment(), stateKey, record)
	return out.Bytes(), nil
}

// environment tells the vmmigrate that the unit runs which guest is meant, and
// where.
func (r Record) environment() []byte {
	var out bytes.Buffer
	for _, variable := range [][2]string{{"VMMIGRATE_JOB", r.Job}, {"LIBVIRT_DEFAULT_URI", r.Connect}, {"VMMIGRATE_STATE_DIR", r.StateDir}} {
		if variable[1] != "" {
			fmt.Fprintf(&out, "Environment=%s\n", quoted(variable[0]+"="+variable[1]))
		}
	}
	return out.Bytes()
}

// quoted is a word of a unit's setting (systemd.syntax(7), "Quoting"), in which
// % begins a specifier.
func quoted(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "\n", `\n`).Replace(word) + `"`
}

// parseDropIn reads back what dropIn wrote.
func parseDropIn(path string, text []byte) (Record, error) {
	for line := range bytes.Lines(text) {
		state, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte(stateKey))
		if !found {
			continue
		}
		var r Record
		if err := json.Unmarshal(state, &r); err != nil {
			return Record{}, &RecordError{Path: path, Reason: err.Error()}
		}
		if r.Job == "" || r.Instance == "" {
			return Record{}, &RecordError{Path: path, Reason: "it names no job"}
		}
		return r, nil
	}
	return Record{}, &RecordError{Path: path, Reason: "it has no line " + stateKey}
}

// order is the drop-in of the unit that unlocks a disk.
var order = []byte("# Written by `vmmigrate autostart enable`; `vmmigrate autostart disable` removes it.\n" +
	"[Unit]\n" +
	"# Locked again once its guest has stopped, or did not start.\n" +
	"StopWhenUnneeded=yes\n" +
	"# At shutdown a mapping is closed before LVM takes away what it lies on.\n" +
	"After=blk-availability.service lvm2-monitor.service\n")
