package migrate

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// VerifyMode says how a copy is checked.
type VerifyMode string

// The ways to check a copy.
const (
	// VerifyTarget reads the payload back and compares it with the digests
	// taken while the source was read.
	VerifyTarget VerifyMode = "target"
	// VerifyFull also reads the source a second time.
	VerifyFull VerifyMode = "full"
	// VerifyNone reads nothing back.
	VerifyNone VerifyMode = "none"
)

// Options are what the user chose for the migration of one VM. Options that
// are left empty get the default that plan.go or the tool behind them gives.
type Options struct {
	// VG is the target volume group: by default the source volume's own,
	// else the only one with room. Of several, with commas between them, each
	// volume goes to the one that has the most room by then.
	VG string `json:"vg,omitempty"`
	// PVs are paths of the only disks of the group that the new volumes may lie
	// on; none is all. Without a VG, the group is that of the first.
	PVs []string `json:"pvs,omitempty"`
	// Clone is the new domain's name; the default is NAME-luks.
	Clone string `json:"clone,omitempty"`
	// LV is the new volume's name; the default is NAME-TARGET-luks. With
	// several disks, -TARGET is appended.
	LV string `json:"lv,omitempty"`
	// Device is an existing blank device for the one disk that moves, instead
	// of a new volume.
	Device string `json:"device,omitempty"`
	// Header is the file to be made for the LUKS header of the one disk that
	// moves, instead of the volume's beginning.
	Header string `json:"header,omitempty"`
	// Dir is a folder in which files are made, instead of volumes.
	Dir string `json:"dir,omitempty"`
	// Layout is the shape in which disks lie on their volumes; "" is BlockLayout.
	// FS is about FilesystemLayout alone.
	Layout Layout    `json:"layout,omitempty"`
	FS     FSOptions `json:"fs,omitzero"`
	// Disks are what was chosen for single disks, by target.
	Disks map[string]DiskOptions `json:"disks,omitempty"`
	// LVMType is the new volumes' kind, as in lvcreate --type.
	LVMType string `json:"lvm_type,omitempty"`
	// ThinPool is the pool for thin volumes.
	ThinPool string `json:"thin_pool,omitempty"`
	// KeepMAC keeps the interfaces' addresses.
	KeepMAC bool `json:"keep_mac,omitempty"`
	// LUKS says how the target volumes are encrypted.
	LUKS LUKSOptions `json:"luks"`
	// AllowDiscards lets the guest's TRIM through to the volume.
	AllowDiscards bool `json:"allow_discards,omitempty"`
	// EncryptAgain moves disks too that are encrypted already.
	EncryptAgain bool `json:"encrypt_again,omitempty"`
	// RecoveryKey adds a generated second key to the new volumes.
	RecoveryKey bool `json:"recovery_key,omitempty"`
	// SkipDisks are the targets of disks to leave as they are.
	SkipDisks []string `json:"skip_disks,omitempty"`
	// BackingDirs are folders, besides a disk's own, in which the images behind
	// it may lie.
	BackingDirs []string `json:"backing_dirs,omitempty"`
	// Verify says how the copy is checked.
	Verify VerifyMode `json:"verify,omitempty"`
	// Pace says how hard the copy may press the disks.
	Pace Pace `json:"pace,omitzero"`
	// Perf tunes dm-crypt for the copy.
	Perf PerfOptions `json:"perf,omitzero"`
	// Autostart has the clone start with the host, if the original does.
	Autostart bool `json:"autostart,omitempty"`
	// Start starts the clone at the end.
	Start bool `json:"start,omitempty"`
	// Close closes the mappings at the end.
	Close bool `json:"close,omitempty"`
}

// groups are the volume groups that were chosen; none is nil.
func (o Options) groups() []string {
	if o.VG == "" {
		return nil
	}
	return strings.Split(o.VG, ",")
}

// DiskOptions are what the user chose for one disk. What is empty is as for the
// VM's other disks.
type DiskOptions struct {
	// VG and LV name the new volume.
	VG string `json:"vg,omitempty"`
	LV string `json:"lv,omitempty"`
	// Device is an existing blank device, instead of a new volume.
	Device string `json:"device,omitempty"`
	// Header is the file to be made for its LUKS header.
	Header string `json:"header,omitempty"`
}

// LUKSOptions are cryptsetup's options for the format of a volume.
type LUKSOptions struct {
	Type    luks.Type `json:"type"`
	Cipher  string    `json:"cipher"`
	KeySize int       `json:"key_size"`
	Hash    string    `json:"hash"`
	PBKDF   string    `json:"pbkdf,omitempty"`
	// PBKDFMemory is in KiB, and IterTime in milliseconds.
	PBKDFMemory     int `json:"pbkdf_memory_kib,omitempty"`
	PBKDFIterations int `json:"pbkdf_force_iterations,omitempty"`
	IterTime        int `json:"iter_time_ms,omitempty"`
	Sector          int `json:"sector_size"`
}

// DefaultLUKS is how volumes are encrypted unless told otherwise: what
// cryptsetup 2.6 defaults to, with a 512-bit key (two AES-256 keys for XTS)
// and the guest's own sector size, 512 bytes, kept.
func DefaultLUKS() LUKSOptions {
	return LUKSOptions{Type: luks.LUKS2, Cipher: "aes-xts-plain64", KeySize: 512, Hash: "sha512", Sector: 512}
}

// OptionError says that an option has a value that can't be used.
type OptionError struct {
	// Option is the flag, as "--luks-type".
	Option string
	// Reason says what is wrong with its value.
	Reason string
}

func (e *OptionError) Error() string { return fmt.Sprintf("%s: %s", e.Option, e.Reason) }

// CacheTypeError says that volumes with a cache in front of them were asked for.
// A cache serves one volume and is removed with it (lvmcache(7)), so that a
// rollback would remove what the job did not make.
type CacheTypeError struct {
	// Type is lvm2's name of it.
	Type string
}

func (e *CacheTypeError) Error() string {
	return fmt.Sprintf("--lvm-type: vmmigrate makes no %s: lvm2 puts it in front of a volume that is there, before the move or after", e.Type)
}

// Validate returns a *CacheTypeError, or an *OptionError for the first option that can't be used,
// whatever the host looks like.
func (o Options) Validate() error {
	if o.LUKS.Type != luks.LUKS2 && o.LUKS.Type != luks.LUKS1 {
		return &OptionError{"--luks-type", fmt.Sprintf("%q is neither luks2 nor luks1", o.LUKS.Type)}
	}
	if !slices.Contains([]VerifyMode{VerifyTarget, VerifyFull, VerifyNone}, o.Verify) {
		return &OptionError{"--verify", fmt.Sprintf("%q is none of target, full, none", o.Verify)}
	}
	if o.LUKS.Sector != 512 && o.LUKS.Sector != 4096 {
		return &OptionError{"--sector-size", fmt.Sprintf("%d is neither 512 nor 4096", o.LUKS.Sector)}
	}
	if o.LUKS.Type == luks.LUKS1 && o.LUKS.Sector != 512 {
		return &OptionError{"--sector-size", "LUKS1 knows only 512-byte sectors"}
	}
	if o.LUKS.Type == luks.LUKS1 && (o.LUKS.PBKDFMemory != 0 || o.LUKS.PBKDF != "" && o.LUKS.PBKDF != "pbkdf2") {
		return &OptionError{"--pbkdf", "LUKS1 knows only pbkdf2"}
	}
	if o.LUKS.PBKDF != "" && !slices.Contains(luks.PBKDFs, o.LUKS.PBKDF) {
		return &OptionError{"--pbkdf", fmt.Sprintf("%q is none of %s", o.LUKS.PBKDF, strings.Join(luks.PBKDFs, ", "))}
	}
	if o.LVMType == "cache" || o.LVMType == "writecache" {
		return &CacheTypeError{Type: o.LVMType}
	}
	if _, err := lvm.ParseType(o.LVMType); err != nil {
		return &OptionError{"--lvm-type", err.Error()}
	}
	if err := o.validateNumbers(); err != nil {
		return err
	}
	if o.LUKS.KeySize <= 0 || o.LUKS.KeySize%8 != 0 {
		return &OptionError{"--key-size", fmt.Sprintf("%d bits is no whole number of bytes", o.LUKS.KeySize)}
	}
	for _, dir := range o.BackingDirs {
		if !filepath.IsAbs(dir) {
			return &OptionError{"--backing-dir", fmt.Sprintf("%q is no absolute path", dir)}
		}
	}
	if err := o.validateDevices(); err != nil {
		return err
	}
	if err := o.validateDir(); err != nil {
		return err
	}
	if err := o.validateHeaders(); err != nil {
		return err
	}
	if err := o.validateLayout(); err != nil {
		return err
	}
	for _, pv := range o.PVs {
		if !filepath.IsAbs(pv) {
			return &OptionError{"--pv", fmt.Sprintf("%q is no absolute path", pv)}
		}
	}
	if len(o.PVs) > 0 && (o.ThinPool != "" || o.LVMType == "thin") {
		return &OptionError{"--pv", "can't go with a thin pool: where a thin volume lies is the pool's choice"}
	}
	if groups := o.groups(); len(groups) > 1 {
		for i, name := range groups {
			switch {
			case name == "":
				return &OptionError{"--vg", fmt.Sprintf("%q has an empty name in it", o.VG)}
			case slices.Contains(groups[:i], name):
				return &OptionError{"--vg", name + " is named twice"}
			}
		}
		if len(o.PVs) > 0 {
			return &OptionError{"--pv", "the disks are of one volume group, and --vg names several"}
		}
		if o.ThinPool != "" {
			return &OptionError{"--thin-pool", "a pool is in one volume group, and --vg names several"}
		}
	}
	if o.LVMType == "thin" && o.ThinPool == "" {
		return &OptionError{"--lvm-type", "thin needs --thin-pool"}
	}
	if o.ThinPool != "" && o.LVMType != "" && o.LVMType != "thin" {
		return &OptionError{"--thin-pool", fmt.Sprintf("goes with --lvm-type thin, not %s", o.LVMType)}
	}
	if o.Perf.Probe != "" && !slices.Contains([]PerfProbe{ProbeAuto, ProbeAlways, ProbeNever}, o.Perf.Probe) {
		return &OptionError{"--perf-probe", fmt.Sprintf("%q is none of auto, always, never", o.Perf.Probe)}
	}
	if o.Start && o.Close {
		return &OptionError{"--start", "can't go with --close: a guest can't start from a closed disk"}
	}
	return nil
}

// validateNumbers returns an *OptionError for what would count less than nothing.
func (o Options) validateNumbers() error {
	if o.Pace.Workers > blockcopy.MaxWorkers {
		return &OptionError{"--workers", fmt.Sprintf("%d is more than %d", o.Pace.Workers, blockcopy.MaxWorkers)}
	}
	if size := o.Pace.BlockSize; size < 0 || size%blockcopy.SectorSize != 0 {
		return &OptionError{"--block-size", fmt.Sprintf("%d bytes is no multiple of %d", size, blockcopy.SectorSize)}
	}
	for _, number := range []struct {
		option string
		value  int64
	}{
		{"--pbkdf-memory", int64(o.LUKS.PBKDFMemory)},
		{"--pbkdf-force-iterations", int64(o.LUKS.PBKDFIterations)},
		{"--iter-time", int64(o.LUKS.IterTime)},
		{"--retries", int64(o.Pace.Retries)},
		{"--workers", int64(o.Pace.Workers)},
	} {
		if number.value < 0 {
			return &OptionError{number.option, fmt.Sprintf("%d is less than 0", number.value)}
		}
	}
	return nil
}
