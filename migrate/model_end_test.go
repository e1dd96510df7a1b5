package migrate

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// invariants fails when the world holds what must never be.
func (m *model) invariants() {
	m.rt.Helper()
	now := m.look()
	// The sources, and all that was there before us, are as they were.
	for name, was := range m.baseline {
		state := strings.HasPrefix(name, "domain ") // the original may be started
		if strings.HasPrefix(name, "group ") || strings.HasPrefix(name, "file "+m.state) || state {
			continue
		}
		if now[name] != was {
			m.fail("%s was %q and is %q", name, was, now[name])
		}
	}
	original, err := m.virt.XML(context.Background(), imapUUID)
	if err != nil || !strings.Contains(m.baseline["domain imap"], string(original)) {
		m.fail("the original is %s, %v", original, err)
	}
	// What bears no mark of ours is neither changed nor removed.
	for name, was := range m.foreign {
		if was != now[name] {
			m.fail("the foreign %s was %q and is %q", name, was, now[name])
		}
	}
	// What bears our mark belongs to a job that can be gone on with.
	known := make(map[string]bool)
	for _, job := range m.jobs() {
		if job.State == StateDamaged || job.State == StateRunning {
			m.fail("the job %s is %s: %v", job.ID, job.State, job.Err)
		}
		known["vmmigrate.job="+job.ID] = true
	}
	lvs, _ := m.lvm.LVs(context.Background())
	for _, lv := range lvs {
		for _, tag := range lv.Tags {
			if strings.HasPrefix(tag, "vmmigrate.job=") && !known[tag] {
				m.fail("the volume %s/%s with the tag %s belongs to no job", lv.VG, lv.Name, tag)
			}
		}
	}
	m.oneClone(known)
}

// oneClone fails when there is more than one clone, or one of no job.
func (m *model) oneClone(known map[string]bool) {
	m.rt.Helper()
	clones := 0
	found, _ := m.virt.Domains(context.Background())
	for _, domain := range found {
		xml, _ := m.virt.XML(context.Background(), domain.UUID)
		if origin, ok, err := domainxml.ReadOrigin(xml); err == nil && ok {
			clones++
			if !known["vmmigrate.job="+origin.Job] {
				m.fail("the clone %s belongs to no job", domain.Name)
			}
		}
	}
	if clones > 1 {
		m.fail("there are %d clones", clones)
	}
}

// clear takes away what others put in the way.
func (m *model) clear() {
	m.rt.Helper()
	ctx := context.Background()
	m.trace = append(m.trace, "cleared")
	m.virt.SetState(imapUUID, hypervisor.ShutOff)
	for _, mapper := range []string{"cr_imap_vda", "cr_imap_vdb"} {
		m.luks.Hold(mapper)
	}
	if m.foreign["mapping cr_imap_vda"] != "" {
		if err := m.luks.Close(ctx, "cr_imap_vda"); err != nil {
			m.fail("%v", err)
		}
	}
	for _, volume := range []struct{ vg, name, tag string }{{"vg0", "imap-vdb-luks", "backup"}, {"vg1", "theirs", "backup"}} {
		if m.foreign["volume "+volume.vg+"/"+volume.name] != "" {
			if err := m.lvm.Remove(ctx, volume.vg, volume.name, volume.tag); err != nil {
				m.fail("%v", err)
			}
		}
	}
	if m.foreign["domain imap-luks"] != "" {
		m.virt.remove(m.rt, "imap-luks")
	}
	clear(m.foreign)
	m.disarm()
}

// endRolledBack wants the world as it was.
func (m *model) endRolledBack() {
	m.rt.Helper()
	m.trace = append(m.trace, "rolled back")
	if job, there := m.job(); there {
		kept := m.guestData()
		err := m.rollback(job.ID, false)
		var started *CloneStartedError
		switch {
		case kept && !errors.As(err, &started):
			m.fail("what a clone's guest has written was removed: %v", err)
		case errors.As(err, &started):
			if err := m.rollback(job.ID, true); err != nil {
				m.fail("with force: %v", err)
			}
		case err != nil:
			m.fail("%v", err)
		}
	}
	m.sweep()
	if diff := cmp.Diff(m.expected(), m.look()); diff != "" {
		m.fail("the world is not as it was: %s", diff)
	}
}

// expected is the world without us.
func (m *model) expected() look {
	return maps.Clone(m.baseline)
}

// endMoved wants exactly one clone, and its bytes to be the source's.
func (m *model) endMoved() {
	m.rt.Helper()
	m.trace = append(m.trace, "moved")
	if m.wrote {
		return // its bytes are its own by now
	}
	job, there := m.job()
	if there {
		_, err := m.resume(job.ID)
		var changed *SourceChangedError
		var undone *UndoneError
		switch {
		case err == nil:
		case errors.As(err, &changed), errors.As(err, &undone):
			m.mustRollback(job.ID, "to begin anew")
			there = false
		case isFinished(err):
			if !m.clone() || m.lost(job.Plan) || m.stale(job.Plan) {
				return // others removed it, or the original went on, after it was done
			}
		default:
			m.fail("resumed: %v", err)
		}
	}
	if !there {
		job.Plan = m.decide()
		if len(job.Plan.Blockers) > 0 {
			m.fail("blocked: %v", job.Plan.Blockers)
		}
		if _, err := m.run(job.Plan, ""); err != nil {
			m.fail("run anew: %v", err)
		}
	}
	m.sweep()
	if m.stale(job.Plan) {
		return
	}
	job.Plan.Options.Close = m.look()["mapping cr_imap_vda"] == ""
	m.wantMoved(m.baseline, job.Plan, strings.Join(m.trace, ", "))
}

// lost says whether a volume is gone or a mapping of a finished job was closed
// behind our back.
func (m *model) lost(plan *Plan) bool {
	now := m.look()
	for _, disk := range plan.Disks {
		if now["volume "+disk.Volume.VG+"/"+disk.Volume.Name] == "" {
			return true
		}
	}
	return (now["mapping cr_imap_vda"] == "") != (now["mapping cr_imap_vdb"] == "")
}

// stale says whether the original's guest wrote after the clone was defined,
// which is the owner's to know.
func (m *model) stale(plan *Plan) bool {
	for i := range plan.Disks {
		if m.clone() && m.compare(&plan.Disks[i]) != "" {
			return true
		}
	}
	return false
}
