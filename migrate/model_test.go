package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// model is a job's life among crashes and other people. It knows of the world
// what has to stay as it is.
type model struct {
	*world
	rt *rapid.T
	// baseline is the world without us and without foreign.
	baseline look
	// foreign is what somebody else made meanwhile.
	foreign look
	// wrote is set once the clone's guest has written to its disks.
	wrote bool
	trace []string
}

// TestWhateverHappensNothingIsLost drives the engine through random faults and
// through what others do to the host meanwhile. After each act it looks for what
// must never be; in the end it clears the way and wants one of the two endings.
func TestWhateverHappensNothingIsLost(t *testing.T) {
	t.Parallel()
	parent := scratch(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // only to save memory
		sizes := []int64{12288, 5000}
		if rapid.IntRange(0, 9).Draw(rt, "a large disk") == 0 {
			sizes[1] = 4*mib + 5000 // two chunks
		}
		m := &model{world: newWorldIn(rt, dir, sizes...), rt: rt, foreign: make(look)}
		if rapid.Bool().Draw(rt, "a header apart") {
			m.withFiles()
			m.chosen = map[string]DiskOptions{"vda": {Header: headerName}}
		}
		m.baseline = m.look()
		for range rapid.IntRange(1, 7).Draw(rt, "acts") {
			m.act()
			m.invariants()
		}
		m.clear()
		if rapid.Bool().Draw(rt, "rolled back in the end") {
			m.endRolledBack()
		} else {
			m.endMoved()
		}
	})
}

func (m *model) act() {
	acts := []struct {
		name string
		do   func()
	}{
		{"forward", m.forward},
		{"forward", m.forward},
		{"forward", m.forward},
		{"backward", m.backward},
		{"power cut", m.cutPower},
		{"the original starts", func() { m.virt.SetState(imapUUID, hypervisor.Running) }},
		{"the original stops", func() { m.virt.SetState(imapUUID, hypervisor.ShutOff) }},
		{"the original's guest writes", m.sourceWritten},
		{"a volume is removed", m.volumeRemoved},
		{"a mapping is closed", m.mappingClosed},
		{"a mapping is held", func() { m.luks.Hold(m.mapper(), "somebody") }},
		{"a mapping is let go", func() { m.luks.Hold(m.mapper()) }},
		{"the clone is undefined", m.cloneUndefined},
		{"the clone's guest writes", m.cloneWritten},
		{"a foreign volume", m.foreignVolume},
		{"a foreign mapping", m.foreignMapping},
		{"a foreign VM", m.foreignVM},
	}
	act := acts[rapid.IntRange(0, len(acts)-1).Draw(m.rt, "act")]
	m.trace = append(m.trace, act.name)
	act.do()
}

func (m *model) mapper() string {
	return rapid.SampledFrom([]string{"cr_imap_vda", "cr_imap_vdb"}).Draw(m.rt, "mapper")
}

// fault draws what goes wrong in the next command: often nothing.
func (m *model) fault() {
	m.disarm()
	if rapid.IntRange(0, 3).Draw(m.rt, "a fault") > 0 {
		m.arm(rapid.IntRange(0, 110).Draw(m.rt, "at"), mode(rapid.IntRange(int(dieBefore), int(interrupt)).Draw(m.rt, "mode")))
	}
}

// job is the VM's job, if there is one.
func (m *model) job() (JobInfo, bool) {
	jobs := m.jobs()
	if len(jobs) > 1 {
		m.fail("there are %d jobs", len(jobs))
	}
	if len(jobs) == 0 {
		return JobInfo{}, false
	}
	return jobs[0], true
}

// forward runs or resumes.
func (m *model) forward() {
	var err error
	if job, there := m.job(); there {
		m.fault()
		_, err = m.resume(job.ID)
	} else {
		plan := m.decide()
		if len(plan.Blockers) > 0 {
			m.trace = append(m.trace, "is blocked")
			return
		}
		m.fault()
		_, err = m.run(plan, "")
	}
	m.trace = append(m.trace, fmt.Sprintf("(%s %d %v: %v)", m.mode, m.at, m.hit, err))
	m.restart(m.dead && rapid.Bool().Draw(m.rt, "with the power"))
}

func (m *model) decide() *Plan {
	m.disarm()
	env := m.env()
	facts, err := env.Gather(context.Background())
	if err != nil {
		m.fail("gather: %v", err)
	}
	m.seed++
	chosen := options()
	chosen.Disks = m.chosen
	if err := env.GatherNamed(context.Background(), facts, chosen); err != nil {
		m.fail("gather: %v", err)
	}
	chosen.Close = rapid.Bool().Draw(m.rt, "close")
	plan, err := (&Decider{Facts: facts, Random: dice(m.seed), Store: env.Store, Taken: Budget{}}).Decide("imap", chosen)
	if err != nil {
		m.fail("decide: %v", err)
	}
	return plan
}

func (m *model) backward() {
	job, there := m.job()
	if !there {
		return
	}
	m.fault()
	kept := m.guestData()
	err := m.rollback(job.ID, false)
	m.trace = append(m.trace, fmt.Sprintf("(%s %d %v: %v)", m.mode, m.at, m.hit, err))
	var started *CloneStartedError
	if kept && !m.guestData() {
		m.fail("what a clone's guest has written was removed")
	}
	if !m.wrote && errors.As(err, &started) && !strings.Contains(started.Evidence, "locked") {
		m.fail("a clone that was not started is taken for one: %v", err)
	}
	m.restart(m.dead && rapid.Bool().Draw(m.rt, "with the power"))
}

// guestData says whether there is what the clone's guest has written, whether
// or not the clone is still defined.
func (m *model) guestData() bool {
	lv, err := m.lvm.LV(context.Background(), "vg0", "imap-vda-luks")
	return m.wrote && err == nil && len(lv.Tags) > 0 && strings.HasPrefix(lv.Tags[0], "vmmigrate")
}

// clone says whether our clone is defined.
func (m *model) clone() bool {
	return m.virt.find("imap-luks").Name != "" && m.foreign["domain imap-luks"] == ""
}

// sourceWritten changes a source as a guest does that was started meanwhile.
func (m *model) sourceWritten() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, source := range m.sources {
		source.bytes = slices.Clone(source.bytes)
		source.bytes[rapid.IntRange(0, len(source.bytes)-1).Draw(m.rt, "byte")]++
		source.writes += 8
		source.mod = source.mod.Add(time.Second)
		m.baseline["source "+path] = sum(source.bytes)
		return
	}
}

func (m *model) mappingClosed() {
	if mapper := m.mapper(); m.foreign["mapping "+mapper] == "" {
		_ = m.luks.Close(context.Background(), mapper) // not while it is held
	}
}

func (m *model) volumeRemoved() {
	lvs, _ := m.lvm.LVs(context.Background())
	for _, lv := range lvs {
		if len(lv.Tags) > 0 && strings.HasPrefix(lv.Tags[0], "vmmigrate") {
			_ = m.lvm.Remove(context.Background(), lv.VG, lv.Name, lv.Tags[0]) // not while it is open
			return
		}
	}
}

func (m *model) cloneUndefined() {
	if m.clone() {
		m.virt.remove(m.rt, "imap-luks")
	}
}

func (m *model) cloneWritten() {
	if !m.clone() || m.foreign["mapping cr_imap_vda"] != "" {
		return
	}
	for _, mapper := range []string{"cr_imap_vda", "cr_imap_vdb"} {
		if _, err := m.luks.Mapping(context.Background(), mapper); err != nil {
			return // it could not start
		}
	}
	p, err := m.payload("/dev/mapper/cr_imap_vda")
	if err != nil {
		m.fail("%v", err)
	}
	p.live = slices.Clone(p.live)
	p.live[rapid.IntRange(0, len(p.live)-1).Draw(m.rt, "byte")]++
	p.synced = slices.Clone(p.live)
	m.wrote = true
}

func (m *model) foreignVolume() {
	_, err := m.lvm.Create(context.Background(), lvm.Spec{VG: "vg0", Name: "imap-vdb-luks", Size: mib, Tags: []string{"backup"}})
	if err == nil {
		m.foreign["volume vg0/imap-vdb-luks"] = m.look()["volume vg0/imap-vdb-luks"]
	}
}

const foreignLUKS = "77777777-2222-4333-8444-555555555555"

func (m *model) foreignMapping() {
	if _, err := m.luks.Mapping(context.Background(), "cr_imap_vda"); err == nil {
		return
	}
	m.openForeign("cr_imap_vda")
	for _, name := range []string{"mapping cr_imap_vda", "volume vg1/theirs", "header /dev/vg1/theirs", "payload /dev/mapper/vg1-theirs"} {
		m.foreign[name] = m.look()[name]
	}
}

// openForeign has somebody open a volume of their own under a name of ours.
func (w *world) openForeign(mapper string) {
	w.t.Helper()
	ctx := context.Background()
	key, err := luks.NewKey([]byte("theirs"))
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	// All this may be there from before a power cut.
	_, _ = w.lvm.Create(ctx, lvmSpec("vg1", "theirs", 20*mib, "backup"))
	_, _ = w.luks.Format(ctx, luks.FormatSpec{
		Device: "/dev/vg1/theirs", UUID: foreignLUKS, Type: luks.LUKS2, Cipher: "aes-xts-plain64", KeySize: 512, Hash: "sha512", SectorSize: 512, Offset: 16 * mib,
	}, key)
	if err := w.luks.Open(ctx, "/dev/vg1/theirs", mapper, key, luks.OpenOptions{}); err != nil {
		w.t.Fatalf("open a foreign mapping: %v", err)
	}
	if _, err := w.payload("/dev/mapper/" + mapper); err != nil {
		w.t.Fatalf("%v", err)
	}
}

func (m *model) foreignVM() {
	if m.virt.find("imap-luks").Name != "" {
		return
	}
	m.virt.add(m.rt, definition("imap-luks", "88888888-2222-4333-8444-555555555555", "", ""))
	m.foreign["domain imap-luks"] = m.look()["domain imap-luks"]
}

// cutPower is the power cut of the world, which closes foreign mappings too.
func (m *model) cutPower() {
	m.world.cutPower()
	delete(m.foreign, "mapping cr_imap_vda")
}

// restart is the restart of the world, with which the power may be cut as well.
func (m *model) restart(powerCut bool) {
	m.world.restart(false)
	if powerCut {
		m.cutPower()
	}
}

func (m *model) fail(format string, args ...any) {
	m.rt.Helper()
	m.rt.Fatalf("%s\nafter %s", fmt.Sprintf(format, args...), strings.Join(m.trace, ", "))
}
