package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/luks"
)

// bootChanges are the acts that enable or disable the autostart of one clone.
// Each is durable when it returns and may be repeated: cut short between any
// two, the same again, or the other, settles it.
type bootChanges struct {
	m     *Manager
	clone *Clone // nil: its domain is gone
	// name is the clone's, or what it was called.
	record boot.Record
	// key unlocks the disks, where slots are added or taken away.
	key      luks.Key
	enrolled bool
}

type bootAct = func(ctx context.Context) error

// enable are the acts in order. The record comes first and says what there was
// before; what starts the guest comes last.
func (b *bootChanges) enable() []bootAct {
	acts := []bootAct{b.save}
	if b.record.Unlock.Method.Enrolls() {
		for i := range b.record.Disks {
			acts = append(acts, func(ctx context.Context) error { return b.enroll(ctx, i) })
		}
	}
	acts = append(acts, b.addLines)
	for _, mapper := range b.record.Mappers() {
		acts = append(acts, func(context.Context) error { return b.m.Boot.Order(mapper) })
	}
	return append(acts, b.libvirtOff, b.saveDone, b.m.Boot.Reload, func(ctx context.Context) error { return b.m.Boot.Enable(ctx, b.record.Unit()) })
}

func (b *bootChanges) save(context.Context) error { return b.m.Boot.Save(b.record) }

func (b *bootChanges) saveDone(ctx context.Context) error {
	b.record.Done = true
	return b.save(ctx)
}

// copies is where the crypttab is kept as it was.
func (m *Manager) copies() string { return filepath.Join(m.StateDir, "crypttab") }

func (b *bootChanges) edit(what string, edit func([]byte) []byte) error {
	kept, changed, err := b.m.Boot.EditCrypttab(edit, b.m.copies(), b.m.Now())
	if err != nil || !changed {
		return err
	}
	if kept != "" {
		what += "; as it was it is kept in " + kept
	}
	b.m.report(Event{Event: Configured, VM: b.record.Clone, Message: what})
	return nil
}

func (b *bootChanges) addLines(context.Context) error {
	entries, err := b.record.Entries()
	if err != nil {
		return err
	}
	return b.edit(fmt.Sprintf("lines for %s in %s", strings.Join(b.record.Mappers(), ", "), boot.Crypttab),
		func(text []byte) []byte { return boot.Add(text, b.record.Job, entries) })
}

func (b *bootChanges) removeLines(context.Context) error {
	return b.edit(fmt.Sprintf("lines for %s taken out of %s", strings.Join(b.record.Mappers(), ", "), boot.Crypttab), func(text []byte) []byte {
		if text == nil {
			return nil
		}
		rest, _ := boot.Remove(text, b.record.Job)
		if len(rest) == 0 && b.record.MadeCrypttab {
			return nil
		}
		return append([]byte{}, rest...)
	})
}

// libvirtOff turns libvirt's own flag off: libvirt would try to start the guest
// as soon as it is up, when the disks are still locked, and after that nobody
// would.
func (b *bootChanges) libvirtOff(ctx context.Context) error {
	if b.clone == nil || !b.clone.Autostart {
		return nil
	}
	if err := b.m.Hypervisor.SetAutostart(ctx, b.clone.UUID, false); err != nil {
		return err
	}
	b.clone.Autostart = false
	b.m.report(Event{Event: Configured, VM: b.clone.Name, Message: "libvirt's own autostart is off, for it would try before the disks are unlocked; systemd starts the VM instead"})
	return nil
}

func (b *bootChanges) libvirtBack(ctx context.Context) error {
	if b.clone == nil || b.clone.UUID == "" || !b.record.LibvirtAutostart || b.clone.Autostart {
		return nil
	}
	if err := b.m.Hypervisor.SetAutostart(ctx, b.clone.UUID, true); err != nil {
		return err
	}
	b.clone.Autostart = true
	b.m.report(Event{Event: Configured, VM: b.clone.Name, Message: "libvirt's own autostart is on again, as it was; it fails while the disks are locked"})
	return nil
}

// disable are the acts that take it all away, the record last.
func (b *bootChanges) disable(keepSlots bool) []bootAct {
	unit := b.record.Unit()
	acts := []bootAct{
		func(ctx context.Context) error { return b.m.Boot.Disable(ctx, unit) },
		b.linger, b.removeLines,
	}
	for _, mapper := range b.record.Mappers() {
		acts = append(acts, func(context.Context) error { return b.m.Boot.Unorder(mapper) })
	}
	if b.record.Unlock.Method.Enrolls() && !keepSlots {
		for i := range b.record.Disks {
			acts = append(acts, func(ctx context.Context) error { return b.unenroll(ctx, i) })
		}
	}
	return append(acts, b.libvirtBack, func(context.Context) error { return b.m.Boot.Forget(b.record) }, b.m.Boot.Reload)
}

// linger keeps an active unit able to stop its guest.
func (b *bootChanges) linger(ctx context.Context) error {
	state, err := b.m.Boot.State(ctx, b.record.Unit())
	if err != nil || state.Active != "active" {
		return err
	}
	return b.m.Boot.Linger(b.record)
}

// takeBack undoes what an enable had made before cause.
func (b *bootChanges) takeBack(ctx context.Context, cause error) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, act := range b.disable(false) {
		if err := act(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return &AutostartPartlyError{Clone: b.record.Clone, Err: errors.Join(append([]error{cause}, errs...)...)}
	}
	return &AutostartError{Clone: b.record.Clone, Err: cause}
}
