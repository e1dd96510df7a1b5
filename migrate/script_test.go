package migrate

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// tape records the calls of a run, as the argument vectors that the real
// clients make of them.
type tape struct{ argv [][]string }

func (r *tape) record(cmd command.Cmd) {
	r.argv = append(r.argv, append([]string{cmd.Name}, cmd.Args...))
}

type tapedVolumes struct {
	Volumes
	*tape
	t *testing.T
}

func (v tapedVolumes) Create(ctx context.Context, spec lvm.Spec) (lvm.LV, error) {
	cmd, err := lvm.CreateCommand(spec, mib)
	if err != nil {
		v.t.Error(err)
	}
	v.record(cmd)
	return v.Volumes.Create(ctx, spec)
}

type tapedEncryption struct {
	Encryption
	*tape
}

func (e tapedEncryption) Format(ctx context.Context, spec luks.FormatSpec, key luks.Key) (luks.Header, error) {
	e.record(luks.FormatCommand(spec, key))
	return e.Encryption.Format(ctx, spec, key)
}

func (e tapedEncryption) Open(ctx context.Context, device, mapper string, key luks.Key, options luks.OpenOptions) error {
	e.record(luks.OpenCommand(device, mapper, key, options))
	return e.Encryption.Open(ctx, device, mapper, key, options)
}

func (e tapedEncryption) Close(ctx context.Context, mapper string) error {
	e.record(luks.CloseCommand(mapper))
	return e.Encryption.Close(ctx, mapper)
}

func (e tapedEncryption) HeaderBackup(ctx context.Context, device, file string) error {
	e.record(luks.HeaderBackupCommand(device, file))
	return e.Encryption.HeaderBackup(ctx, device, file)
}

type tapedSlots struct {
	KeySlots
	*tape
}

func (s tapedSlots) AddKey(ctx context.Context, device string, key, added luks.Key, options luks.AddKeyOptions) error {
	s.record(luks.AddKeyCommand(device, key, added, options))
	return s.KeySlots.AddKey(ctx, device, key, added, options)
}

type tapedHypervisor struct {
	Hypervisor
	asked *[]string
}

func (h tapedHypervisor) Start(ctx context.Context, uuid string) error {
	*h.asked = append(*h.asked, "start")
	return h.Hypervisor.Start(ctx, uuid)
}

func TestARehearsalNamesTheCallsOfTheRunInTheirOrderAndChangesNothing(t *testing.T) {
	chosen := options()
	chosen.Close, chosen.RecoveryKey, chosen.AllowDiscards, chosen.VG = true, true, true, "vg1"
	chosen.Perf.SameCPUCrypt = true
	chosen.LUKS.PBKDF, chosen.LUKS.PBKDFIterations = "pbkdf2", 1000
	discards := options()
	discards.Start = true
	for name, chosen := range map[string]Options{"all that can be asked for": chosen, "the least": options(), "started": discards} {
		w := newWorld(t)
		plan := w.plan(chosen)
		w.disarm()
		before := w.look()
		engine := w.withRecovery(new(envelope))
		calls, err := engine.Rehearse(w.context(), plan)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.wantSame(before, name+", rehearsed")

		recorded, asked := new(tape), []string{}
		env := engine.Env
		env.Volumes = tapedVolumes{env.Volumes, recorded, t}
		env.Encryption = tapedEncryption{env.Encryption, recorded}
		env.KeySlots = tapedSlots{env.KeySlots, recorded}
		env.Hypervisor = tapedHypervisor{env.Hypervisor, &asked}
		if _, err := engine.Run(w.context(), plan); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var said [][]string
		defines, starts := 0, 0
		for _, call := range calls {
			switch {
			case call.Argv != nil:
				said = append(said, call.Argv)
			case call.Step == Define:
				defines++
			case call.Libvirt != "":
				starts++
			case call.Itself == "":
				t.Errorf("%s: a call of %s that says nothing", name, call.Step)
			}
		}
		if diff := cmp.Diff(said, recorded.argv); diff != "" {
			t.Errorf("%s: rehearsed and run differ: %s", name, diff)
		}
		if defines != 1 || starts != len(asked) {
			t.Errorf("%s: %d definitions, %d starts for %d", name, defines, starts, len(asked))
		}
	}
}

func TestARehearsalIsRefusedWhereTheRunWouldBe(t *testing.T) {
	w := newWorld(t)
	plan := w.plan(options())
	w.disarm()
	w.mu.Lock()
	w.sources["/srv/imap-1.img"].bytes = w.sources["/srv/imap-1.img"].bytes[:4096]
	w.mu.Unlock()
	_, rehearsed := (&Engine{Env: w.env()}).Rehearse(w.context(), plan)
	_, run := w.run(plan, "")
	if rehearsed == nil || run == nil || rehearsed.Error() != run.Error() {
		t.Errorf("rehearsed: %v; run: %v", rehearsed, run)
	}
}
