package lifecycle

import (
	"context"
	"strings"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// guard returns a *ConflictError when something runs that must not run beside
// the clone: its original, a VM with one of its hardware addresses, or one
// that has its disk.
func (m *Manager) guard(ctx context.Context, clone *Clone) error {
	domains, err := m.Hypervisor.Domains(ctx)
	if err != nil {
		return err
	}
	macs := make(map[string]bool)
	for _, i := range clone.XML.Interfaces() {
		if i.MAC != "" {
			macs[strings.ToLower(i.MAC)] = true
		}
	}
	devices := make(map[string]bool)
	for _, disk := range clone.Disks {
		devices[disk.Where()] = true
	}
	for _, domain := range domains {
		if !domain.State.Active() || domain.UUID == clone.UUID {
			continue
		}
		if clone.Origin.Retired == nil && strings.EqualFold(domain.UUID, clone.Origin.UUID) {
			return &ConflictError{Clone: clone.Name, Other: domain.Name, Original: true}
		}
		conflict, err := m.twin(ctx, domain, macs, devices)
		if err != nil {
			return err
		}
		if conflict != nil {
			conflict.Clone = clone.Name
			return conflict
		}
	}
	return nil
}

// twin says what a running domain has in common with a clone, if anything.
func (m *Manager) twin(ctx context.Context, domain hypervisor.Domain, macs, devices map[string]bool) (*ConflictError, error) {
	text, err := m.Hypervisor.LiveXML(ctx, domain.UUID)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	parsed, err := domainxml.Parse(text)
	if err != nil {
		return nil, nil //nolint:nilerr // what is no QEMU domain shares neither
	}
	conflict := &ConflictError{Other: domain.Name}
	for _, disk := range parsed.Disks() {
		if devices[disk.Path] {
			conflict.Device = disk.Path
			return conflict, nil
		}
	}
	for _, i := range parsed.Interfaces() {
		if macs[strings.ToLower(i.MAC)] {
			conflict.MACs = append(conflict.MACs, i.MAC)
		}
	}
	if len(conflict.MACs) > 0 {
		return conflict, nil
	}
	return nil, nil
}

// unused returns an *InUseError when something on the host has one of the
// clone's open disks open: a mount that writes beside the guest destroys the
// file system. The guest's own volume groups, which the host's LVM may have
// activated, are deactivated.
func (m *Manager) unused(ctx context.Context, clone *Clone) error {
	for i := range clone.Disks {
		if clone.Disks[i].Filesystem != nil {
			continue // held by its mount; QEMU's own lock keeps others from the image
		}
		if _, err := m.Volumes.Deactivate(ctx, clone.Disks[i].Device()); err != nil {
			return err
		}
	}
	began := m.Now()
	for {
		mappings, err := m.Encryption.Mappings(ctx)
		if err != nil {
			return err
		}
		var used *InUseError
		for _, disk := range clone.Disks {
			for _, mapping := range mappings {
				if disk.Filesystem == nil && mapping.Name == disk.Mapper && mapping.OpenCount > 0 {
					used = &InUseError{Clone: clone.Name, Disk: disk.Target, Mapper: mapping.Name}
				}
			}
		}
		if used == nil {
			return nil
		}
		// Just after it was opened, udev has a look at it.
		if m.Now().Sub(began) >= settleTime {
			return used
		}
		if err := m.Wait(ctx, lookAgain); err != nil {
			return err
		}
	}
}
