package lifecycle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/luks"
)

// Clone is a domain that vmmigrate made, found by its metadata.
type Clone struct {
	hypervisor.Domain
	// Origin is what its metadata tell.
	Origin domainxml.Origin
	// XML is its definition as the next start uses it.
	XML *domainxml.Domain
	// Disks are its encrypted disks, as look found them.
	Disks []Disk
}

// Disk is one encrypted disk of a clone: what the metadata say and what the
// host has.
type Disk struct {
	domainxml.OriginDisk
	// Attached is whether the definition's disk of that target still is the
	// mapping's device, and Discard its driver's discard attribute.
	Attached bool
	Discard  string
	// Mounted is whether the file system that the disk's image lies on is
	// mounted where it should be; of a disk without one it says nothing.
	Mounted bool
	// wasMapped is whether its volume was open before it was unlocked: taking
	// that back leaves it so.
	wasMapped bool
	// Below is where its LUKS volume lies now; without a path it was not
	// found.
	Below Place
	// Header is the volume's, nil if it can't be read.
	Header *luks.Header
	// Mapping is what opens the volume now, under whatever name; nil while it
	// is locked.
	Mapping *luks.Mapping
	// Problem is what keeps the disk from being used, or nil.
	Problem error

	headerProblem error // what is wrong with a header in a file of its own
}

// Found says whether the volume was found.
func (d *Disk) Found() bool { return d.Below.Path != "" }

// Open says whether the disk is unlocked as its domain needs it.
func (d *Disk) Open() bool {
	return d.mapped() && (d.Filesystem == nil || d.Mounted)
}

// mapped says whether its volume is.
func (d *Disk) mapped() bool {
	return d.Mapping != nil && d.Mapping.Name == d.Mapper && !d.Mapping.ReadOnly
}

// Device is the decrypted volume's.
func (d *Disk) Device() string { return "/dev/mapper/" + d.Mapper }

// Where is where the domain looks for the disk: the device, or the image on the
// file system that is on it.
func (d *Disk) Where() string {
	if d.Filesystem != nil {
		return d.Filesystem.Image
	}
	return d.Device()
}

// holds says whether the domain's disk at path is this one. A snapshot beside the
// image is another file of the same disk.
func (d *Disk) holds(path string) bool {
	return path == d.Where() || d.Filesystem != nil && filepath.Dir(path) == d.Filesystem.Mount
}

// Volume names the volume as it is called now, or as the metadata call it:
// VG/LV, or the path of what is no logical volume.
func (d *Disk) Volume() string {
	if d.Found() {
		return d.Below.String()
	}
	return d.OriginDisk.Volume()
}

// Renamed says whether the volume is called otherwise than in the metadata.
func (d *Disk) Renamed() bool { return d.Found() && d.Volume() != d.OriginDisk.Volume() }

// Tag is the LVM tag that the clone's volumes bear.
func (c *Clone) Tag() string { return tagPrefix + c.Origin.Job }

// tagPrefix is how the tag of every volume that a job makes begins.
const tagPrefix = "vmmigrate.job="

// All are the clones of this host, by name, without having looked at their
// disks.
func (m *Manager) All(ctx context.Context) ([]*Clone, error) {
	domains, err := m.Hypervisor.Domains(ctx)
	if err != nil {
		return nil, err
	}
	return m.clones(ctx, domains)
}

func (m *Manager) clones(ctx context.Context, domains []hypervisor.Domain) ([]*Clone, error) {
	var all []*Clone
	for _, domain := range domains {
		clone, err := m.clone(ctx, domain)
		if isGone(err) {
			continue // undefined since the list was made
		}
		if err != nil {
			return nil, err
		}
		if clone != nil {
			all = append(all, clone)
		}
	}
	return all, nil
}

// clone reads a domain's metadata; it is nil for one that is no clone.
func (m *Manager) clone(ctx context.Context, domain hypervisor.Domain) (*Clone, error) {
	text, err := m.Hypervisor.XML(ctx, domain.UUID)
	if err != nil {
		return nil, err
	}
	parsed, err := domainxml.Parse(text)
	if err != nil {
		return nil, nil //nolint:nilerr // what can't be read as a QEMU domain is no clone of ours
	}
	origin, ok := parsed.Origin()
	if !ok {
		return nil, nil
	}
	clone := &Clone{Domain: domain, Origin: origin, XML: parsed}
	for _, disk := range origin.Disks {
		d := Disk{OriginDisk: disk}
		if has, err := parsed.Disk(disk.Target); err == nil {
			d.Attached, d.Discard = d.holds(has.Path), has.Discard
		}
		clone.Disks = append(clone.Disks, d)
	}
	return clone, nil
}

// Find is the clone of that name, without having looked at its disks. It
// returns an *UnknownCloneError when there is none.
func (m *Manager) Find(ctx context.Context, name string) (*Clone, error) {
	domains, err := m.Hypervisor.Domains(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(domains, func(d hypervisor.Domain) bool { return d.Name == name })
	if i >= 0 {
		clone, err := m.clone(ctx, domains[i])
		if clone != nil || err != nil && !isGone(err) {
			return clone, err
		}
	}
	return nil, m.unknown(ctx, name, i >= 0, domains)
}

// unknown says as much as can be known of a name that is no clone's.
func (m *Manager) unknown(ctx context.Context, name string, defined bool, domains []hypervisor.Domain) error {
	clones, err := m.clones(ctx, domains)
	if err != nil {
		return err
	}
	unknown := &UnknownCloneError{Name: name, Defined: defined}
	for _, clone := range clones {
		unknown.Known = append(unknown.Known, clone.Name)
		if clone.Origin.Name == name || clone.Origin.Cutover != nil && clone.Origin.Cutover.Name == name {
			unknown.Clones = append(unknown.Clones, clone.Name)
		}
	}
	if !defined {
		// It helps, and what is wrong is known without it.
		unknown.Orphans, _ = m.orphans(ctx, clones)
	}
	return unknown
}

// Orphan is an encrypted volume of ours that no domain's metadata name: its
// clone was undefined behind our back, or its job is not done.
type Orphan struct {
	// VG and LV name the volume, and Job is the one that made it.
	VG  string `json:"vg"`
	LV  string `json:"lv"`
	Job string `json:"job"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// Definition is the file in the state directory that brings the clone back,
	// with virsh define; not there where none was kept.
	Definition string `json:"definition,omitempty"`
}

// orphans are the volumes with a job's tag that no clone claims.
func (m *Manager) orphans(ctx context.Context, clones []*Clone) ([]Orphan, error) {
	lvs, err := m.Volumes.LVs(ctx)
	if err != nil {
		return nil, err
	}
	claimed := make(map[string]bool)
	for _, clone := range clones {
		claimed[clone.Tag()] = true
	}
	var found []Orphan
	for _, lv := range lvs {
		for _, tag := range lv.Tags {
			if job, ours := strings.CutPrefix(tag, tagPrefix); ours && !claimed[tag] {
				found = append(found, Orphan{VG: lv.VG, LV: lv.Name, Job: job, Size: lv.Size, Definition: m.definition(job)})
			}
		}
	}
	return found, nil
}

// definition is the file in which a job has kept its clone's definition, or "".
func (m *Manager) definition(job string) string {
	path := filepath.Join(m.StateDir, "jobs", filepath.Base(job), "clone.xml")
	if _, err := os.Stat(path); m.StateDir == "" || err != nil {
		return ""
	}
	return path
}

func isGone(err error) bool {
	var gone *hypervisor.NotFoundError
	return errors.As(err, &gone)
}
