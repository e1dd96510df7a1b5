package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/luks"
)

// keyTries is how often a person may mistype a passphrase.
const keyTries = 3

// Unlock opens all disks of a clone, those that are open already aside. What
// it opened before it failed it closes again. It returns an
// *UnknownCloneError, *VolumeError, *HeaderLostError, *NameTakenError,
// *OpenElsewhereError or *KeyError, or what the keyring says.
func (m *Manager) Unlock(ctx context.Context, name string) error {
	clone, err := m.Find(ctx, name)
	if err != nil {
		return err
	}
	opened, err := m.unlock(ctx, clone)
	if err == nil && len(opened) == 0 {
		m.report(Event{Event: Unchanged, VM: clone.Name, Message: "is unlocked already"})
	}
	return err
}

// unlock opens what is not open and returns the disks it opened.
func (m *Manager) unlock(ctx context.Context, clone *Clone) (opened []*Disk, err error) {
	if err := m.look(ctx, clone, true); err != nil {
		return nil, err
	}
	// All is judged before anything is opened, or a key is asked for.
	for i := range clone.Disks {
		if disk := &clone.Disks[i]; disk.Problem != nil && !disk.harmless() {
			return nil, disk.Problem
		}
	}
	var key luks.Key
	defer func() { key.Wipe() }()
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		if disk.Open() {
			continue
		}
		if disk.wasMapped = disk.mapped(); !disk.wasMapped {
			if err = m.open(ctx, clone, disk, &key); err != nil {
				break
			}
		}
		opened = append(opened, disk)
		if err = m.mount(ctx, clone, disk); err != nil {
			break
		}
	}
	if err == nil {
		m.remark(clone)
		m.directIO(ctx, clone)
		return opened, nil
	}
	return nil, m.takeBack(ctx, clone, opened, err)
}

// harmless says of a problem that an open mapping makes it one for later: the
// mapping works whatever became of the header.
func (d *Disk) harmless() bool {
	var lost *HeaderLostError
	var foreign *HeaderFileError
	var volume *VolumeError
	return d.Open() && (errors.As(d.Problem, &lost) || errors.As(d.Problem, &foreign) || errors.As(d.Problem, &volume))
}

// remark warns of what does not keep a clone from running and yet is wrong.
func (m *Manager) remark(clone *Clone) {
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		if disk.Renamed() {
			m.report(Event{Event: Warning, VM: clone.Name, Disk: disk.Target, Message: fmt.Sprintf("its volume is called %s now and not %s; it was found by its LUKS UUID", disk.Volume(), disk.OriginDisk.Volume())})
		}
		if !disk.Attached {
			m.report(Event{Event: Warning, VM: clone.Name, Disk: disk.Target, Message: fmt.Sprintf("the VM's definition no longer uses %s for it", disk.Where())})
		}
		if disk.Problem != nil {
			m.report(Event{Event: Warning, VM: clone.Name, Disk: disk.Target, Message: disk.Problem.Error()})
		}
	}
}

// takeBack closes what was opened before cause, and adds what that met with.
func (m *Manager) takeBack(ctx context.Context, clone *Clone, opened []*Disk, cause error) error {
	// An interruption must not leave half of it open.
	ctx = context.WithoutCancel(ctx)
	errs := []error{cause}
	for _, disk := range slices.Backward(opened) {
		undo := m.close
		if disk.wasMapped {
			undo = func(ctx context.Context, clone *Clone, disk *Disk) error {
				return m.unmount(ctx, clone, disk, disk.Mapper)
			}
		}
		if err := undo(ctx, clone, disk); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 1 {
		return cause
	}
	return errors.Join(errs...)
}

// open opens one disk. key is the one that served the disk before, or empty;
// where it does not fit and a person is there, another is asked for.
func (m *Manager) open(ctx context.Context, clone *Clone, disk *Disk, key *luks.Key) error {
	began := m.Now()
	for try := 1; ; try++ {
		if key.Len() == 0 {
			next, err := m.Keys.Key(ctx, clone)
			if err != nil {
				return err
			}
			*key = next
		}
		err := m.Encryption.Open(ctx, disk.Below.Path, disk.Mapper, *key, disk.openOptions())
		var wrong *luks.WrongKeyError
		var taken *luks.ExistsError
		switch {
		case err == nil:
			m.report(Event{Event: Unlocked, VM: clone.Name, Disk: disk.Target, Message: disk.Volume() + " as " + disk.Device(), Elapsed: m.Now().Sub(began)})
			return nil
		case errors.As(err, &taken):
			return m.openedMeanwhile(ctx, disk, err)
		case !errors.As(err, &wrong):
			return err
		}
		key.Wipe()
		*key = luks.Key{}
		if try == keyTries || !m.Keys.Again(clone) {
			return &KeyError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), Tries: try}
		}
		m.report(Event{Event: Warning, VM: clone.Name, Disk: disk.Target, Message: fmt.Sprintf("this key does not unlock it; try %d of %d", try+1, keyTries)})
	}
}

// openedMeanwhile is content if somebody else, such as another vmmigrate,
// opened the same volume under the same name since we looked.
func (m *Manager) openedMeanwhile(ctx context.Context, disk *Disk, taken error) error {
	mappings, err := m.Encryption.Mappings(ctx)
	if err != nil {
		return errors.Join(taken, err)
	}
	for _, mapping := range mappings {
		if mapping.Name == disk.Mapper && strings.EqualFold(mapping.UUID, disk.LUKS) {
			return nil
		}
	}
	return taken
}

// openOptions passes discards on where the definition does, and for good where
// the header can hold that. Flags that are in the header stay: cryptsetup
// replaces all of them by those given (cryptsetup-open(8), --persistent).
func (d *Disk) openOptions() luks.OpenOptions {
	const discards = "allow-discards"
	options := luks.OpenOptions{Header: d.HeaderFile}
	if !d.wantsDiscards() {
		return options // cryptsetup goes by the header
	}
	options.AllowDiscards = true
	if d.Header == nil || d.Header.Type != luks.LUKS2 || slices.Contains(d.Header.Flags, discards) {
		return options
	}
	options.Persistent = true
	for _, flag := range d.Header.Flags {
		switch flag {
		case "no-read-workqueue":
			options.NoReadWorkqueue = true
		case "no-write-workqueue":
			options.NoWriteWorkqueue = true
		case "same-cpu-crypt":
			options.SameCPUCrypt = true
		case "submit-from-crypt-cpus":
			options.SubmitFromCryptCPUs = true
		default:
			options.Persistent = false // one that would be lost
		}
	}
	return options
}

// Lock closes all mappings of a clone's disks, whatever they are called: a
// disk that was opened by hand under another name is open all the same. It
// goes on past a disk that can't be closed. It returns an *UnknownCloneError,
// a *RunningError, or a *LockError for each disk that is still open.
func (m *Manager) Lock(ctx context.Context, name string) error {
	clone, err := m.Find(ctx, name)
	if err != nil {
		return err
	}
	if clone.State.Active() {
		return &RunningError{Clone: clone.Name, State: clone.State}
	}
	closed, err := m.lock(ctx, clone)
	if err == nil && closed == 0 {
		m.report(Event{Event: Unchanged, VM: clone.Name, Message: "is locked already"})
	}
	if err == nil {
		m.follow(ctx, clone, false)
	}
	return err
}

func (m *Manager) lock(ctx context.Context, clone *Clone) (closed int, err error) {
	mappings, err := m.Encryption.Mappings(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		for _, mapping := range mappings {
			if mapping.UUID == "" || !strings.EqualFold(mapping.UUID, disk.LUKS) {
				continue
			}
			disk.Mapping = &mapping
			if err := m.close(ctx, clone, disk); err != nil {
				errs = append(errs, err)
				continue
			}
			closed++
		}
	}
	return closed, errors.Join(errs...)
}

// close closes the mapping over a disk, after the guest's own volume groups on
// it, which the host may have activated.
func (m *Manager) close(ctx context.Context, clone *Clone, disk *Disk) error {
	mapper := disk.Mapper
	if disk.Mapping != nil {
		mapper = disk.Mapping.Name
	}
	began := m.Now()
	err := m.unmount(ctx, clone, disk, mapper)
	if err == nil {
		err = m.closeMapping(ctx, mapper)
	}
	if err != nil {
		return &LockError{Clone: clone.Name, Disk: disk.Target, Mapper: mapper, Err: err}
	}
	disk.Mapping = nil
	m.report(Event{Event: Locked, VM: clone.Name, Disk: disk.Target, Message: mapper, Elapsed: m.Now().Sub(began)})
	return nil
}

// closeTries is how often a mapping is closed that a guest's volume group keeps
// open: the host's LVM activates one a moment after udev tells it of the mapping,
// and so perhaps just after there was none to be seen.
const closeTries = 3

func (m *Manager) closeMapping(ctx context.Context, mapper string) error {
	var busy *luks.BusyError
	for try := 1; ; try++ {
		groups, err := m.Volumes.Deactivate(ctx, "/dev/mapper/"+mapper)
		if err != nil {
			return err
		}
		if busy != nil && len(groups) == 0 {
			return busy // something else holds it
		}
		if err = m.Encryption.Close(ctx, mapper); !errors.As(err, &busy) || try == closeTries {
			return err
		}
	}
}
