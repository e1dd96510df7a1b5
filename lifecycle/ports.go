package lifecycle

import (
	"context"
	"time"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// Volumes is what is needed of LVM; *lvm.Client is the real one.
type Volumes interface {
	VGs(ctx context.Context) ([]lvm.VG, error)
	LVs(ctx context.Context) ([]lvm.LV, error)
	// Activate makes the volume's device appear.
	Activate(ctx context.Context, vg, name string) error
	// Deactivate deactivates the volume groups that lie on device, as a
	// guest's own do, and names them.
	Deactivate(ctx context.Context, device string) ([]string, error)
}

// Encryption is what is needed of LUKS; *Cryptsetup is the real one.
type Encryption interface {
	Header(ctx context.Context, device string) (luks.Header, error)
	Open(ctx context.Context, device, mapper string, key luks.Key, options luks.OpenOptions) error
	Close(ctx context.Context, mapper string) error
	// DirectIO has the loop device below a mapping pass the page cache by,
	// where there is one.
	DirectIO(ctx context.Context, mapper string) error
	Mappings(ctx context.Context) ([]luks.Mapping, error)
	HeaderBackup(ctx context.Context, device, file string) error
	// Signatures are the marks of whatever lies on a device.
	Signatures(ctx context.Context, device string) ([]luks.Signature, error)
	// HeaderRestore overwrites the header on device with that in file.
	HeaderRestore(ctx context.Context, device, file string) error
	// KeyData are a header's key slots and digests in one text, salts and all,
	// the same as long as no key was changed.
	KeyData(ctx context.Context, device string) (string, error)
	// KeySlot is the slot that key unlocks, or a *luks.WrongKeyError. It
	// takes a header backup for a device as well.
	KeySlot(ctx context.Context, device string, key luks.Key) (int, error)
	AddKey(ctx context.Context, device string, key, added luks.Key, options luks.AddKeyOptions) error
	KillSlot(ctx context.Context, device string, key luks.Key, slot int) error
}

// Filesystems mounts what disks' images lie on; *filesystem.Client is the real one.
type Filesystems interface {
	// MakeDir makes a folder to mount on; one that is there has to be empty.
	MakeDir(ctx context.Context, dir string) error
	// Mount mounts on an empty folder alone.
	Mount(ctx context.Context, spec filesystem.MountSpec) error
	// Mounts are the folders that a device's file system is mounted on. The
	// error is fs.ErrNotExist where there is no such device.
	Mounts(ctx context.Context, device string) ([]string, error)
	// Unmount unmounts that device alone, and returns a *filesystem.BusyError.
	Unmount(ctx context.Context, dir, device string) error
	// Free is how many bytes the file system at a folder has, and how many of
	// them are free.
	Free(ctx context.Context, dir string) (size, free int64, err error)
}

// Hypervisor is what is needed of libvirt; *hypervisor.Conn is the real one.
type Hypervisor interface {
	Domains(ctx context.Context) ([]hypervisor.Domain, error)
	// DomainByUUID returns a *hypervisor.NotFoundError when there is none.
	DomainByUUID(ctx context.Context, uuid string) (hypervisor.Domain, error)
	XML(ctx context.Context, uuid string) ([]byte, error)
	LiveXML(ctx context.Context, uuid string) ([]byte, error)
	Start(ctx context.Context, uuid string) error
	Shutdown(ctx context.Context, uuid string) error
	Destroy(ctx context.Context, uuid string) error
	// SetMetadata puts an element into the definition's metadata, in the place
	// of the one of that namespace, which the element itself does not name.
	SetMetadata(ctx context.Context, uuid, namespace, prefix string, element []byte) error
	// SetAutostart sets libvirt's own flag.
	SetAutostart(ctx context.Context, uuid string, on bool) error
}

// Boot is what is needed of the host's systemd and its crypttab; *boot.Host is
// the real one.
type Boot interface {
	// Ready says what keeps this host from starting guests at boot.
	Ready(method boot.Method) error
	// Lock keeps other vmmigrates away until unlock is called.
	Lock(ctx context.Context) (unlock func(), err error)
	Records() ([]boot.Record, error)
	Save(r boot.Record) error
	Forget(r boot.Record) error
	Linger(r boot.Record) error
	ReadCrypttab() ([]byte, error)
	EditCrypttab(edit func(text []byte) []byte, copies string, now time.Time) (kept string, changed bool, err error)
	// Order ties a mapping's unit to its guest's.
	Order(mapper string) error
	Unorder(mapper string) error
	Ordered(mapper string) bool
	Reload(ctx context.Context) error
	Enable(ctx context.Context, unit string) error
	Disable(ctx context.Context, unit string) error
	Start(ctx context.Context, unit string) error
	Stop(ctx context.Context, unit string) error
	State(ctx context.Context, unit string) (boot.UnitState, error)
	CheckKeyFile(path string, force bool) (boot.Place, error)
}

// Enroller gives a machine or a token a key of its own to a volume;
// *Cryptsetup is the real one.
type Enroller interface {
	// Tokens are those in the volume's header.
	Tokens(ctx context.Context, device string) ([]Token, error)
	// Enroll adds a key slot and a token to the volume that key unlocks. It
	// returns what the tool remarked on that, as on a TPM that guards nothing.
	Enroll(ctx context.Context, device string, unlock boot.Unlock, key luks.Key) (remarks []string, err error)
	RemoveToken(ctx context.Context, device string, id int) error
}

// Keyring gives the key of a clone's volumes when it is first needed.
type Keyring interface {
	Key(ctx context.Context, clone *Clone) (luks.Key, error)
	// Again says whether another key may be had for one that does not fit: a
	// person at a terminal may have mistyped, a file has not.
	Again(clone *Clone) bool
}

// Manager does it all. Its fields are set before it is used.
type Manager struct {
	Volumes    Volumes
	Encryption Encryption
	Hypervisor Hypervisor
	Keys       Keyring
	Boot       Boot
	Enroller   Enroller
	// AtBoot is whether a unit of systemd's runs this, which then knows what
	// is done and need not be told.
	AtBoot bool
	// Devices looks at the kernel's block devices.
	Devices Devices
	// Filesystems is only needed for disks that are images.
	Filesystems Filesystems
	// Report is told what happens; nil is nobody.
	Report func(Event)
	// StateDir is where header backups are kept that go nowhere else. Nothing
	// is ever looked for there that could not be missing.
	StateDir string
	// Now is the clock, and Wait lets time pass or returns the context's
	// cause.
	Now  func() time.Time
	Wait func(ctx context.Context, d time.Duration) error
}

// EventName is what happened.
type EventName string

// The events.
const (
	Unlocked EventName = "unlocked"
	Locked   EventName = "locked"
	// Mounted and Unmounted are about the file system that an image lies on.
	Mounted   EventName = "mounted"
	Unmounted EventName = "unmounted"
	Started   EventName = "started"
	Stopped   EventName = "stopped"
	// Stopping tells, now and then, that a guest still shuts down.
	Stopping EventName = "stopping"
	// Unchanged says that what was asked for was so already.
	Unchanged EventName = "unchanged"
	Warning   EventName = "warning"
	// HeaderSaved and HeaderRestored are about a LUKS header.
	HeaderSaved    EventName = "header-saved"
	HeaderRestored EventName = "header-restored"
	// KeyAdded, KeyRemoved and KeyFits are about a key slot.
	KeyAdded   EventName = "key-added"
	KeyRemoved EventName = "key-removed"
	KeyFits    EventName = "key-fits"
	// Configured is something written on the host for the next boot, and
	// BootEnabled and BootDisabled are the end of it.
	Configured   EventName = "configured"
	BootEnabled  EventName = "autostart-enabled"
	BootDisabled EventName = "autostart-disabled"
	// Failed is how it ended for a clone; whoever shows events says so.
	Failed EventName = "failed"
)

// Event is something that happened to a clone.
type Event struct {
	Event EventName
	Time  time.Time
	VM    string
	// Disk is a target, or "" where the whole VM is meant.
	Disk string
	// Message says it in words, without naming VM and disk again.
	Message string
	// Elapsed is how long it took, or has taken so far.
	Elapsed time.Duration
}

func (m *Manager) report(e Event) {
	if m.Report == nil {
		return
	}
	e.Time = m.Now()
	m.Report(e)
}

// Sleep is the Wait of a real clock.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
