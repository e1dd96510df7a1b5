package lifecycle

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// Status is how a clone stands.
type Status struct {
	// Name and UUID are the domain's.
	Name string `json:"name"`
	UUID string `json:"uuid"`
	// State is what the domain does, in virsh's words.
	State hypervisor.State `json:"state"`
	// Access is what can be read of its disks.
	Access Access `json:"access"`
	// Autostart is libvirt's flag: a start at boot fails while the disks are
	// locked.
	Autostart bool `json:"autostart"`
	// Started is when vmmigrate first started it, RFC 3339, if it has.
	Started string `json:"started,omitempty"`
	// CutOver is whether it has its original's place: name, UUID and hardware
	// addresses.
	CutOver bool `json:"cut_over"`
	// Boot is how it is unlocked and started at boot, not there where it is
	// not.
	Boot *BootStatus `json:"boot,omitempty"`
	// Original is the VM that it was made from, and Disks are its encrypted
	// disks.
	Original Original     `json:"original"`
	Disks    []DiskStatus `json:"disks"`
}

// Access is what can be read of a clone's disks.
type Access string

// The kinds of access.
const (
	AccessRunning  Access = "running"
	AccessUnlocked Access = "unlocked"
	AccessPartly   Access = "partly unlocked"
	AccessLocked   Access = "locked"
)

// OriginalState is what became of an original.
type OriginalState string

// The states of an original.
const (
	// OriginalRunning and OriginalThere are defined; OriginalUndefined is
	// not, and has disks that are there; OriginalGone has neither.
	OriginalRunning   OriginalState = "running"
	OriginalThere     OriginalState = "there"
	OriginalUndefined OriginalState = "undefined"
	OriginalGone      OriginalState = "gone"
	// OriginalImages: there never was a VM, and the images that the clone was
	// made of are there.
	OriginalImages OriginalState = "images"
	// OriginalRetired was wiped and removed by vmmigrate retire, and
	// OriginalRetiring is being so.
	OriginalRetired  OriginalState = "retired"
	OriginalRetiring OriginalState = "being retired"
)

// Original is what became of the VM that a clone was made from.
type Original struct {
	// Name and UUID are its own, as it is called now if it is defined.
	Name  string        `json:"name"`
	UUID  string        `json:"uuid"`
	State OriginalState `json:"state"`
	// Disks are its plain disks that still exist.
	Disks []string `json:"disks"`
	// RetiredAt is when it was retired, and RetiredBy the method.
	RetiredAt string `json:"retired_at,omitempty"`
	RetiredBy string `json:"retired_by,omitempty"`
}

// DiskStatus is how one disk stands.
type DiskStatus struct {
	// Target is its name in the domain, and Volume VG/LV, as it is called now,
	// or the path of what is no logical volume.
	Target string `json:"target"`
	Volume string `json:"volume"`
	// RecordedVolume is what the metadata call it, where that is no longer
	// its name.
	RecordedVolume string `json:"recorded_volume,omitempty"`
	// HeaderFile is the file that the LUKS header is in, not there where it is on
	// the volume.
	HeaderFile string `json:"header_file,omitempty"`
	// LUKS is the UUID in the LUKS header, by which the volume is known.
	LUKS string `json:"luks_uuid"`
	// Device is where the domain looks for the disk, and Open whether it is
	// there.
	Device string `json:"device"`
	Open   bool   `json:"open"`
	// OpenAs is the name of a mapping that is not the one it should be.
	OpenAs string `json:"open_as,omitempty"`
	// Type, Cipher and KeySize are the header's, not there if it can't be read.
	Type   string `json:"luks_type,omitempty"`
	Cipher string `json:"cipher,omitempty"`
	// KeySize is in bits.
	KeySize int `json:"key_size,omitempty"`
	// KeySlots are those in use.
	KeySlots []SlotStatus `json:"key_slots"`
	// Filesystem is there where the disk is an image on one.
	Filesystem *FilesystemStatus `json:"filesystem,omitempty"`
	Discard    DiscardStatus     `json:"discard"`
	// Backup is the newest header backup that is known of.
	Backup *BackupStatus `json:"header_backup,omitempty"`
	// Problem is what keeps it from being used, in a sentence, and Next are
	// the commands that help. Whoever shows them fills them in from Err.
	Problem string   `json:"problem,omitempty"`
	Next    []string `json:"next,omitempty"`
	Err     error    `json:"-"`
}

// SlotStatus is one key slot.
type SlotStatus struct {
	// Slot is its number, and PBKDF what makes a key of a passphrase.
	Slot  int    `json:"slot"`
	PBKDF string `json:"pbkdf"`
}

// DiscardStatus says where discards are allowed.
type DiscardStatus struct {
	// VM is whether the definition passes the guest's discards on, and Crypt
	// whether dm-crypt does: as it is open, or as the header says.
	VM    bool `json:"vm"`
	Crypt bool `json:"crypt"`
}

// BackupStatus is a header backup that is known of.
type BackupStatus struct {
	// File is where it was written to, and Made when.
	File string    `json:"file"`
	Made time.Time `json:"made"`
	// There is whether the file is still where it was written to.
	There bool `json:"there"`
}

// Report is all that Look has found.
type Report struct {
	// Clones are those that were asked for.
	Clones []Status `json:"clones"`
	// Orphans are volumes of ours that belong to no clone.
	Orphans []Orphan `json:"orphans"`
	// LostBoots are set up for clones that are gone, and BootProblem is why
	// what is set up for boot could not be read in full.
	LostBoots   []LostBoot `json:"lost_boots"`
	BootProblem string     `json:"boot_problem,omitempty"`
}

// Look says how the named clones stand, or all if none is named. It changes
// nothing. It returns an *UnknownCloneError; what is wrong with a disk is in
// its Err.
func (m *Manager) Look(ctx context.Context, names ...string) (Report, error) {
	all, err := m.All(ctx)
	if err != nil {
		return Report{}, err
	}
	domains, err := m.Hypervisor.Domains(ctx)
	if err != nil {
		return Report{}, err
	}
	clones := all
	if len(names) > 0 {
		clones = nil
		for _, name := range names {
			clone, err := m.Find(ctx, name)
			if err != nil {
				return Report{}, err
			}
			clones = append(clones, clone)
		}
	}
	h, err := m.host(ctx)
	if err != nil {
		return Report{}, err
	}
	report := Report{Clones: []Status{}, Orphans: []Orphan{}, LostBoots: []LostBoot{}}
	records, crypttab, err := m.readBoot()
	if err != nil {
		report.BootProblem = err.Error()
	}
	for _, clone := range clones {
		status, err := m.status(ctx, h, clone, domains)
		if err != nil {
			return Report{}, err
		}
		status.Boot = m.bootStatus(ctx, clone, records, crypttab)
		report.Clones = append(report.Clones, status)
	}
	if len(names) == 0 {
		found, err := m.orphans(ctx, all)
		if err != nil {
			return Report{}, err
		}
		report.Orphans = append(report.Orphans, found...)
		report.LostBoots = lostBoots(all, records)
	}
	return report, nil
}

func (m *Manager) status(ctx context.Context, h *host, clone *Clone, domains []hypervisor.Domain) (Status, error) {
	if err := m.lookOn(ctx, h, clone, false); err != nil {
		return Status{}, err
	}
	s := Status{
		Name: clone.Name, UUID: clone.UUID, State: clone.State, Autostart: clone.Autostart, Disks: []DiskStatus{},
		Started: clone.Origin.Started, CutOver: clone.Origin.Cutover != nil,
	}
	open := 0
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		if disk.Mapping != nil {
			open++
		}
		one := disk.status()
		var err error
		if one.Filesystem, err = m.filesystemStatus(ctx, disk); err != nil {
			return Status{}, err
		}
		backup, err := m.newestBackup(clone, disk)
		if err != nil {
			return Status{}, err
		}
		if backup != nil {
			one.Backup = &BackupStatus{File: backup.File, Made: backup.Made, There: backup.There}
		}
		s.Disks = append(s.Disks, one)
	}
	switch {
	case clone.State.Active():
		s.Access = AccessRunning
	case open == 0:
		s.Access = AccessLocked
	case open < len(clone.Disks):
		s.Access = AccessPartly
	default:
		s.Access = AccessUnlocked
	}
	var err error
	s.Original, err = m.original(clone, domains)
	return s, err
}

func (d *Disk) status() DiskStatus {
	s := DiskStatus{
		Target: d.Target, Volume: d.Volume(), LUKS: d.LUKS, Device: d.Where(), Open: d.Open(), KeySlots: []SlotStatus{}, Err: d.Problem,
		Discard: DiscardStatus{VM: d.Discard == "unmap"},
	}
	s.HeaderFile = d.HeaderFile
	if d.Renamed() {
		s.RecordedVolume = d.OriginDisk.Volume()
	}
	if d.Mapping != nil && d.Mapping.Name != d.Mapper {
		s.OpenAs = d.Mapping.Name
	}
	if h := d.Header; h != nil {
		s.Type, s.Cipher, s.KeySize = string(h.Type), h.Cipher, h.KeySize
		for _, slot := range h.Keyslots {
			s.KeySlots = append(s.KeySlots, SlotStatus{Slot: slot.ID, PBKDF: slot.PBKDF})
		}
	}
	s.Discard.Crypt = d.passesDiscards()
	return s
}

// passesDiscards says whether dm-crypt does: as the disk is open, or else as it
// would be opened.
func (d *Disk) passesDiscards() bool {
	if d.Mapping != nil {
		return d.Mapping.Discards
	}
	return d.Header != nil && slices.Contains(d.Header.Flags, "allow-discards") || d.Header != nil && d.openOptions().AllowDiscards
}

// original says what became of the original.
func (m *Manager) original(clone *Clone, domains []hypervisor.Domain) (Original, error) {
	o := Original{Name: clone.Origin.Name, UUID: clone.Origin.UUID, State: OriginalGone, Disks: []string{}}
	if r := clone.Origin.Retired; r != nil {
		o.State, o.RetiredAt, o.RetiredBy = OriginalRetired, r.Time, r.Method
		if r.Time == "" {
			o.State = OriginalRetiring
		}
	}
	for _, disk := range clone.Disks {
		if disk.Source == "" {
			continue
		}
		there, err := m.Devices.Exists(disk.Source)
		if err != nil {
			return o, err
		}
		if there {
			o.Disks = append(o.Disks, disk.Source)
			switch {
			case o.State == OriginalGone && clone.Origin.Adopted():
				o.State = OriginalImages
			case o.State == OriginalGone:
				o.State = OriginalUndefined
			}
		}
	}
	for _, domain := range domains {
		if clone.Origin.Retired != nil || !strings.EqualFold(domain.UUID, clone.Origin.UUID) {
			continue
		}
		o.Name, o.State = domain.Name, OriginalThere
		if domain.State.Active() {
			o.State = OriginalRunning
		}
	}
	return o, nil
}
