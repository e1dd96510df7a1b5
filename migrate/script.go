package migrate

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// Call is one act of a job as it will be asked for: a program that is run, a
// request to libvirt, or what vmmigrate does by itself.
type Call struct {
	// Step is where in the job it is made.
	Step StepName `json:"step"`
	// Disk is the target that it is about, or empty.
	Disk string `json:"disk,omitempty"`
	// Argv is the program and its arguments; nil for the other two.
	Argv []string `json:"argv,omitempty"`
	// Secrets names what the program reads, on standard input first and then
	// on file descriptor 3; the secrets themselves are not in here.
	Secrets []string `json:"secrets,omitempty"`
	// Libvirt is the request, in the name of libvirt's own function.
	Libvirt string `json:"libvirt,omitempty"`
	// Itself says what vmmigrate does without any of them.
	Itself string `json:"itself,omitempty"`
}

// Rehearse checks a plan as a run does right before it begins, and returns the
// calls that the run would make that change anything, in order. It changes
// nothing. Ids and UUIDs are the plan's; another plan draws others. The errors
// are those that Run returns before anything is changed.
//
// The argument vectors come from the functions that lvm and luks run. What is
// not in them: calls that only look, the probe of dm-crypt's work queues
// (--perf-probe), and --keyfile-size, which goes with a key of 64 KiB or more.
func (e *Engine) Rehearse(ctx context.Context, plan *Plan) ([]Call, error) {
	if len(plan.Blockers) > 0 {
		return nil, &BlockedError{VM: plan.VM, Adopted: plan.Adopted != nil, Blockers: plan.Blockers}
	}
	if err := e.Env.preflight(ctx, plan, nil); err != nil {
		return nil, &StepError{Job: plan.Job, VM: plan.VM, Step: Preflight, Aftermath: Refused, Err: err}
	}
	groups, err := e.Env.Volumes.VGs(ctx)
	if err != nil {
		return nil, err
	}
	extents := make(map[string]int64)
	for _, vg := range groups {
		extents[vg.Name] = vg.ExtentSize
	}
	return (&script{plan: plan, store: e.Env.Store, extents: extents}).calls()
}

// script unfolds a plan into calls.
type script struct {
	plan    *Plan
	store   Store
	extents map[string]int64 // the size of each group's
	all     []Call
	err     error
}

// secret stands for the key in a call.
const secret = "the key"

func (s *script) calls() ([]Call, error) {
	for _, a := range acts(s.plan) {
		s.act(a)
	}
	if s.plan.Options.Start {
		s.all = append(s.all, Call{Step: Close, Libvirt: fmt.Sprintf("virDomainCreate(%q)", s.plan.Clone.Name)})
	}
	return s.all, s.err
}

func (s *script) add(a act, call Call) {
	call.Step, call.Disk = a.step.Name(), key(a.step.Name(), a.disk).disk
	s.all = append(s.all, call)
}

func (s *script) run(a act, cmd command.Cmd, secrets ...string) {
	s.add(a, Call{Argv: append([]string{cmd.Name}, cmd.Args...), Secrets: secrets})
}

func (s *script) act(a act) {
	plan, disk := s.plan, a.disk
	switch a.step.Name() {
	case CreateVolume:
		if disk.Volume.Kind == OnDevice {
			s.add(a, Call{Itself: fmt.Sprintf("see that %s is blank still", disk.Volume.what())})
			return
		}
		if disk.Volume.Kind == OnFile {
			s.add(a, Call{Itself: fmt.Sprintf("make the file %s of %s, all of it allocated", disk.Volume.Path, humanize.IBytes(uint64(disk.Volume.Size)))})
			return
		}
		cmd, err := lvm.CreateCommand(plan.volumeSpec(disk), s.extents[disk.Volume.VG])
		if err != nil && s.err == nil {
			s.err = err
		}
		s.run(a, cmd)
	case Format:
		if disk.HeaderFile != "" {
			s.add(a, Call{Itself: fmt.Sprintf("make the file %s of %s", plan.headerPart(disk), humanize.IBytes(uint64(disk.Header)))})
		}
		s.run(a, luks.FormatCommand(plan.formatSpec(disk), luks.Key{}), secret)
		if disk.HeaderFile != "" {
			s.add(a, Call{Itself: fmt.Sprintf("name the file %s, where there is none of that name", disk.HeaderFile)})
		}
	case Open:
		for i, options := range plan.openings(disk, plan.Options.Perf) {
			if i > 0 {
				s.run(a, luks.CloseCommand(disk.Mapper))
			}
			s.run(a, luks.OpenCommand(disk.Volume.Path, disk.Mapper, luks.Key{}, options), secret)
		}
	case MakeFilesystem:
		s.run(a, filesystem.MakeCommand(disk.fsSpec()))
	case Mount:
		s.add(a, Call{Itself: fmt.Sprintf("make the folder %s and mount %s there, nosuid, nodev and noexec", disk.Filesystem.Mount, disk.Device)})
	case CreateImage:
		s.run(a, image.CreateCommand(disk.Filesystem.Image, disk.imageSpec()))
	case Copy:
		s.add(a, Call{Itself: fmt.Sprintf("copy %s from %s to %s", humanize.IBytes(uint64(disk.Bytes())), disk.Source.Path, disk.Where())})
	case Verify:
		if plan.Options.Verify != VerifyNone {
			s.add(a, Call{Itself: fmt.Sprintf("read %s back and compare (%s)", disk.Where(), plan.Options.Verify)})
		}
	case HeaderBackup:
		for i := range plan.Disks {
			s.run(a, luks.HeaderBackupCommand(plan.Disks[i].headerAt(), headerFile(s.store.jobDir(plan.Job), &plan.Disks[i])))
		}
	case Firmware:
		for _, file := range plan.Firmware.Files {
			s.add(a, Call{Itself: fmt.Sprintf("copy the %s from %s to %s", file.What, file.From, file.To)})
		}
	case Define:
		s.add(a, Call{Libvirt: fmt.Sprintf("virDomainDefineXMLFlags(the definition of %q, VIR_DOMAIN_DEFINE_VALIDATE)", plan.Clone.Name)})
		if plan.Options.Autostart {
			s.add(a, Call{Libvirt: fmt.Sprintf("virDomainSetAutostart(%q, 1)", plan.Clone.Name)})
		}
	case RecoveryKey:
		for i := range plan.Disks {
			s.run(a, luks.AddKeyCommand(plan.Disks[i].headerAt(), luks.Key{}, luks.Key{}, recoverySlot()), secret, "the recovery key")
		}
	case Close:
		for i := range plan.Disks {
			if f := plan.Disks[i].Filesystem; f != nil {
				s.add(a, Call{Itself: "unmount " + f.Mount})
			}
			s.run(a, luks.CloseCommand(plan.Disks[i].Mapper))
		}
	case Preflight:
	}
}

// volumeSpec is the volume to make for a disk.
func (p *Plan) volumeSpec(disk *DiskPlan) lvm.Spec {
	tags := []string{p.Tag()}
	if disk.HeaderFile != "" {
		tags = append(tags, luksTag+disk.LUKSUUID)
	}
	return lvm.Spec{
		VG: disk.Volume.VG, Name: disk.Volume.Name, Size: disk.Volume.Size,
		Type: lvm.Type(disk.Volume.Type), ThinPool: disk.Volume.Pool, PVs: disk.Volume.PVs, Tags: tags,
	}
}

// formatSpec is the LUKS header to write for a disk.
func (p *Plan) formatSpec(disk *DiskPlan) luks.FormatSpec {
	spec := p.Options.LUKS.spec()
	spec.Device, spec.UUID, spec.Offset = disk.Volume.Path, disk.LUKSUUID, disk.Offset
	if disk.HeaderFile != "" {
		spec.Header = p.headerPart(disk)
	}
	return spec
}

// spec is what cryptsetup is told of the encryption, without a device.
func (o LUKSOptions) spec() luks.FormatSpec {
	return luks.FormatSpec{
		Type: o.Type, Cipher: o.Cipher, KeySize: o.KeySize, Hash: o.Hash, SectorSize: int64(o.Sector),
		PBKDF: o.PBKDF, PBKDFMemory: o.PBKDFMemory, PBKDFForceIterations: o.PBKDFIterations, IterTime: o.IterTime,
	}
}

// openOptions are the flags of a mapping, with what was chosen or measured of
// dm-crypt's own.
func (p *Plan) openOptions(disk *DiskPlan, perf PerfOptions) luks.OpenOptions {
	return luks.OpenOptions{
		Header:          disk.HeaderFile,
		AllowDiscards:   p.Options.AllowDiscards,
		NoReadWorkqueue: perf.NoReadWorkqueue, NoWriteWorkqueue: perf.NoWriteWorkqueue, SameCPUCrypt: perf.SameCPUCrypt,
	}
}

// openings are how a mapping is opened for the first time, one way after the
// other. That discards pass is to hold for good; flags that only speed the copy up
// are not, and cryptsetup writes all of an opening's into the header or none
// (cryptsetup-open(8), --persistent).
func (p *Plan) openings(disk *DiskPlan, perf PerfOptions) []luks.OpenOptions {
	options := p.openOptions(disk, perf)
	if !options.AllowDiscards || p.Options.LUKS.Type == luks.LUKS1 {
		return []luks.OpenOptions{options}
	}
	lasting := p.openOptions(disk, PerfOptions{})
	same := options == lasting
	lasting.Persistent = true
	if same {
		return []luks.OpenOptions{lasting}
	}
	return []luks.OpenOptions{lasting, options}
}
