package planfile_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/planfile"
)

const (
	mib = 1 << 20
	id  = "7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60"
)

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

// host is one with the VM imap, off, on disks of so many bytes.
func host(t *testing.T, name string, disks map[string]int64) *migrate.Facts {
	t.Helper()
	xml := "<domain type='kvm'><name>" + name + "</name><uuid>" + id + "</uuid><memory>1</memory><os><type>hvm</type></os><devices>"
	domain := migrate.DomainFacts{
		Domain: hypervisor.Domain{Name: name, UUID: id, State: hypervisor.ShutOff, Persistent: true}, Disks: map[string]migrate.DiskFacts{}, Files: map[string]bool{},
	}
	for _, target := range []string{"vda", "vdb"} {
		size, there := disks[target]
		if !there {
			continue
		}
		path := "/srv/" + target + ".img"
		xml += fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='%s' bus='virtio'/></disk>", path, target)
		domain.Disks[target] = migrate.DiskFacts{DeviceFacts: migrate.DeviceFacts{Path: path, Resolved: path, ID: path, Size: size, LogicalBlock: 512, Writes: -1}}
	}
	domain.Raw = []byte(xml + "</devices></domain>")
	var err error
	if domain.XML, err = domainxml.Parse(domain.Raw); err != nil {
		t.Fatal(err)
	}
	return &migrate.Facts{
		Domains: []migrate.DomainFacts{domain},
		VGs:     []lvm.VG{{Name: "vg0", ExtentSize: 4 * mib, FreeExtents: 500, ExtentCount: 500, Size: 2000 * mib, Free: 2000 * mib, PVCount: 1}},
	}
}

func options() migrate.Options {
	return migrate.Options{LUKS: migrate.DefaultLUKS(), Verify: migrate.VerifyTarget}
}

func decide(t *testing.T, facts *migrate.Facts, name string, options migrate.Options) *migrate.Plan {
	t.Helper()
	now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	plan, err := (&migrate.Decider{Facts: facts, Random: endless{}, Store: migrate.Store{Now: now}, Taken: migrate.Budget{}}).Decide(name, options)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// saved is the plan file of the host as it is now, through its text.
func saved(t *testing.T, facts *migrate.Facts, options migrate.Options) *planfile.File {
	t.Helper()
	var plans []*migrate.Plan
	for _, domain := range facts.Domains {
		plans = append(plans, decide(t, facts, domain.Name, options))
	}
	file, err := planfile.Read(planfile.Format(planfile.New(plans, facts, options)))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAPlanThatIsSavedAndCarriedOutAtOnceIsTheSamePlan(t *testing.T) {
	facts := host(t, "imap", map[string]int64{"vda": 20 * mib, "vdb": 1000448})
	chosen := options()
	chosen.VG, chosen.KeepMAC, chosen.SkipDisks, chosen.Verify, chosen.LUKS.IterTime = "vg0", true, []string{"vdb"}, migrate.VerifyFull, 500
	file := saved(t, facts, chosen)
	vm := file.VMs[0]
	again := file.Options(vm, options())
	before, after := decide(t, facts, "imap", chosen), decide(t, facts, "imap", again)
	if before.Clone.Name != after.Clone.Name || len(after.Disks) != 1 || !reflect.DeepEqual(before.Disks[0].Volume, after.Disks[0].Volume) || again.LUKS != chosen.LUKS ||
		again.Verify != chosen.Verify || !again.KeepMAC || len(after.Kept) != 1 {
		t.Errorf("%+v\nand\n%+v", before, after)
	}
	if changes := planfile.Compare(vm, after, facts); len(changes) != 0 {
		t.Errorf("changed: %v", changes)
	}
	if changes := append(planfile.Gone(vm, facts), file.OtherHost(file.Host)...); len(changes) != 0 {
		t.Errorf("changed: %v", changes)
	}
}

func TestWhatHasChangedSinceIsSaidAndWhatMattersBlocks(t *testing.T) {
	disks := map[string]int64{"vda": 20 * mib}
	for what, c := range map[string]struct {
		change func(*migrate.Facts)
		says   string
		code   migrate.Code
	}{
		"it runs":           {func(f *migrate.Facts) { f.Domains[0].State = hypervisor.Running }, "imap: its state was shut off, is running", ""},
		"it is gone":        {func(f *migrate.Facts) { f.Domains = nil }, "imap: the VM was defined, is gone", planfile.VMGone},
		"it was renamed":    {func(f *migrate.Facts) { f.Domains[0].Name = "post" }, `imap: the VM was defined, is called "post"`, planfile.VMGone},
		"it is another":     {func(f *migrate.Facts) { f.Domains[0].UUID = "8ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60" }, "imap: its UUID was " + id, planfile.VMGone},
		"its disk grew":     {func(f *migrate.Facts) { *f = *host(t, "imap", map[string]int64{"vda": 21 * mib}) }, "imap: vda: its size was 20 MiB, is 21 MiB", planfile.Outdated},
		"its disk is gone":  {func(f *migrate.Facts) { *f = *host(t, "imap", map[string]int64{"vdb": 20 * mib}) }, "imap: vda: the disk was there, is gone", planfile.Outdated},
		"a disk came to it": {func(f *migrate.Facts) { *f = *host(t, "imap", map[string]int64{"vda": 20 * mib, "vdb": mib}) }, "imap: vdb: the disk was not in the plan, is there", planfile.Outdated},
		"another source": {func(f *migrate.Facts) {
			facts := f.Domains[0].Disks["vda"]
			facts.Path = "/srv/other.img"
			f.Domains[0].Disks["vda"] = facts
		}, "imap: vda: its source was /srv/vda.img, is /srv/other.img", planfile.Outdated},
		"its volume's name is taken": {func(f *migrate.Facts) { f.LVs = []lvm.LV{{VG: "vg0", Name: "imap-vda-luks"}} }, "imap: vda: the name of its volume was free, is taken", ""},
	} {
		file := saved(t, host(t, "imap", disks), options())
		vm := file.VMs[0]
		facts := host(t, "imap", disks)
		c.change(facts)
		changes := planfile.Gone(vm, facts)
		if len(changes) == 0 {
			changes = planfile.Compare(vm, decide(t, facts, "imap", file.Options(vm, options())), facts)
		}
		found := false
		for _, change := range changes {
			if strings.HasPrefix(change.String(), c.says) && change.Code == c.code {
				found = true
			}
			if change.Code != "" && (change.Blocker().Code != change.Code || change.Blocker().Remedy == "") {
				t.Errorf("%s: the blocker %+v", what, change.Blocker())
			}
		}
		if !found {
			t.Errorf("%s: %v", what, changes)
		}
	}
}

func TestAPlanOfAnotherHostIsSaid(t *testing.T) {
	changes := (&planfile.File{Host: "kvm1"}).OtherHost("kvm2")
	if len(changes) != 1 || changes[0].String() != "the host was kvm1, is kvm2" || changes[0].Code != "" {
		t.Errorf("%v", changes)
	}
}

func TestWhatIsInTheWayOrDoneIsWrittenAboveTheVM(t *testing.T) {
	facts := host(t, "imap", map[string]int64{"vda": 20 * mib})
	facts.Domains[0].State = hypervisor.Running
	text := string(planfile.Format(planfile.New([]*migrate.Plan{decide(t, facts, "imap", options())}, facts, options())))
	if !strings.Contains(text, "  # In the way when this was written:\n  #   it is running (virsh shutdown imap)\n  - name: imap\n") || strings.Contains(text, "skip: true\n") {
		t.Error(text)
	}
	encrypted := facts.Domains[0].Disks["vda"]
	encrypted.LUKS = true
	facts.Domains[0].Disks["vda"] = encrypted
	file := planfile.New([]*migrate.Plan{decide(t, facts, "imap", options())}, facts, options())
	if !file.VMs[0].Skip || !strings.HasPrefix(file.VMs[0].Comment[0], "Done: ") {
		t.Errorf("%+v", file.VMs[0])
	}
}
