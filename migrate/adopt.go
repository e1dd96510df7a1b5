package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/virtinstall"
)

// An adoption makes a VM of disk images that belong to none, as they are left by
// a P2V. To the pipeline it is a VM like any other whose domain is off, but for
// one thing: the domain's definition is in the plan and nowhere else. So a
// resumed job goes by the record, and nobody looks for the original in libvirt.

// Adoption is what was chosen for images that become a VM.
type Adoption struct {
	// Name is the VM's.
	Name string
	// Disks are the paths of the images, absolute, in the order of its disks.
	Disks []string
	// Format is what all of them are. It is never found by looking; "" is raw.
	Format image.Format
	// TemplateFile names a domain's definition whose disks are replaced by the
	// images, and Template is what it holds. Without one virt-install drafts a
	// Machine.
	TemplateFile string
	Template     []byte
	Machine      virtinstall.Machine
}

// Adopted is what a plan says of a VM that is made from images.
type Adopted struct {
	// Definition is that of the VM with the plain images as its disks. No
	// domain has it.
	Definition string `json:"definition"`
	// From says in words where the definition comes from.
	From string `json:"from"`
	// FormatAssumed is true where no format was given, so that it is raw.
	FormatAssumed bool `json:"format_assumed,omitempty"`
}

// Drafts is what an adoption without a template needs; *virtinstall.Client is
// the real one.
type Drafts interface {
	// Draft is the definition of a VM with so many disks, whose sources are
	// placeholders.
	Draft(ctx context.Context, name string, disks int, machine virtinstall.Machine) ([]byte, error)
}

// TemplateError says that a definition can't serve an adoption.
type TemplateError struct {
	// From says in words where it comes from.
	From string
	// Err is what is wrong with it.
	Err error
}

func (e *TemplateError) Error() string { return fmt.Sprintf("%s can't be used: %v", e.From, e.Err) }

// Unwrap returns what is wrong with it.
func (e *TemplateError) Unwrap() error { return e.Err }

// GatherAdoption looks at images and makes the definition that they would have.
// It changes nothing. It returns an *OptionError for an image that is given
// twice, a *TemplateError, and what Drafts return.
func (e *Env) GatherAdoption(ctx context.Context, facts *Facts, adoption Adoption) (*DomainFacts, error) {
	drawn, err := uuid.NewRandomFromReader(e.Random)
	if err != nil {
		return nil, fmt.Errorf("draw a UUID: %w", err)
	}
	format := adoption.Format
	if format == "" {
		format = image.Raw
	}
	ids := make(map[string]string)
	var images []domainxml.Image
	for _, path := range adoption.Disks {
		// What is wrong with it is told by its disk.
		found, _ := within(ctx, "look at "+path, func() (DeviceFacts, error) { return e.Devices.Inspect(ctx, path) })
		if found.ID == "" {
			found.ID = path
		}
		if other := ids[found.ID]; other != "" {
			return nil, &OptionError{"--disk", fmt.Sprintf("%s and %s are the same disk", other, path)}
		}
		ids[found.ID] = path
		images = append(images, domainxml.Image{Path: path, Block: found.Block, Format: string(format)})
	}
	adopted := &Adopted{From: "the template " + adoption.TemplateFile, FormatAssumed: adoption.Format == ""}
	text := adoption.Template
	if adoption.TemplateFile == "" {
		adopted.From = "virt-install: " + adoption.Machine.String()
		if text, err = e.Drafts.Draft(ctx, adoption.Name, len(images), adoption.Machine); err != nil {
			return nil, err
		}
	}
	made, err := domainxml.WithImages(text, images)
	if err != nil {
		return nil, &TemplateError{From: adopted.From, Err: err}
	}
	adopted.Definition = string(made.XML)
	vm := &DomainFacts{
		Domain: hypervisor.Domain{Name: adoption.Name, UUID: drawn.String(), State: hypervisor.ShutOff, Persistent: true},
		Raw:    made.XML, Disks: make(map[string]DiskFacts), Adopted: adopted,
	}
	if vm.XML, err = domainxml.Parse(made.XML); err != nil {
		return nil, &TemplateError{From: adopted.From, Err: err}
	}
	if err := e.gatherDisks(ctx, vm, nil, newVolumeIndex(facts.LVs)); err != nil {
		return nil, err
	}
	for target, disk := range vm.Disks {
		if disk.Err == nil {
			disk.Writers, disk.Err = e.writers(ctx, disk)
			vm.Disks[target] = disk
		}
	}
	return vm, nil
}

// writers are who has a disk, or a file of its image, open for writing.
func (e *Env) writers(ctx context.Context, disk DiskFacts) ([]Writer, error) {
	var all []Writer
	paths := []string{disk.Path}
	for _, file := range disk.Files {
		paths = append(paths, file.Path)
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		some, err := e.Devices.Writers(ctx, path)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// Adopt plans what GatherAdoption looked at, as Decide plans a domain.
func (d *Decider) Adopt(vm *DomainFacts, options Options) (*Plan, error) {
	options.Clone = vm.Name
	return d.decide(vm, options)
}

// Formats are what an image that is adopted may be.
func Formats() []image.Format {
	return []image.Format{image.Raw, image.QCOW2, image.VMDK, image.VDI}
}

// isFrom says whether a clone was made of the plan's images.
func (p *Plan) isFrom(origin domainxml.Origin) bool {
	if p.Adopted == nil || !origin.Adopted() || len(origin.Disks) != len(p.Disks) || len(p.Disks) == 0 {
		return false
	}
	for i, disk := range p.Disks {
		if origin.Disks[i].Source != disk.Source.Path || origin.Disks[i].SourceID != disk.Source.ID {
			return false
		}
	}
	return true
}

// moveInstead is the command that moves another VM whose image is adopted.
func (p *Plan) moveInstead(vm string) string {
	if p.Adopted == nil {
		return ""
	}
	return "to move that VM: " + command.Quote([]string{"vmmigrate", "run", "--vm", vm})
}

// judgeAdoption blocks an adoption that another job is at.
func (d *Decider) judgeAdoption(plan *Plan, vm *DomainFacts) {
	for _, job := range d.Facts.Jobs {
		if job.Plan == nil || job.Plan.Adopted == nil || job.Plan.VM != vm.Name || job.State == StateDone {
			continue
		}
		plan.block(JobUnfinished, "", "vmmigrate resume "+job.ID+", or vmmigrate rollback "+job.ID,
			"job %s, which makes a VM of that name, is unfinished (%s)", job.ID, job.State)
	}
}

// judgeImage blocks an image that somebody writes to, and warns of one that may
// not be what it is taken for.
func (d *Decider) judgeImage(plan *Plan, target string, facts DiskFacts) {
	if len(facts.Writers) > 0 {
		names := make([]string, len(facts.Writers))
		for i, writer := range facts.Writers {
			names[i] = writer.String()
		}
		plan.block(SourceInUse, target, "end it first, so that the image stays as it is", "the source of %s is open for writing: %s, by %s", target, facts.Path, strings.Join(names, ", "))
	}
	if plan.Adopted != nil && facts.Claims != "" && len(facts.Chain) == 0 {
		remedy := "if it is one, say --format " + string(facts.Claims)
		if !slices.Contains(Formats(), facts.Claims) {
			remedy = "if it is one, make another of it with qemu-img convert"
		}
		plan.warn(WarnFormat, target, remedy+"; a guest can write such a beginning into a raw disk, so it is not believed",
			"%s begins like an image of the format %s, and is taken for raw: the guest will see that header and not what it describes", facts.Path, facts.Claims)
	}
}

// adoptedAtRest checks that nobody uses an adopted image.
func (e *Env) adoptedAtRest(ctx context.Context, plan *Plan) error {
	for i := range plan.Disks {
		disk := &plan.Disks[i]
		for _, path := range disk.Source.paths() {
			writers, err := e.Devices.Writers(ctx, path)
			if errors.Is(err, os.ErrNotExist) {
				continue // sourceUnchanged tells
			}
			if err != nil {
				return err
			}
			if len(writers) > 0 {
				return &SourceWrittenError{Disk: disk.Target, Path: path, By: writers}
			}
		}
	}
	return (&Job{Env: e, Plan: plan}).sourcesAtRest(ctx)
}

// SourceWrittenError says that somebody has the source open for writing.
type SourceWrittenError struct {
	// Disk is the target, and Path the file that is written to.
	Disk, Path string
	// By is who has it open, one or more.
	By []Writer
}

func (e *SourceWrittenError) Error() string {
	return fmt.Sprintf("the source of %s is open for writing: %s, by %s", e.Disk, e.Path, e.By[0])
}
