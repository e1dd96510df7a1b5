package migrate

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// A claim is a situation and the only findings that it makes.
type claim struct {
	code  Code
	when  string
	given func(*situation)
	// also are findings that the situation makes as well.
	also []Code
}

func blockers() []claim {
	return slices.Concat(deviceClaims(), folderClaims(), headerClaims(), layoutClaims(), []claim{
		{code: NVRAMTaken, when: "an earlier VM of the clone's name left UEFI variables", given: func(s *situation) {
			s.define(0, `<nvram>/var/lib/libvirt/qemu/nvram/imap_VARS.fd</nvram>`, rawDisk("vda", "/dev/vg0/imap", ""))
			s.facts.NVRAMs = []string{"/var/lib/libvirt/qemu/nvram/imap-luks_VARS.fd"}
		}},
		{code: NoCipher, when: "the kernel has no such cipher", given: func(s *situation) {
			s.options.LUKS.Cipher = "eas-xts-plain64"
			s.facts.Untaken = map[LUKSOptions]string{s.options.LUKS: "No known cipher specification pattern detected."}
		}},
		{code: Active, when: "the VM runs", given: func(s *situation) { s.vm().State = hypervisor.Running }},
		{code: Active, when: "the VM is paused", given: func(s *situation) { s.vm().State = hypervisor.Paused }},
		{code: Active, when: "the VM sleeps", given: func(s *situation) { s.vm().State = hypervisor.Suspended }},
		{code: Active, when: "the VM shuts down", given: func(s *situation) { s.vm().State = hypervisor.ShuttingDown }},
		{code: Transient, when: "the VM has no definition on disk", given: func(s *situation) { s.vm().Persistent = false }},
		{code: ManagedSave, when: "the VM's memory was saved", given: func(s *situation) { s.vm().ManagedSave = true }},
		{code: Snapshots, when: "the VM has a snapshot", given: func(s *situation) { s.vm().Snapshots = 1 }},
		{code: Checkpoints, when: "the VM has a checkpoint", given: func(s *situation) { s.vm().Checkpoints = 2 }},
		{code: NoDisk, when: "the VM has a cdrom only", given: func(s *situation) { s.define(0, "", cdrom) }},
		{code: NoDisk, when: "the only disk is read-only", given: func(s *situation) { s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "<readonly/>")) }},
		{code: NotMovable, when: "a disk is shareable", given: func(s *situation) { s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "<shareable/>")) }},
		{code: NotMovable, when: "a disk is of a format that can't be read", given: func(s *situation) {
			s.define(0, "", strings.Replace(rawDisk("vda", "/srv/imap.qed", ""), "type='raw'", "type='qed'", 1))
		}},
		{code: SourceImage, when: "an image can't be read as one", given: func(s *situation) {
			s.disk("vda", func(d *DiskFacts) { d.Err = &image.Error{Path: "/srv/imap.qcow2", Reason: "is no qcow2 image"} })
		}},
		{code: SourceImage, when: "an image has snapshots inside", given: func(s *situation) {
			s.imageDisk(func(d *DiskFacts) { d.Chain[0].Snapshots = 2 })
		}},
		{code: SourceImage, when: "an image's backing file is elsewhere", given: func(s *situation) {
			s.imageDisk(func(d *DiskFacts) { d.Chain[1].Path = "/etc/shadow" })
		}},
		{code: SourceBusy, when: "an image stands on a device that is mounted", given: func(s *situation) {
			s.imageDisk(func(d *DiskFacts) { d.Files[1].Busy = true })
		}},
		{code: SourceMissing, when: "the source is a volume that is not active", given: func(s *situation) {
			s.disk("vda", func(d *DiskFacts) { d.Err = fs.ErrNotExist })
			s.facts.LVs = []lvm.LV{{VG: "vg0", Name: "imap", Path: "/dev/vg0/imap"}}
		}},
		{code: NotMovable, when: "a disk is on the network", given: func(s *situation) {
			s.define(0, "", `<disk type='network' device='disk'><source protocol='rbd' name='p/i'/><target dev='vda'/></disk>`)
		}},
		{code: NotMovable, also: []Code{XMLRefused}, when: "the UEFI variables are on a block device", given: func(s *situation) {
			s.define(0, `<nvram type='block'><source dev='/dev/vg0/vars'/></nvram>`, rawDisk("vda", "/dev/vg0/imap", ""))
		}},
		{code: AlreadyLUKS, when: "the source holds a LUKS header", given: func(s *situation) { s.disk("vda", func(d *DiskFacts) { d.LUKS = true }) }},
		{code: AlreadyLUKS, when: "QEMU encrypts the disk", given: func(s *situation) {
			s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "<encryption format='luks'><secret type='passphrase' uuid='"+imapUUID+"'/></encryption>"))
		}},
		{code: SourceMissing, when: "the source does not exist", given: func(s *situation) { s.disk("vda", func(d *DiskFacts) { d.Err = fs.ErrNotExist }) }},
		{code: SourceMissing, when: "the source can't be opened", given: func(s *situation) { s.disk("vda", func(d *DiskFacts) { d.Err = fs.ErrPermission }) }},
		{code: SourceMissing, when: "the source is empty", given: func(s *situation) { s.disk("vda", func(d *DiskFacts) { d.Size = 0 }) }},
		{code: SourceShrunk, when: "the source is shorter than its partition table says", given: func(s *situation) {
			s.disk("vda", func(d *DiskFacts) { d.TableEnd = d.Size + 1 })
		}},
		{code: SourceBusy, when: "the host has the source mounted", given: func(s *situation) { s.disk("vda", func(d *DiskFacts) { d.Busy = true }) }},
		{code: SourceInUse, when: "another VM runs on the source", given: func(s *situation) { s.twin().State = hypervisor.Running }},
		{code: VGMissing, when: "the group asked for does not exist", given: func(s *situation) { s.options.VG = "vg9" }},
		{code: VGMissing, when: "the host has no group at all", given: func(s *situation) { s.onFile(); s.facts.VGs = nil }},
		{code: VGUnusable, when: "the group is exported", given: func(s *situation) { s.facts.VGs[0].Exported = true }},
		{code: VGUnusable, when: "the group lacks a disk", given: func(s *situation) { s.facts.VGs[0].Partial = true }},
		{code: VGAmbiguous, when: "two groups have room for an image file", given: func(s *situation) {
			s.onFile()
			s.facts.VGs = append(s.facts.VGs, group("vg1", 4*mib, 2000))
		}},
		{code: VGFull, when: "the source's own group lacks one extent", given: func(s *situation) { s.facts.VGs[0] = group("vg0", 4*mib, 259) }},
		{code: VGFull, when: "the group asked for is full", given: func(s *situation) {
			s.facts.VGs = append(s.facts.VGs, group("vg1", 4*mib, 0))
			s.options.VG = "vg1"
		}},
		{code: VGFull, when: "no group has room for an image file", given: func(s *situation) { s.onFile(); s.facts.VGs[0] = group("vg0", 4*mib, 259) }},
		{code: VGFull, when: "plans before it take the room", given: func(s *situation) { s.taken["vg0"] = 2000 - 259 }},
		{code: VGFull, when: "the disk asked for lacks one extent, though another has room", given: func(s *situation) { s.onPVs("/dev/sdb"); s.facts.VGs[0].PVs[1].FreeExtents = 259 }},
		{code: PVMissing, when: "the disk asked for is another group's", given: func(s *situation) { s.options.VG = "vg0"; s.onPVs("/dev/sdz") }},
		{code: PVMissing, when: "the disk asked for is no group's", given: func(s *situation) { s.onPVs("/dev/sdz") }},
		{code: PVUnusable, when: "nothing may be allocated on the disk asked for", given: func(s *situation) { s.onPVs("/dev/sdb"); s.facts.VGs[0].PVs[1].Allocatable = false }},
		{code: PVUnusable, when: "the disk asked for is missing", given: func(s *situation) { s.onPVs("/dev/sdb"); s.facts.VGs[0].PVs[1].Missing = true }},
		{code: PoolMissing, when: "the thin pool does not exist", given: func(s *situation) { s.options.ThinPool = "pool" }},
		{code: PoolMissing, when: "the thin pool is none", given: func(s *situation) {
			s.options.ThinPool = "pool"
			s.facts.LVs = []lvm.LV{{VG: "vg0", Name: "pool", Type: "linear", Size: 100 * gib}}
		}},
		{code: VGFull, when: "the thin pool is full", given: func(s *situation) { s.pool(100*gib, 99.5) }},
		{code: LVTaken, when: "the volume's name is taken", given: func(s *situation) { s.facts.LVs = []lvm.LV{{VG: "vg0", Name: "imap-vda-luks"}} }},
		{code: LVName, when: "--lv-name is none that LVM takes", given: func(s *situation) { s.options.LV = "-rf" }},
		{code: MapperTaken, when: "the mapping's name is taken", given: func(s *situation) { s.facts.Mappers = []string{"cr_imap_vda"} }},
		{code: CloneTaken, when: "another VM has the clone's name", given: func(s *situation) {
			s.addVM("imap-luks", "11111111-2222-4333-8444-555555555555", rawDisk("vda", "/dev/vg0/other", ""))
		}},
		{code: CloneTaken, when: "--name is the VM's own", given: func(s *situation) { s.options.Clone = "imap" }},
		{code: AlreadyDone, when: "the VM has been migrated", given: func(s *situation) { s.migrated() }},
		{code: JobUnfinished, when: "a job of the VM was interrupted", given: func(s *situation) { s.job(StateInterrupted) }},
		{code: JobUnfinished, when: "a job of the VM is at work", given: func(s *situation) { s.job(StateRunning) }},
		{code: JobUnfinished, when: "a rollback of the VM did not finish", given: func(s *situation) { s.job(StateRollingBack) }},
		{code: XMLRefused, when: "the definition can't be read", given: func(s *situation) { s.vm().XML, s.vm().Err = nil, errors.New("line 1") }},
	})
}

func warnings() []claim {
	return append(layoutWarnings(), []claim{
		{code: WarnMAC, when: "the addresses are kept", given: func(s *situation) { s.options.KeepMAC = true }},
		{code: WarnSkipped, when: "a disk that could move is skipped", given: func(s *situation) { s.second(); s.options.SkipDisks = []string{"vdb"} }},
		{code: WarnSkipped, when: "a disk that can't move is skipped", given: func(s *situation) {
			s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "")+rawDisk("vdb", "/dev/vg0/shared", "<shareable/>"))
			s.options.SkipDisks = []string{"vdb"}
		}},
		{code: WarnDiscards, when: "TRIM is let through", given: func(s *situation) { s.options.AllowDiscards = true }},
		{code: WarnSector, when: "sectors have 4096 bytes", given: func(s *situation) { s.options.LUKS.Sector = 4096 }},
		{code: WarnNetwork, when: "the folder is on another host", given: func(s *situation) {
			s.inFolder(func(f *FolderFacts) { f.Network, f.System = true, "nfs" })
		}},
		{code: WarnHeader, when: "the header is apart", given: func(s *situation) { s.headerIn(func(*FolderFacts) {}) }},
		{code: WarnHeaderPlace, when: "it is on the root file system", also: []Code{WarnHeader}, given: func(s *situation) {
			s.headerIn(func(f *FolderFacts) { f.Root = true })
		}},
		{code: WarnNoName, when: "a device has no name that stays", given: func(s *situation) { s.onDevice(func(n *NamedFacts) { n.Names.Stable = "" }) }},
		{code: WarnNoVerify, when: "nothing is verified", given: func(s *situation) { s.options.Verify = VerifyNone }},
		{code: WarnAutostart, when: "the VM starts with the host", given: func(s *situation) { s.vm().Autostart = true }},
		{code: WarnShared, when: "another VM that is off has the same disk", given: func(s *situation) { s.twin() }},
		{code: WarnXML, when: "the clone keeps what names the original", given: func(s *situation) {
			s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "<source><seclabel model='dac' relabel='no'/></source>")+hostTPM)
		}},
		{code: WarnPlaintext, when: "UEFI variables stay on the host", given: func(s *situation) {
			s.define(0, `<nvram>/srv/nvram/imap_VARS.fd</nvram>`, rawDisk("vda", "/dev/vg0/imap", ""))
			s.vm().Files["/srv/nvram/imap_VARS.fd"] = true
		}},
		{code: WarnPlaintext, when: "TPM state stays on the host", given: func(s *situation) {
			s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "")+softTPM)
			s.vm().Files["/var/lib/libvirt/swtpm/"+imapUUID] = true
		}},
		{code: WarnGuestVG, when: "the disk is a physical volume of the guest's", given: func(s *situation) {
			s.disk("vda", func(d *DiskFacts) { d.PhysicalVolume = true })
		}},
		{code: WarnMixed, when: "a group's disks have sectors of two sizes", given: func(s *situation) {
			s.facts.VGs[0].PVs = []lvm.PV{{Name: "/dev/sda", FreeExtents: 9000, Allocatable: true, Sector: 512}, {Name: "/dev/sdb", Sector: 4096}}
		}},
		{code: WarnFormat, when: "an image that is adopted begins like one of another format", given: func(s *situation) {
			s.vm().Adopted = new(Adopted)
			s.disk("vda", func(d *DiskFacts) { d.Claims = image.VMDK })
		}},
		{code: WarnSourceSmall, when: "the source is no multiple of 4096", given: func(s *situation) { s.disk("vda", func(d *DiskFacts) { d.Size -= 512 }) }},
	}...)
}

const (
	hostTPM = `<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>`
	softTPM = `<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>`
)

// twin adds a VM that has the same disk.
func (s *situation) twin() *DomainFacts {
	return s.addVM("twin", "22222222-2222-4333-8444-555555555555", rawDisk("vdz", "/dev/vg0/imap", ""))
}

// onFile makes the source an image file, which lies in no group.
// onPVs gives vg0 the disks /dev/sda and /dev/sdb with 1000 free extents each,
// and asks for these.
func (s *situation) onPVs(pvs ...string) {
	for i, name := range []string{"/dev/sda", "/dev/sdb"} {
		s.facts.VGs[0].PVs = append(s.facts.VGs[0].PVs, lvm.PV{Name: name, FreeExtents: 1000, Allocatable: true, Major: 8, Minor: 16 * i})
	}
	s.options.PVs = pvs
}

func (s *situation) onFile() { s.disk("vda", func(d *DiskFacts) { d.LV, d.Block = nil, false }) }

// second gives the VM a second disk.
func (s *situation) second() {
	s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "")+rawDisk("vdb", "/srv/data.img", ""))
}

// migrated adds the clone that a job of ours made.
func (s *situation) migrated() {
	edit := domainxml.Edit{
		Name: "imap-luks", UUID: "33333333-2222-4333-8444-555555555555",
		Origin: &domainxml.Origin{Job: "20260101-000000-abcd", Name: "imap", UUID: imapUUID},
	}
	rewritten, err := domainxml.Rewrite(s.vm().Raw, edit)
	if err != nil {
		s.t.Fatal(err)
	}
	clone := s.addVM("imap-luks", edit.UUID)
	clone.Raw = rewritten.XML
	if clone.XML, err = domainxml.Parse(clone.Raw); err != nil {
		s.t.Fatal(err)
	}
}

// pool adds a thin pool that is to be used, so much of which is in use.
func (s *situation) pool(size int64, percent float64) {
	s.options.ThinPool = "pool"
	s.facts.LVs = append(s.facts.LVs, lvm.LV{VG: "vg0", Name: "pool", Type: "thin-pool", Size: size, DataPercent: percent})
}

func (s *situation) job(state State) {
	s.facts.Jobs = append(s.facts.Jobs, JobInfo{ID: "20260101-000000-abcd", State: state, Plan: &Plan{VM: "imap", VMUUID: imapUUID}})
}

func TestNothingIsInTheWayOfAPlainVM(t *testing.T) {
	plan := imap(t).plan()
	if len(plan.Blockers)+len(plan.Warnings) > 0 {
		t.Errorf("found %v and %v", plan.Blockers, plan.Warnings)
	}
}

// withoutRemedy are the blockers that no command removes, and why.
var withoutRemedy = map[Code]string{
	NoDisk:       "there is nothing to be moved",
	AlreadyDone:  "it is done",
	AlreadyLUKS:  "it is done",
	NotMovable:   "vmmigrate can't move such a thing",
	XMLRefused:   "vmmigrate can't rewrite such a thing",
	SourceShrunk: "what was there is gone",
	SourceImage:  "a file that is no image",
}

func TestEachBlockerIsMadeByItsSituationAlone(t *testing.T) {
	for _, c := range blockers() {
		t.Run(string(c.code)+" when "+c.when, func(t *testing.T) {
			s := imap(t)
			c.given(s)
			plan := s.plan()
			if diff := cmp.Diff(set(append(c.also, c.code)...), codes(plan.Blockers)); diff != "" {
				t.Errorf("%s\n%v", diff, plan.Blockers)
			}
			for _, finding := range plan.Blockers {
				if _, none := withoutRemedy[finding.Code]; finding.Remedy == "" && !none {
					t.Errorf("%q says nothing of what removes it", finding.Message)
				}
				if finding.Message == "" || strings.HasSuffix(finding.Message, ".") {
					t.Errorf("%q is no sentence without a full stop", finding.Message)
				}
			}
		})
	}
}

// A disk that stays and an address that stays are seen by the plan and by who
// rewrites the definition; one of the two says so.
func TestWhatIsSharedIsWarnedOfOnce(t *testing.T) {
	s := imap(t)
	s.second()
	s.options.KeepMAC, s.options.SkipDisks = true, []string{"vdb"}
	var said []string
	for _, warning := range s.plan().Warnings {
		said = append(said, string(warning.Code)+" "+warning.Disk)
	}
	if diff := cmp.Diff([]string{"mac-kept ", "disk-skipped vdb"}, said); diff != "" {
		t.Error(diff)
	}
}

func TestEachWarningIsMadeByItsSituationAlone(t *testing.T) {
	for _, c := range warnings() {
		t.Run(string(c.code)+" when "+c.when, func(t *testing.T) {
			s := imap(t)
			c.given(s)
			plan := s.plan()
			if len(plan.Blockers) > 0 {
				t.Errorf("blocked: %v", plan.Blockers)
			}
			if diff := cmp.Diff(set(append(c.also, c.code)...), codes(plan.Warnings)); diff != "" {
				t.Errorf("%s\n%v", diff, plan.Warnings)
			}
		})
	}
}

func TestEveryCodeHasAClaim(t *testing.T) {
	claimed := make(map[Code]bool)
	for _, c := range append(blockers(), warnings()...) {
		claimed[c.code] = true
	}
	for name, code := range constants(t, "findings.go", "Code") {
		if !claimed[Code(code)] {
			t.Errorf("%s (%q) is in no claim of this file", name, code)
		}
	}
}

// constants reads the constants of a string type out of a source file.
func constants(t *testing.T, path, of string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != of {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found[spec.Names[0].Name] = text
		return true
	})
	if len(found) == 0 {
		t.Fatalf("%s has no constants of type %s", path, of)
	}
	return found
}
