package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/luks"
)

// AutostartOptions are how a clone is unlocked and started at boot.
type AutostartOptions struct {
	Unlock boot.Unlock
	// Force takes a key file that lies unencrypted.
	Force bool
	// Trust is asked for the thumbprint of the key that a tang server is
	// trusted by, before it is given a key to a disk.
	Trust func(ctx context.Context, url string) (thumbprint string, err error)
	// Connect and StateDir are what the unit is told where they are not the
	// defaults.
	Connect, StateDir string
}

// EnableAutostart has a clone's disks unlocked and the clone started at boot,
// and the disks locked at shutdown once its guest has stopped. It may be
// repeated, which also finishes what was cut short, and mends what was taken
// away since. enrolled says whether disks have key slots that they had not
// before.
//
// Besides errors of finding the clone and its volumes there are
// *boot.NotBootedError, *boot.NoUnitError, *boot.KeyFileError, *boot.WordError,
// *boot.ClashError, *KeyError, *NeedsLUKS2Error, *AutostartOtherwiseError: for
// all of them nothing was changed. When it fails later, as with a
// *boot.FileError, what it had made is taken back, unless it was set up before;
// a *AutostartPartlyError says that this failed too.
func (m *Manager) EnableAutostart(ctx context.Context, name string, o AutostartOptions) (enrolled bool, err error) {
	clone, err := m.readable(ctx, name)
	if err != nil {
		return false, err
	}
	if err := m.Boot.Ready(o.Unlock.Method); err != nil {
		return false, err
	}
	unlock, err := m.Boot.Lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	record, before, err := m.arrange(ctx, clone, o)
	if err != nil {
		return false, err
	}
	key, err := m.bootKey(ctx, clone, &record, o)
	defer func() { key.Wipe() }()
	if err != nil {
		return false, err
	}
	changes := &bootChanges{m: m, clone: clone, record: record, key: key}
	for _, act := range changes.enable() {
		if err = act(ctx); err != nil {
			break
		}
	}
	if err != nil {
		if before {
			return changes.enrolled, &AutostartPartlyError{Clone: clone.Name, Err: err}
		}
		return false, changes.takeBack(ctx, err)
	}
	m.report(Event{Event: BootEnabled, VM: clone.Name, Message: fmt.Sprintf("%s, by %s", unlockWords(record.Unlock), record.Unit())})
	return changes.enrolled, m.join(ctx, clone, record)
}

// unlockWords say how disks are unlocked at boot.
func unlockWords(u boot.Unlock) string {
	switch u.Method {
	case boot.KeyFile:
		return "unlocked with the key file " + u.KeyFile
	case boot.TPM2:
		return "unlocked by this machine's TPM"
	case boot.Tang:
		return "unlocked by the tang server " + u.URL
	case boot.FIDO2:
		return "unlocked with a FIDO2 token"
	}
	return "unlocked with a passphrase that is asked for on the console"
}

// arrange decides what is to be set up, and finds all that speaks against it.
// before is whether it was set up already, or in part.
func (m *Manager) arrange(ctx context.Context, clone *Clone, o AutostartOptions) (record boot.Record, before bool, err error) {
	records, err := m.Boot.Records()
	if err != nil {
		return record, false, err
	}
	i := slices.IndexFunc(records, func(r boot.Record) bool { return r.Job == clone.Origin.Job })
	if before = i >= 0; before {
		record = records[i]
		if !record.Unlock.Means(o.Unlock) {
			return record, before, &AutostartOtherwiseError{Clone: clone.Name, Now: record.Unlock, Wanted: o.Unlock}
		}
	} else {
		record = boot.Record{Job: clone.Origin.Job, Instance: instance(clone, records), Unlock: o.Unlock.WithDefaults(), LibvirtAutostart: clone.Autostart}
	}
	record.Clone, record.Connect, record.StateDir, record.Done = clone.Name, o.Connect, o.StateDir, false
	if o.Unlock.Method == boot.KeyFile {
		if _, err := m.Boot.CheckKeyFile(o.Unlock.KeyFile, o.Force); err != nil {
			return record, before, err
		}
	}
	if err := m.arrangeDisks(ctx, clone, &record); err != nil {
		return record, before, err
	}
	text, err := m.Boot.ReadCrypttab()
	if err != nil {
		return record, before, err
	}
	if !before {
		record.MadeCrypttab = text == nil
	}
	entries, err := record.Entries()
	if err != nil {
		return record, before, err
	}
	for i, entry := range entries {
		if line, clash := boot.Clash(text, record.Job, entry, clone.Disks[i].Below.paths()); clash {
			return record, before, &boot.ClashError{Path: boot.Crypttab, Line: line, Mapper: entry.Mapper}
		}
	}
	return record, before, nil
}

// arrangeDisks puts the disks into a record; what one that was set up before
// knows of a disk's key slots stays.
func (m *Manager) arrangeDisks(ctx context.Context, clone *Clone, record *boot.Record) error {
	known := record.Disks
	record.Disks = nil
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		one := boot.RecordDisk{Target: disk.Target, LUKS: disk.LUKS, Mapper: disk.Mapper, VG: disk.Below.LV.VG, LV: disk.Below.LV.Name, Discards: disk.wantsDiscards(), HeaderFile: disk.HeaderFile}
		if disk.HeaderFile != "" && record.Unlock.Method == boot.Tang {
			return &HeaderApartError{Clone: clone.Name, Disk: disk.Target, File: disk.HeaderFile}
		}
		if disk.Filesystem != nil {
			one.Mount = disk.Filesystem.Mount
		}
		if one.VG == "" {
			one.Path = disk.Below.Path
		}
		j := slices.IndexFunc(known, func(d boot.RecordDisk) bool { return strings.EqualFold(d.LUKS, disk.LUKS) })
		switch {
		case j >= 0:
			one.SlotsBefore, one.TokensBefore = known[j].SlotsBefore, known[j].TokensBefore
		case record.Unlock.Method.Enrolls():
			if disk.Header.Type != luks.LUKS2 {
				return &NeedsLUKS2Error{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), Method: record.Unlock.Method}
			}
			tokens, err := m.Enroller.Tokens(ctx, disk.headerAt())
			if err != nil {
				return err
			}
			for _, slot := range disk.Header.Keyslots {
				one.SlotsBefore = append(one.SlotsBefore, slot.ID)
			}
			for _, token := range tokens {
				one.TokensBefore = append(one.TokensBefore, token.ID)
			}
		}
		record.Disks = append(record.Disks, one)
	}
	return nil
}

// instance names a clone's unit: after the VM that it was made from, which is
// what it is called again after a cutover, or after its job where that name is
// taken or too long.
func instance(clone *Clone, records []boot.Record) string {
	name := clone.Origin.Name
	_, fits := boot.GuestUnit(name)
	if !fits || slices.ContainsFunc(records, func(r boot.Record) bool { return r.Instance == name }) {
		return clone.Origin.Job
	}
	return name
}

// bootKey gets a key that unlocks every disk, where the method needs one: that
// in the key file, or one that a further is added with.
func (m *Manager) bootKey(ctx context.Context, clone *Clone, record *boot.Record, o AutostartOptions) (luks.Key, error) {
	switch {
	case record.Unlock.Method == boot.KeyFile:
		key, err := readKeyFile(record.Unlock.KeyFile)
		if err != nil {
			return luks.Key{}, err
		}
		for i := range clone.Disks {
			disk := &clone.Disks[i]
			slot, err := m.slot(ctx, disk, key)
			if err == nil && slot < 0 {
				err = &KeyError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), Tries: 1, File: record.Unlock.KeyFile}
			}
			if err != nil {
				key.Wipe()
				return luks.Key{}, err
			}
		}
		return key, nil
	case record.Unlock.Method.Enrolls():
		ours, err := m.allEnrolled(ctx, clone, *record)
		if err != nil || ours {
			return luks.Key{}, err
		}
		if record.Unlock.Method == boot.Tang {
			if record.Unlock.Thumbprint, err = o.Trust(ctx, record.Unlock.URL); err != nil {
				return luks.Key{}, err
			}
		}
		key, _, err := m.prove(ctx, clone, true)
		return key, err
	}
	return luks.Key{}, nil
}

func readKeyFile(path string) (luks.Key, error) {
	file, err := os.Open(path)
	if err != nil {
		return luks.Key{}, err
	}
	defer file.Close()
	return luks.ReadKey(file)
}

// DisableOptions are how an autostart is taken away.
type DisableOptions struct {
	// KeepSlots leaves the key slots that were made for it.
	KeepSlots bool
}

// DisableAutostart takes away what EnableAutostart has set up, and nothing
// else. It may be repeated, and finishes what was cut short. A clone that was
// undefined since is known by the name that it had. removed says whether key
// slots were taken away; the keyring's key has to be one that stays then, or it
// is a *LastKeyError. A *AutostartPartlyError is of what could not be done.
func (m *Manager) DisableAutostart(ctx context.Context, name string, o DisableOptions) (removed bool, err error) {
	clone, record, err := m.recorded(ctx, name)
	if err != nil {
		return false, err
	}
	if record == nil {
		m.report(Event{Event: Unchanged, VM: name, Message: "is not started at boot by vmmigrate"})
		return false, nil
	}
	unlock, err := m.Boot.Lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	changes := &bootChanges{m: m, clone: clone, record: *record}
	if record.Unlock.Method.Enrolls() && !o.KeepSlots {
		if changes.key, err = m.stayingKey(ctx, changes); err != nil {
			return false, err
		}
		defer func() { changes.key.Wipe() }()
	}
	for i, act := range changes.disable(o.KeepSlots) {
		if err := act(ctx); err != nil {
			if i == 0 {
				return false, &AutostartError{Clone: name, Err: err}
			}
			return changes.enrolled, &AutostartPartlyError{Clone: name, Disabling: true, Err: err}
		}
	}
	m.report(Event{Event: BootDisabled, VM: name, Message: "it is neither unlocked nor started at boot"})
	return changes.enrolled, nil
}

// recorded finds a clone and what is set up for it; the clone is nil where its
// domain is gone, and the record where nothing is set up.
func (m *Manager) recorded(ctx context.Context, name string) (*Clone, *boot.Record, error) {
	records, failed := m.Boot.Records()
	clone, err := m.Find(ctx, name)
	var unknown *UnknownCloneError
	if err != nil && !errors.As(err, &unknown) {
		return nil, nil, err
	}
	i := slices.IndexFunc(records, func(r boot.Record) bool {
		return clone != nil && r.Job == clone.Origin.Job || clone == nil && r.Clone == name
	})
	switch {
	case i >= 0 && clone == nil:
		// It may only be called otherwise by now.
		if all, err := m.All(ctx); err == nil {
			for _, other := range all {
				if other.Origin.Job == records[i].Job {
					return nil, nil, unknown
				}
			}
		}
		return nil, &records[i], nil
	case i >= 0:
		return clone, &records[i], nil
	case err != nil:
		return nil, nil, err
	}
	return clone, nil, failed
}
