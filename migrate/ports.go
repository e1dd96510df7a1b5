package migrate

import (
	"context"
	"io"
	"time"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// Volumes is what the pipeline needs of LVM; *lvm.Client is the real one.
type Volumes interface {
	VGs(ctx context.Context) ([]lvm.VG, error)
	LVs(ctx context.Context) ([]lvm.LV, error)
	// LV returns a *lvm.NotFoundError for a volume that does not exist.
	LV(ctx context.Context, vg, name string) (lvm.LV, error)
	Create(ctx context.Context, spec lvm.Spec) (lvm.LV, error)
	// Remove removes the volume only if it bears tag.
	Remove(ctx context.Context, vg, name, tag string) error
	// Activate makes the volume's device appear.
	Activate(ctx context.Context, vg, name string) error
	// Deactivate deactivates the volume groups that lie on device, as a
	// guest's own do, and names them.
	Deactivate(ctx context.Context, device string) ([]string, error)
}

// Encryption is what the pipeline needs of LUKS; *luks.Client is the real one.
type Encryption interface {
	Header(ctx context.Context, device string) (luks.Header, error)
	Format(ctx context.Context, spec luks.FormatSpec, key luks.Key) (luks.Header, error)
	// Try returns a *luks.RefusedError for an encryption that is not to be had
	// here, and touches no device.
	Try(ctx context.Context, spec luks.FormatSpec) error
	Open(ctx context.Context, device, mapper string, key luks.Key, options luks.OpenOptions) error
	Close(ctx context.Context, mapper string) error
	// TestKey returns a *luks.WrongKeyError for a key that does not unlock the
	// volume on device, and opens nothing.
	TestKey(ctx context.Context, device string, key luks.Key) error
	// Mapping returns a *luks.NotFoundError where there is none of that name.
	Mapping(ctx context.Context, mapper string) (luks.Mapping, error)
	HeaderBackup(ctx context.Context, device, file string) error
	// Signatures are the marks of whatever lies on a device; a blank one has
	// none. It returns a *luks.NotFoundError where there is no such device.
	Signatures(ctx context.Context, device string) ([]luks.Signature, error)
	// Erase makes a device blank again that bears the header with that UUID,
	// and returns a *luks.ForeignError for one that bears anything else.
	Erase(ctx context.Context, device, uuid string, offset int64) error
	// DirectIO has the loop device below a mapping pass the page cache by,
	// where there is one.
	DirectIO(ctx context.Context, mapper string) error
	// HoldersOf says in words who has a device or file open.
	HoldersOf(path string) ([]string, error)
}

// Hypervisor is what the pipeline needs of libvirt; *hypervisor.Conn is the
// real one.
type Hypervisor interface {
	Domains(ctx context.Context) ([]hypervisor.Domain, error)
	// Domain returns a *hypervisor.NotFoundError for a name that no domain has.
	Domain(ctx context.Context, name string) (hypervisor.Domain, error)
	// XML returns the domain's inactive definition with its passwords.
	XML(ctx context.Context, uuid string) ([]byte, error)
	// LiveXML returns its definition as it runs now, if it does, without them.
	LiveXML(ctx context.Context, uuid string) ([]byte, error)
	// Validate has libvirt judge a definition without defining anything.
	Validate(ctx context.Context, xml []byte) error
	// Define refuses to replace a domain.
	Define(ctx context.Context, xml []byte) (hypervisor.Domain, error)
	Undefine(ctx context.Context, uuid string) error
	Start(ctx context.Context, uuid string) error
	SetAutostart(ctx context.Context, uuid string, autostart bool) error
	// Events announces what happens to domains until ctx ends or the
	// connection is lost, which closes the channel.
	Events(ctx context.Context) (<-chan hypervisor.Event, error)
	VolumePath(ctx context.Context, pool, volume string) (string, error)
}

// Devices looks at disks; Host is the real one.
type Devices interface {
	Inspect(ctx context.Context, path string) (DeviceFacts, error)
	// Chain reads the headers of an image, whose format is given, and of those
	// behind it. What can't be read as a disk is an *image.Error.
	Chain(ctx context.Context, path string, format image.Format) (image.Chain, error)
	// CheckImage looks through the images' metadata for damage. It returns
	// an *image.Error or an *image.LockedError.
	CheckImage(ctx context.Context, chain image.Chain) error
	MapperNames(ctx context.Context) ([]string, error)
	// NVRAMs are the paths of the UEFI variables that libvirt has made.
	NVRAMs(ctx context.Context) ([]string, error)
	// Writers are who has a file or device open for writing, this process and
	// what it holds for reading left out.
	Writers(ctx context.Context, path string) ([]Writer, error)
	// Physical names the physical devices under a disk or file, so that two
	// that share one can be told.
	Physical(ctx context.Context, path string) ([]string, error)
	Exists(ctx context.Context, path string) (bool, error)
	// Names are what a block device is called besides its path.
	Names(ctx context.Context, path string) (DeviceNames, error)
}

// Files makes and removes files that LUKS volumes lie in; Host is the real one.
type Files interface {
	// Folder looks at one.
	Folder(ctx context.Context, path string) (FolderFacts, error)
	// Make makes a file where there is none, for its owner alone, with all its
	// bytes allocated, and returns its inode's number when it is on disk. One
	// that could not be made whole is not left.
	Make(ctx context.Context, path string, size int64) (inode string, err error)
	// Move renames a file within its folder, once its bytes are on disk, and
	// never replaces another.
	Move(ctx context.Context, from, to string) error
	// Remove removes a file, and is content where there is none.
	Remove(ctx context.Context, path string) error
}

// Filesystems makes and mounts file systems in volumes; *filesystem.Client is the
// real one.
type Filesystems interface {
	// Make makes one over whatever lies on the device.
	Make(ctx context.Context, spec filesystem.Spec) error
	// Identify looks at what lies on a device, which need not be anything.
	Identify(ctx context.Context, device string) (filesystem.Identity, error)
	// MakeDir makes a folder to mount on; one that is there has to be empty.
	MakeDir(ctx context.Context, dir string) error
	// RemoveDir removes an empty folder, and is content where there is none.
	RemoveDir(ctx context.Context, dir string) error
	// Mount mounts on an empty folder alone.
	Mount(ctx context.Context, spec filesystem.MountSpec) error
	// Mounts are the folders that a device's file system is mounted on.
	Mounts(ctx context.Context, device string) ([]string, error)
	// Unmount unmounts that device alone, and returns a *filesystem.BusyError.
	Unmount(ctx context.Context, dir, device string) error
}

// Images makes qcow2 images; Host is the real one.
type Images interface {
	// CreateImage makes an empty image, over whatever is at path, and returns
	// when it is on disk.
	CreateImage(ctx context.Context, path string, spec image.NewSpec) error
	// MendImage takes back space that is lost in an image, and returns an
	// *image.Error for one that is damaged.
	MendImage(ctx context.Context, path string) error
	// NeededFor is how large an image gets that holds what a chain does, in
	// bytes. The chain has to be at rest.
	NeededFor(ctx context.Context, chain image.Chain, spec image.NewSpec) (int64, error)
}

// Copier moves the bytes; BlockCopier is the real one.
type Copier interface {
	Copy(ctx context.Context, request CopyRequest) (CopyResult, error)
	Verify(ctx context.Context, request VerifyRequest) (blockcopy.Result, error)
	// WriteRate writes zeros to the start of a payload and returns bytes per
	// second.
	WriteRate(ctx context.Context, payload string, bytes int64) (float64, error)
	// SourceDigests reads chunks of a source again: the digests of what the
	// payload has to hold there. It returns those that it came to.
	SourceDigests(ctx context.Context, source SourcePlan, payload int64, chunks []int64, pace Pace) ([]blockcopy.Digest, error)
}

// Keyring gives the key of a VM's volumes when a step first needs it. The
// engine wipes it at the end of the job.
type Keyring interface {
	// Key is the key of a VM's volumes. fresh says that there is no volume yet
	// that could tell a wrong one: who types it has to type it twice.
	Key(ctx context.Context, vm string, fresh bool) (luks.Key, error)
}

// KeySlots is what a recovery key needs of LUKS; *luks.Client is the real one.
type KeySlots interface {
	// AddKey returns a *luks.SlotError where the slot is taken.
	AddKey(ctx context.Context, device string, key, added luks.Key, options luks.AddKeyOptions) error
	KillSlot(ctx context.Context, device string, key luks.Key, slot int) error
}

// Recovery is given the recovery key of a VM's volumes, once, and returns when
// the user has it for certain. It must not keep the key: that is wiped then.
type Recovery interface {
	Deliver(ctx context.Context, vm string, key luks.Key) error
}

// Env is the world as the pipeline sees it.
type Env struct {
	Volumes    Volumes
	Encryption Encryption
	Hypervisor Hypervisor
	Devices    Devices
	// Files is only needed where a plan puts volumes into files.
	Files Files
	// Filesystems and Images are only needed where a disk stays an image.
	Filesystems Filesystems
	Images      Images

	Copier  Copier
	Keyring Keyring
	// KeySlots and Recovery are only needed where a plan has a recovery key.
	KeySlots KeySlots
	Recovery Recovery
	// Drafts is only needed where images are adopted.
	Drafts   Drafts
	Reporter Reporter
	Store    Store
	// Random is where UUIDs and MAC addresses come from.
	Random io.Reader
	// Now is the clock.
	Now func() time.Time
}
