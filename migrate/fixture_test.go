package migrate

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/lvm"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

const imapUUID = "7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60"

// noon is the clock of all tests.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// dice are random bytes that are the same in every run.
func dice(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// escape makes any text safe inside XML.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", "'", "&apos;", `"`, "&quot;")

// definition is a domain's XML. os goes into <os>, and devices into <devices>.
func definition(name, uuid, os, devices string) []byte {
	return fmt.Appendf(nil, `<domain type='kvm'>
  <name>%s</name>
  <uuid>%s</uuid>
  <metadata><shop:billing xmlns:shop="urn:example:shop" customer="4711"/></metadata>
  <memory unit='KiB'>2097152</memory>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>%s</os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
%s
    <interface type='bridge'>
      <mac address='52:54:00:aa:bb:01'/>
      <source bridge='br0'/>
    </interface>
  </devices>
</domain>
`, escape.Replace(name), uuid, os, devices)
}

// rawDisk is the XML of a disk that can be moved; more goes into the element.
func rawDisk(target, path, more string) string {
	kind, attribute := "block", "dev"
	if !strings.HasPrefix(path, "/dev/") {
		kind, attribute = "file", "file"
	}
	return fmt.Sprintf(`    <disk type='%s' device='disk'>
      <driver name='qemu' type='raw'/>
      <source %s='%s'/>
      <target dev='%s' bus='virtio'/>%s
    </disk>`, kind, attribute, escape.Replace(path), target, more)
}

const cdrom = `    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <source file='/srv/iso/debian.iso'/>
      <target dev='sda' bus='sata'/>
      <readonly/>
    </disk>`

// situation is a host with one VM and what was asked for: what a decision
// follows from.
type situation struct {
	t       *testing.T
	facts   *Facts
	options Options
	taken   Budget
}

// imap is a VM with nothing in the way: one disk of 1 GiB on vg0/imap, and
// room for it.
func imap(t *testing.T) *situation {
	t.Helper()
	s := &situation{t: t, facts: new(Facts), taken: Budget{}, options: Options{LUKS: DefaultLUKS(), Verify: VerifyTarget}}
	s.facts.VGs = []lvm.VG{group("vg0", 4*mib, 2000)}
	s.addVM("imap", imapUUID, rawDisk("vda", "/dev/vg0/imap", ""), cdrom)
	s.disk("vda", func(d *DiskFacts) { d.LV = &lvm.LV{VG: "vg0", Name: "imap", Size: gib} })
	return s
}

func group(name string, extent, free int64) lvm.VG {
	return lvm.VG{Name: name, ExtentSize: extent, FreeExtents: free, ExtentCount: 2 * free, Size: 2 * free * extent, Free: free * extent, PVCount: 1}
}

// addVM adds a VM that is off, with disks of 1 GiB each.
func (s *situation) addVM(name, uuid string, disks ...string) *DomainFacts {
	s.t.Helper()
	s.facts.Domains = append(s.facts.Domains, DomainFacts{
		Domain: hypervisor.Domain{Name: name, UUID: uuid, State: hypervisor.ShutOff, Persistent: true},
		Disks:  make(map[string]DiskFacts), Files: make(map[string]bool),
	})
	s.define(len(s.facts.Domains)-1, "", strings.Join(disks, "\n"))
	return &s.facts.Domains[len(s.facts.Domains)-1]
}

// define gives a VM its definition, and each disk a source.
func (s *situation) define(vm int, os, devices string) {
	s.t.Helper()
	d := &s.facts.Domains[vm]
	d.Raw = definition(d.Name, d.UUID, os, devices)
	var err error
	if d.XML, err = domainxml.Parse(d.Raw); err != nil {
		s.t.Fatal(err)
	}
	for _, disk := range d.XML.Disks() {
		if _, known := d.Disks[disk.Target]; known || disk.Path == "" {
			continue
		}
		d.Disks[disk.Target] = DiskFacts{DeviceFacts: DeviceFacts{
			Path: disk.Path, Resolved: disk.Path, ID: disk.Path, Block: disk.SourceType == "block", Size: gib, LogicalBlock: 512, Writes: -1,
		}}
	}
}

func (s *situation) vm() *DomainFacts { return &s.facts.Domains[0] }

// disk changes what is known of one of the VM's disks.
func (s *situation) disk(target string, change func(*DiskFacts)) {
	facts := s.vm().Disks[target]
	change(&facts)
	s.vm().Disks[target] = facts
}

// decider makes the same choices in every run.
func (s *situation) decider() *Decider {
	return &Decider{Facts: s.facts, Random: dice(1), Store: Store{Now: noon}, Taken: s.taken}
}

// plan is what is decided for the first VM.
func (s *situation) plan() *Plan {
	s.t.Helper()
	plan, err := s.decider().Decide(s.vm().Name, s.options)
	if err != nil {
		s.t.Fatal(err)
	}
	return plan
}

// codes are the kinds of some findings, each once.
func codes(findings []Finding) map[Code]bool {
	all := make(map[Code]bool)
	for _, finding := range findings {
		all[finding.Code] = true
	}
	return all
}

func set(all ...Code) map[Code]bool {
	wanted := make(map[Code]bool)
	for _, code := range all {
		wanted[code] = true
	}
	return wanted
}

// imageDisk gives the VM a second disk, a qcow2 file with a raw one behind it.
func (s *situation) imageDisk(change func(*DiskFacts)) {
	s.t.Helper()
	const top, base = "/srv/images/imap.qcow2", "/srv/images/base.img"
	s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "")+strings.Replace(rawDisk("vdb", top, ""), "type='raw'", "type='qcow2'", 1))
	facts := s.vm().Disks["vdb"]
	facts.Size = 300 * mib // the file's own
	facts.Chain = image.Chain{
		{Path: top, Format: image.QCOW2, Size: gib, Cluster: 64 << 10, Features: []string{"version 3"}},
		{Path: base, Format: image.Raw, Size: gib},
	}
	facts.Files = []DeviceFacts{facts.DeviceFacts, {Path: base, Resolved: base, ID: base, Size: gib, LogicalBlock: 512, Writes: -1}}
	change(&facts)
	s.vm().Disks["vdb"] = facts
}
