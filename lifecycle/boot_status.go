package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/boot"
)

// BootStatus is how a clone is unlocked and started at boot.
type BootStatus struct {
	// Method is how its disks are unlocked, With the key file or URL, and
	// Unit what starts it.
	Method boot.Method `json:"method"`
	With   string      `json:"with,omitempty"`
	Unit   string      `json:"unit"`
	// Active is the unit's state now, in systemd's words.
	Active string `json:"active,omitempty"`
	// Problems are what keeps it from working at the next boot, or kept it
	// from working at this one, each a sentence without a full stop.
	Problems []string `json:"problems"`
	// Again is --unlock of the command that mends it.
	Again string `json:"unlock"`
}

// LostBoot is what is set up for a clone that is not there any more.
type LostBoot struct {
	// Clone is the name that it had, Job what made it, and Unit what would
	// start it.
	Clone string `json:"clone"`
	Job   string `json:"job"`
	Unit  string `json:"unit"`
}

// bootStatus says how a clone is unlocked at boot; nil is not at all.
func (m *Manager) bootStatus(ctx context.Context, clone *Clone, records []boot.Record, crypttab []byte) *BootStatus {
	i := slices.IndexFunc(records, func(r boot.Record) bool { return r.Job == clone.Origin.Job })
	if i < 0 {
		return nil
	}
	r := records[i]
	s := &BootStatus{Method: r.Unlock.Method, With: r.Unlock.KeyFile + r.Unlock.URL, Unit: r.Unit(), Problems: []string{}, Again: r.Unlock.String()}
	bad := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }
	if !r.Done {
		bad("setting it up was cut short")
	}
	if err := m.Boot.Ready(r.Unlock.Method); err != nil {
		bad("%v", err)
	}
	m.unitStatus(ctx, s, r, bad)
	if clone.Autostart {
		bad("libvirt's own autostart is on again, and fails while the disks are locked")
	}
	if r.Unlock.Method == boot.KeyFile {
		if _, err := m.Boot.CheckKeyFile(r.Unlock.KeyFile, true); err != nil {
			bad("%v", err)
		}
		for _, disk := range r.Disks {
			if disk.Stale {
				bad("its key file no longer unlocked disk %s when the keys were changed: put a key that fits into it", disk.Target)
			}
		}
	}
	m.linesStatus(clone, r, crypttab, bad)
	if r.Unlock.Method.Enrolls() {
		m.slotsStatus(ctx, clone, r, bad)
	}
	return s
}

func (m *Manager) unitStatus(ctx context.Context, s *BootStatus, r boot.Record, bad func(string, ...any)) {
	state, err := m.Boot.State(ctx, s.Unit)
	if err != nil {
		bad("how its unit stands can't be told: %v", err)
		return
	}
	s.Active = state.Active
	switch {
	case state.Masked:
		bad("its unit is masked: systemctl unmask brings it back")
	case !state.Enabled:
		bad("its unit is disabled")
	}
	if state.Active == "failed" {
		bad("its unit failed when it was started last (%s): journalctl --unit says why", state.Result)
	}
	if state.Active == "active" {
		return
	}
	// A unit whose disks were not unlocked was never started, and so is
	// inactive and not failed: only theirs say that a boot went wrong.
	for _, mapper := range r.Mappers() {
		unit := boot.CryptUnit(mapper)
		switch state, err := m.Boot.State(ctx, unit); {
		case err != nil:
			bad("how the unit that unlocks %s stands can't be told: %v", mapper, err)
		case state.Active == "failed":
			bad("%s was not unlocked when it was tried last (%s): journalctl --unit '%s' says why", mapper, state.Result, unit)
		}
	}
}

// linesStatus holds the crypttab against what was written there.
func (m *Manager) linesStatus(clone *Clone, r boot.Record, crypttab []byte, bad func(string, ...any)) {
	entries, err := r.Entries()
	if err != nil {
		bad("%v", err)
		return
	}
	there := boot.Ours(crypttab, r.Job)
	for _, want := range entries {
		i := slices.IndexFunc(there, func(e boot.Entry) bool { return e.Mapper == want.Mapper })
		switch {
		case i < 0:
			bad("%s has lost its line for %s", boot.Crypttab, want.Mapper)
		case !strings.EqualFold(there[i].Source, want.Source) || there[i].Key != want.Key:
			bad("the line for %s in %s was changed: it opens %s with %s", want.Mapper, boot.Crypttab, there[i].Source, there[i].Key)
		}
		if line, clash := boot.Clash(crypttab, r.Job, want, nil); clash {
			bad("line %d of %s has the same mapping or volume: %s", line.Number, boot.Crypttab, line.Mapper)
		}
		if !m.Boot.Ordered(want.Mapper) {
			bad("the drop-in of %s is gone or was changed, which has it locked in order", boot.CryptUnit(want.Mapper))
		}
	}
	for i := range clone.Disks {
		if disk := &clone.Disks[i]; !slices.ContainsFunc(r.Disks, func(d boot.RecordDisk) bool { return strings.EqualFold(d.LUKS, disk.LUKS) }) {
			bad("nothing unlocks its disk %s, which it had not when this was set up", disk.Target)
		}
	}
}

func (m *Manager) slotsStatus(ctx context.Context, clone *Clone, r boot.Record, bad func(string, ...any)) {
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		j := slices.IndexFunc(r.Disks, func(d boot.RecordDisk) bool { return strings.EqualFold(d.LUKS, disk.LUKS) })
		if j < 0 || disk.Header == nil {
			continue // said elsewhere
		}
		tokens, err := m.tokensOf(ctx, r.Unlock.Method, disk.headerAt())
		switch {
		case err != nil:
			bad("the tokens of disk %s can't be read: %v", disk.Target, err)
		case !served(tokens):
			bad("disk %s has lost the key slot that %s unlocks", disk.Target, r.Unlock.Method)
		}
	}
}

// readBoot reads what is set up on the host, as far as it can be read.
func (m *Manager) readBoot() ([]boot.Record, []byte, error) {
	if m.Boot == nil {
		return nil, nil, nil
	}
	records, err := m.Boot.Records()
	if len(records) == 0 {
		return nil, nil, err
	}
	crypttab, failed := m.Boot.ReadCrypttab()
	return records, crypttab, errors.Join(err, failed)
}

// lostBoots are what is set up for clones that are gone.
func lostBoots(clones []*Clone, records []boot.Record) []LostBoot {
	lost := []LostBoot{}
	for _, r := range records {
		if !slices.ContainsFunc(clones, func(c *Clone) bool { return c.Origin.Job == r.Job }) {
			lost = append(lost, LostBoot{Clone: r.Clone, Job: r.Job, Unit: r.Unit()})
		}
	}
	return lost
}
