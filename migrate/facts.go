package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// Facts is what a plan is made from: the host as it was found.
type Facts struct {
	Domains []DomainFacts
	VGs     []lvm.VG
	LVs     []lvm.LV
	// Mappers are the names of all device-mapper devices.
	Mappers []string
	// GuestsShielded is true when udev keeps this host's LVM away from what
	// lies inside the payloads.
	GuestsShielded bool
	// Jobs are the jobs in the state directory.
	Jobs []JobInfo
}

// ruleName is the udev rule in packaging/udev that shields guests, and
// ruleFolders are where udev takes rules from (udev(7)).
const ruleName = "57-vmmigrate.rules"

var ruleFolders = [...]string{"/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"}

// DomainFacts is one domain as it was found.
type DomainFacts struct {
	hypervisor.Domain
	// Raw is its definition without passwords, and XML what it says.
	Raw []byte
	XML *domainxml.Domain
	// Err is why the definition can't be read, nil if it can.
	Err error
	// Disks are the disks with a source on this host, by target.
	Disks map[string]DiskFacts
	// Files tells of the paths of firmware state whether they exist.
	Files map[string]bool
}

// DiskFacts is one disk's source as it was found.
type DiskFacts struct {
	DeviceFacts
	// LUKS is true when the source holds a LUKS header already.
	LUKS bool
	// LV is the logical volume it is, nil if it is none.
	LV *lvm.LV
	// Err is why the source can't be read, nil if it can.
	Err error
}

// UnknownVMError says that no domain has that name.
type UnknownVMError struct {
	// Name is what was asked for.
	Name string
	// Known are the names of all domains.
	Known []string
}

func (e *UnknownVMError) Error() string { return fmt.Sprintf("there is no VM named %q", e.Name) }

// Gather looks at the host and changes nothing. Every domain is looked at, also
// those that are not to be migrated: they matter where they share a disk or a
// name.
func (e *Env) Gather(ctx context.Context) (*Facts, error) {
	facts := new(Facts)
	domains, err := e.Hypervisor.Domains(ctx)
	if err != nil {
		return nil, err
	}
	if facts.VGs, err = e.Volumes.VGs(ctx); err != nil {
		return nil, err
	}
	if facts.LVs, err = e.Volumes.LVs(ctx); err != nil {
		return nil, err
	}
	if facts.Mappers, err = e.Devices.MapperNames(ctx); err != nil {
		return nil, fmt.Errorf("list the device-mapper devices: %w", err)
	}
	if facts.Jobs, err = e.Store.Jobs(); err != nil {
		return nil, err
	}
	for _, folder := range ruleFolders {
		there, err := e.Devices.Exists(ctx, folder+"/"+ruleName)
		if err != nil {
			return nil, err
		}
		facts.GuestsShielded = facts.GuestsShielded || there
	}
	lvByID := make(map[string]*lvm.LV)
	for i := range facts.LVs {
		lv := &facts.LVs[i]
		if !lv.Active || lv.Path == "" {
			continue
		}
		if device, err := e.Devices.Inspect(ctx, lv.Path); err == nil {
			lvByID[device.ID] = lv
		}
	}
	for _, domain := range domains {
		d, err := e.gatherDomain(ctx, domain, lvByID)
		if err != nil {
			return nil, err
		}
		facts.Domains = append(facts.Domains, d)
	}
	return facts, nil
}

func (e *Env) gatherDomain(ctx context.Context, domain hypervisor.Domain, lvByID map[string]*lvm.LV) (DomainFacts, error) {
	d := DomainFacts{Domain: domain, Disks: make(map[string]DiskFacts)}
	raw, err := e.Hypervisor.LiveXML(ctx, domain.UUID)
	var gone *hypervisor.NotFoundError
	if errors.As(err, &gone) {
		d.Err = err // it was undefined while we looked
		return d, nil
	}
	if err != nil {
		return d, err
	}
	d.Raw = raw
	if d.XML, d.Err = domainxml.Parse(raw); d.Err != nil {
		return d, nil // one domain that can't be read must not hide the others
	}
	if d.Files, err = e.firmwareFiles(ctx, domain.UUID, d.XML); err != nil {
		return d, err
	}
	for _, disk := range d.XML.Disks() {
		facts, found, err := e.gatherDisk(ctx, disk)
		if err != nil {
			return d, err
		}
		if !found {
			continue
		}
		if lv := lvByID[facts.ID]; lv != nil && facts.Err == nil {
			facts.LV = lv
		}
		d.Disks[disk.Target] = facts
	}
	return d, nil
}

// gatherDisk looks at a disk's source; found is false for one without a path
// on this host.
func (e *Env) gatherDisk(ctx context.Context, disk domainxml.Disk) (facts DiskFacts, found bool, err error) {
	path := disk.Path
	if disk.SourceType == "volume" {
		path, err = e.Hypervisor.VolumePath(ctx, disk.Pool, disk.Volume)
		if err != nil {
			var timeout *hypervisor.TimeoutError
			if errors.As(err, &timeout) {
				return facts, false, err
			}
			return DiskFacts{Err: err}, true, nil
		}
	}
	if path == "" {
		return facts, false, nil
	}
	facts.DeviceFacts, facts.Err = e.Devices.Inspect(ctx, path)
	if facts.Err != nil {
		facts.Path = path
		return facts, true, nil
	}
	if disk.Kind == domainxml.Move {
		if facts.LUKS, err = e.Encryption.IsLUKS(ctx, facts.Resolved); err != nil {
			return facts, false, err
		}
	}
	return facts, true, nil
}

// domain returns the facts of the domain called name, or an *UnknownVMError.
func (f *Facts) domain(name string) (*DomainFacts, error) {
	for i := range f.Domains {
		if f.Domains[i].Name == name {
			return &f.Domains[i], nil
		}
	}
	return nil, &UnknownVMError{Name: name, Known: f.names()}
}

func (f *Facts) names() []string {
	names := make([]string, len(f.Domains))
	for i, d := range f.Domains {
		names[i] = d.Name
	}
	return names
}

func (f *Facts) vg(name string) *lvm.VG {
	for i := range f.VGs {
		if f.VGs[i].Name == name {
			return &f.VGs[i]
		}
	}
	return nil
}

func (f *Facts) lv(vg, name string) *lvm.LV {
	for i := range f.LVs {
		if f.LVs[i].VG == vg && f.LVs[i].Name == name {
			return &f.LVs[i]
		}
	}
	return nil
}
