package lifecycle

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/internal/command"
)

// tryBootKey looks, when key slots were changed, whether the key file that unlocks
// a clone at boot still does, and warns if not: nobody would notice before the
// next boot. What it finds is noted for status, which tries no key. That it can't
// look undoes no change of keys.
func (m *Manager) tryBootKey(ctx context.Context, clone *Clone, changed []KeySlot) {
	if m.Boot == nil || len(changed) == 0 || ctx.Err() != nil {
		return
	}
	if err := m.tryKeyFile(ctx, clone, changed); err != nil {
		m.report(Event{Event: Warning, VM: clone.Name, Message: fmt.Sprintf("whether it is still unlocked at boot can't be told: %v", err)})
	}
}

func (m *Manager) tryKeyFile(ctx context.Context, clone *Clone, changed []KeySlot) error {
	unlock, err := m.Boot.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	records, err := m.Boot.Records()
	i := slices.IndexFunc(records, func(r boot.Record) bool { return r.Job == clone.Origin.Job })
	if i < 0 || records[i].Unlock.Method != boot.KeyFile {
		return err
	}
	record := records[i]
	key, err := readKeyFile(record.Unlock.KeyFile)
	if err != nil {
		return err
	}
	defer key.Wipe()
	again := command.Quote([]string{"vmmigrate", "autostart", "enable", clone.Name, "--unlock", record.Unlock.String()})
	noted := false
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		j := slices.IndexFunc(record.Disks, func(d boot.RecordDisk) bool { return strings.EqualFold(d.LUKS, disk.LUKS) })
		if j < 0 || !slices.ContainsFunc(changed, func(s KeySlot) bool { return s.Disk == disk.Target }) {
			continue
		}
		slot, err := m.slot(ctx, disk, key)
		if err != nil {
			return err
		}
		stale := slot < 0
		if stale {
			m.report(Event{Event: Warning, VM: clone.Name, Disk: disk.Target, Message: fmt.Sprintf(
				"the key file %s, which unlocks it at boot, no longer does, and the next boot fails: put a key that fits into it, and have it tried: %s", record.Unlock.KeyFile, again)})
		}
		noted = noted || stale != record.Disks[j].Stale
		record.Disks[j].Stale = stale
	}
	if !noted {
		return nil
	}
	if err := m.Boot.Save(record); err != nil {
		return err
	}
	return m.Boot.Reload(ctx)
}
