package succession

import (
	"context"
	"io"
	"time"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// Hypervisor is what is needed of libvirt; *hypervisor.Conn is the real one.
type Hypervisor interface {
	Domains(ctx context.Context) ([]hypervisor.Domain, error)
	// Domain and DomainByUUID return a *hypervisor.NotFoundError when there is
	// none.
	Domain(ctx context.Context, name string) (hypervisor.Domain, error)
	DomainByUUID(ctx context.Context, uuid string) (hypervisor.Domain, error)
	XML(ctx context.Context, uuid string) ([]byte, error)
	LiveXML(ctx context.Context, uuid string) ([]byte, error)
	// Define refuses to replace a domain, and Redefine to make a new one.
	Define(ctx context.Context, definition []byte) (hypervisor.Domain, error)
	Redefine(ctx context.Context, definition []byte) (hypervisor.Domain, error)
	Undefine(ctx context.Context, uuid string) error
	SetAutostart(ctx context.Context, uuid string, on bool) error
	// Purge is Undefine that removes a managed save image too.
	Purge(ctx context.Context, uuid string) error
	VolumePath(ctx context.Context, pool, volume string) (string, error)
}

// Clones finds clones; *lifecycle.Manager is the real one.
type Clones interface {
	Find(ctx context.Context, name string) (*lifecycle.Clone, error)
	All(ctx context.Context) ([]*lifecycle.Clone, error)
	// Examine looks at the volumes of a clone's disks and changes nothing.
	Examine(ctx context.Context, clone *lifecycle.Clone) error
	// CheckHeaders holds the newest header backups against the volumes', and
	// TestKey says which slots the key unlocks.
	CheckHeaders(ctx context.Context, name, file string) ([]lifecycle.HeaderCheck, error)
	TestKey(ctx context.Context, name string) ([]lifecycle.KeySlot, error)
	// SetOrigin replaces what a clone's metadata tell of its original.
	SetOrigin(ctx context.Context, uuid string, origin domainxml.Origin) error
}

// Volumes is what a retirement needs of LVM; *lvm.Client is the real one.
type Volumes interface {
	VGs(ctx context.Context) ([]lvm.VG, error)
	LVs(ctx context.Context) ([]lvm.LV, error)
	// On are the volume groups with a disk on device.
	On(ctx context.Context, device string) ([]lvm.VG, error)
	Activate(ctx context.Context, vg, name string) error
	// RemoveExactly removes the volume of that UUID if it still has that name
	// and size.
	RemoveExactly(ctx context.Context, vg, name, uuid string, size int64) error
}

// Plain looks at plain disks; Host is the real one.
type Plain interface {
	// Look returns fs.ErrNotExist where there is no such disk.
	Look(ctx context.Context, path string) (PlainFacts, error)
}

// Env is the world. Its fields are set before it is used.
type Env struct {
	Hypervisor Hypervisor
	Clones     Clones
	Store      migrate.Store
	// TPMDir is where libvirt's QEMU driver keeps the state of TPM emulators,
	// a folder for each named after the domain's UUID; "" is the usual one.
	TPMDir   string
	Reporter migrate.Reporter

	// What follows is for retirements alone. Holders says in words who has a
	// device or file open, and Chain names the other files of an image with its
	// format, which is never looked for.
	Volumes Volumes
	Plain   Plain
	Holders func(path string) ([]string, error)
	Chain   func(ctx context.Context, path, format string) (ImageFiles, error)
	// Version is vmmigrate's own, for the record.
	Version string

	// Random is where UUIDs and hardware addresses come from.
	Random io.Reader
	Now    func() time.Time
}

// swtpmDir is docs/formatdomain.rst's, "TPM device".
const swtpmDir = "/var/lib/libvirt/swtpm"

func (e *Env) tpmDir() string {
	if e.TPMDir == "" {
		return swtpmDir
	}
	return e.TPMDir
}
