package migrate

import (
	"fmt"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// Facts is what a plan is made from: the host as it was found.
type Facts struct {
	Domains []DomainFacts
	VGs     []lvm.VG
	LVs     []lvm.LV
	// Mappers are the names of all device-mapper devices.
	Mappers []string
	// NVRAMs are the paths of the UEFI variables that libvirt has made, of VMs
	// that are and that were.
	NVRAMs []string
	// GuestsShielded is true when udev keeps this host's LVM away from what
	// lies inside the payloads.
	GuestsShielded bool
	// Untaken says of an encryption that was asked for and is not to be had here
	// why; GatherNamed tries it.
	Untaken map[LUKSOptions]string
	// Named are the devices that options name, by the paths they were named
	// by; GatherNamed looks at them.
	Named map[string]NamedFacts
	// Folders are those in which options want files to be made.
	Folders map[string]FolderFacts
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
	// Adopted is there where it is no domain of libvirt's, but made of images.
	Adopted *Adopted
}

// DiskFacts is one disk's source as it was found.
type DiskFacts struct {
	DeviceFacts
	// Chain is how an image is read, and Files are all files of it, its own
	// first; both are empty for a raw disk.
	Chain image.Chain
	Files []DeviceFacts
	// LV is the logical volume it is, nil if it is none.
	LV *lvm.LV
	// Needed is how large an image gets that holds what this one does, in bytes,
	// where options ask for it, and NeededErr why that can't be told.
	Needed    int64
	NeededErr error
	// Writers are who has it open for writing; only of an image to be adopted.
	Writers []Writer
	// Err is why the source can't be read, nil if it can.
	Err error
}

// NamedFacts is a device that an option names, as it was found.
type NamedFacts struct {
	DeviceFacts
	// Names, Signatures and Holders are only looked for where something is to
	// be written: what else it is called, what lies on it, who has it open.
	Names      DeviceNames
	Signatures []luks.Signature
	Holders    []string
	// Err is why it can't be looked at, nil if it can.
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
