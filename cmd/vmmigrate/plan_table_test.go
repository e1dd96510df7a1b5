package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// evening is a host with a VM of every kind that plan --all meets.
func evening() *overview {
	const gib = 1 << 30
	disk := func(target, lv string, size int64) migrate.DiskPlan {
		d := migrate.DiskPlan{Target: target, Payload: size, Source: migrate.SourcePlan{Size: size}}
		if lv != "" {
			d.Volume = migrate.VolumePlan{VG: "vg0", Name: lv, Extents: size/(4<<20) + 4}
		}
		return d
	}
	plans := []*migrate.Plan{
		{
			VM: "imap", Disks: []migrate.DiskPlan{disk("vda", "imap-vda-luks", 20*gib), disk("vdb", "imap-vdb-luks", 300*gib)},
			Warnings: []migrate.Finding{{Message: "the VM starts with the host; the clone will not, since its disks are locked after a boot"}},
		},
		{VM: "büro 日本", Disks: []migrate.DiskPlan{disk("sda", "b_ro-sda-luks-1f2e3d4c", 8*gib)}},
		{VM: "evil\x1b[31m\u202egpj", Blockers: []migrate.Finding{{Code: migrate.NoDisk, Message: "it has no disk to move"}}},
		{
			VM: "web", Disks: []migrate.DiskPlan{disk("vda", "web-vda-luks", 40*gib)},
			Blockers: []migrate.Finding{
				{Code: migrate.Active, Message: "it is running", Remedy: "virsh shutdown web"},
				{Code: migrate.VGFull, Disk: "vda", Message: "vg0 has no room", Remedy: "grow it with vgextend, or choose another with --vg"},
			},
		},
		{VM: "vault", Blockers: []migrate.Finding{{Code: migrate.AlreadyLUKS, Disk: "vda", Message: "the source of vda holds a LUKS header already: /dev/vg0/vault"}}},
		{VM: "half", Blockers: []migrate.Finding{{Code: migrate.JobUnfinished, Message: "job " + testJob + " for it is unfinished (interrupted)"}}},
	}
	v := &overview{
		plans: plans, estimates: []migrate.Estimate{{ReadRate: 200 << 20, CipherRate: 900 << 20, Seconds: 3200}, {ReadRate: 500 << 20, CipherRate: 900 << 20, Seconds: 33}, {}, {}, {}, {}},
		facts: &migrate.Facts{VGs: []lvm.VG{{Name: "vg0", ExtentSize: 4 << 20, Free: 360 * gib}, {Name: "vg1", ExtentSize: 4 << 20, Free: gib}}},
	}
	for i, plan := range plans {
		state := hypervisor.ShutOff
		if plan.VM == "web" {
			state = hypervisor.Running
		}
		v.facts.Domains = append(v.facts.Domains, migrate.DomainFacts{Domain: hypervisor.Domain{Name: plan.VM, State: state}})
		v.tasks = append(v.tasks, migrate.Task{Plan: plan, Done: plan.VM == "vault"})
		if plan.VM == "half" {
			v.tasks[i].Resume = testJob
		}
	}
	return v
}

// shown is how an overview looks on a terminal of so many columns.
func shown(t *testing.T, v *overview, columns int) (screen string, widest int) {
	t.Helper()
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	written := onTerminal(t, columns, func(tty *os.File) {
		s := &session{streams: streams{out: tty, err: tty}}
		if err := s.writeOverview(v, nil, nil); err != nil {
			t.Error(err)
		}
	})
	if !strings.Contains(written, "\x1b[32m") {
		t.Errorf("on a terminal of %d columns nothing is coloured", columns)
	}
	lines, widest := painted(t, written)
	return show(lines), widest
}

func TestTheTableOfSeveralVMsReadsWell(t *testing.T) {
	for columns, name := range map[int]string{20: "20", 80: "80", 200: "200"} {
		screen, _ := shown(t, evening(), columns)
		golden(t, "testdata/plan/terminal-"+name+".golden", screen)
		for _, must := range []string{"büro 日本", "evil\ufffd[31m\ufffdgpj", "virsh shutdown web", "holds a LUKS header already", testJob, "to resume", "blocked", "b_ro-sda-luks-1f2e3d4c"} {
			if !strings.Contains(screen, must) {
				t.Errorf("on a terminal of %d columns there is no %q", columns, must)
			}
		}
	}
}

func TestIntoAPipeGoesNoColourAndAWholeTable(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	s := &session{streams: streams{out: write, err: write}}
	got := make(chan string)
	go func() {
		all, _ := io.ReadAll(read)
		got <- string(all)
	}()
	if err := s.writeOverview(evening(), []string{"imap", "web"}, []string{"--vg", "vg0"}); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	text := <-got
	if strings.Contains(text, "\x1b") || !strings.HasPrefix(text, "VM ") {
		t.Error(text)
	}
}

func TestWhatIsDoneOrReadyIsOfferedAsACommandAndWhatIsBlockedIsNot(t *testing.T) {
	v := evening()
	v.plans, v.tasks, v.estimates = v.plans[:2], v.tasks[:2], v.estimates[:2]
	screen, _ := shown(t, v, 200)
	if !strings.Contains(screen, "To do it:\n  vmmigrate run --all\n") || !strings.Contains(screen, "2 ready. One after the other the ready ones take at least 53:53.") {
		t.Error(screen)
	}
	v = &overview{facts: &migrate.Facts{}}
	v.table = (&session{streams: streams{out: io.Discard}}).table
	if text := v.text(); text != "There are no VMs.\n" {
		t.Error(text)
	}
}
