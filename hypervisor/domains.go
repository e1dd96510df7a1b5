package hypervisor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/digitalocean/go-libvirt"
)

// State is what a domain does, in virsh's words.
type State string

// The states of a domain (virDomainState).
const (
	NoState      State = "no state"
	Running      State = "running"
	Blocked      State = "idle"
	Paused       State = "paused"
	ShuttingDown State = "in shutdown"
	ShutOff      State = "shut off"
	Crashed      State = "crashed"
	Suspended    State = "pmsuspended"
)

// states are in the order of virDomainState.
func states() []State {
	return []State{NoState, Running, Blocked, Paused, ShuttingDown, ShutOff, Crashed, Suspended}
}

// Active says that the domain has a process, which may have its disks open.
func (s State) Active() bool { return s != ShutOff && s != Crashed }

// Domain is a guest.
type Domain struct {
	Name, UUID string
	State      State
	// Persistent domains have a definition on disk; others are gone when
	// they end.
	Persistent bool
	// Autostart is whether libvirt starts it at boot.
	Autostart bool
	// ManagedSave is whether its memory was saved, to go on from there at
	// the next start.
	ManagedSave bool
	// Snapshots and Checkpoints are how many of each it has.
	Snapshots, Checkpoints int
}

// Domain is the guest of exactly that name, which is never taken for a number
// or UUID. It returns a *NotFoundError when there is none.
func (c *Conn) Domain(ctx context.Context, name string) (Domain, error) {
	found, err := ask(ctx, c, fmt.Sprintf("look up the domain %q", name), looks, func(l *libvirt.Libvirt) (libvirt.Domain, error) {
		return l.DomainLookupByName(name)
	})
	if is(err, libvirt.ErrNoDomain) {
		return Domain{}, &NotFoundError{Kind: "domain", Name: name}
	}
	if err != nil {
		return Domain{}, err
	}
	return c.look(ctx, found)
}

// DomainByUUID is the guest of that UUID. It returns a *NotFoundError when
// there is none.
func (c *Conn) DomainByUUID(ctx context.Context, uuid string) (Domain, error) {
	found, err := c.byUUID(ctx, uuid)
	if err != nil {
		return Domain{}, err
	}
	return c.look(ctx, found)
}

func (c *Conn) byUUID(ctx context.Context, uuid string) (libvirt.Domain, error) {
	id, ok := parseUUID(uuid)
	if !ok {
		return libvirt.Domain{}, &NotFoundError{Kind: "domain", Name: uuid}
	}
	found, err := ask(ctx, c, "look up the domain "+uuid, looks, func(l *libvirt.Libvirt) (libvirt.Domain, error) {
		return l.DomainLookupByUUID(id)
	})
	if is(err, libvirt.ErrNoDomain) {
		err = &NotFoundError{Kind: "domain", Name: uuid}
	}
	return found, err
}

// look fills in what libvirt knows of a domain.
func (c *Conn) look(ctx context.Context, found libvirt.Domain) (Domain, error) {
	domain, err := ask(ctx, c, fmt.Sprintf("look at the domain %q", found.Name), looks, func(l *libvirt.Libvirt) (Domain, error) {
		return facts(l, found)
	})
	if is(err, libvirt.ErrNoDomain) {
		return Domain{}, &NotFoundError{Kind: "domain", Name: found.Name}
	}
	return domain, err
}

// facts asks for one thing after the other, in one go for the time limit.
func facts(l *libvirt.Libvirt, found libvirt.Domain) (Domain, error) {
	domain := Domain{Name: found.Name, UUID: formatUUID(found.UUID), State: NoState}
	state, _, err := l.DomainGetState(found, 0)
	if err != nil {
		return Domain{}, err
	}
	if all := states(); state >= 0 && int(state) < len(all) {
		domain.State = all[state]
	}
	persistent, err := l.DomainIsPersistent(found)
	if err != nil || persistent == 0 {
		// The rest is of persistent domains alone; a transient one's
		// snapshots do not outlive it.
		return domain, err
	}
	domain.Persistent = true
	autostart, err := l.DomainGetAutostart(found)
	if unless(&err) != nil {
		return Domain{}, err
	}
	saved, err := l.DomainHasManagedSaveImage(found, 0)
	if unless(&err) != nil {
		return Domain{}, err
	}
	snapshots, err := l.DomainSnapshotNum(found, 0)
	if unless(&err) != nil {
		return Domain{}, err
	}
	_, checkpoints, err := l.DomainListAllCheckpoints(found, 0, 0)
	if unless(&err) != nil {
		return Domain{}, err
	}
	domain.Autostart, domain.ManagedSave = autostart == 1, saved == 1
	domain.Snapshots, domain.Checkpoints = int(snapshots), int(checkpoints)
	return domain, nil
}

// unless is *err, unless that says that the driver has no such thing at all.
func unless(err *error) error {
	var said libvirt.Error
	if errors.Is(*err, libvirt.ErrUnsupported) || errors.As(*err, &said) && said.Code == uint32(libvirt.ErrNoSupport) {
		*err = nil
	}
	return *err
}

// XML is a domain's definition as the next start would use it, passwords of
// consoles included. Where the domain runs as well, what it runs with may
// differ; see LiveXML. It returns a *NotFoundError.
func (c *Conn) XML(ctx context.Context, uuid string) ([]byte, error) {
	return c.xml(ctx, uuid, libvirt.DomainXMLInactive|libvirt.DomainXMLSecure)
}

// LiveXML is a domain as it runs now: with disks that were plugged in, and a
// mirror under way. It holds no passwords. It returns a *NotFoundError.
func (c *Conn) LiveXML(ctx context.Context, uuid string) ([]byte, error) { return c.xml(ctx, uuid, 0) }

func (c *Conn) xml(ctx context.Context, uuid string, flags libvirt.DomainXMLFlags) ([]byte, error) {
	id, ok := parseUUID(uuid)
	if !ok {
		return nil, &NotFoundError{Kind: "domain", Name: uuid}
	}
	text, err := ask(ctx, c, "show the definition of "+uuid, looks, func(l *libvirt.Libvirt) (string, error) {
		// The driver goes by the UUID alone; to look the name up first
		// would be one more call for each domain of the host.
		return l.DomainGetXMLDesc(libvirt.Domain{UUID: id, ID: -1}, flags)
	})
	if is(err, libvirt.ErrNoDomain) {
		err = &NotFoundError{Kind: "domain", Name: uuid}
	}
	return []byte(text), err
}

// BlockJob says whether a copy, commit or other job runs on a domain's disk,
// named by its target ("vda") or path. A domain that is off has none.
func (c *Conn) BlockJob(ctx context.Context, uuid, target string) (bool, error) {
	found, err := c.byUUID(ctx, uuid)
	if err != nil {
		return false, err
	}
	running, err := ask(ctx, c, fmt.Sprintf("look at the block jobs of %q", found.Name), looks, func(l *libvirt.Libvirt) (bool, error) {
		job, _, _, _, _, err := l.DomainGetBlockJobInfo(found, target, 0)
		return job == 1, err
	})
	if is(err, libvirt.ErrOperationInvalid) {
		return false, nil // the domain is not running
	}
	return running, err
}

// VolumePath is the path of a storage pool's volume. It returns a
// *NotFoundError of the kind "storage pool" or "storage volume"; a pool that
// is not started is libvirt's refusal.
func (c *Conn) VolumePath(ctx context.Context, pool, volume string) (string, error) {
	path, err := ask(ctx, c, fmt.Sprintf("find the volume %q of the pool %q", volume, pool), looks, func(l *libvirt.Libvirt) (string, error) {
		foundPool, err := l.StoragePoolLookupByName(pool)
		if err != nil {
			return "", err
		}
		found, err := l.StorageVolLookupByName(foundPool, volume)
		if err != nil {
			return "", err
		}
		return l.StorageVolGetPath(found)
	})
	switch {
	case is(err, libvirt.ErrNoStoragePool):
		err = &NotFoundError{Kind: "storage pool", Name: pool}
	case is(err, libvirt.ErrNoStorageVol):
		err = &NotFoundError{Kind: "storage volume", Name: pool + "/" + volume}
	}
	return path, err
}

// Version is a libvirt version, as major×1,000,000 + minor×1,000 + release.
type Version uint64

// String is the version as people write it, 9.0.0.
func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000)
}

// Version is the daemon's.
func (c *Conn) Version(ctx context.Context) (Version, error) {
	version, err := ask(ctx, c, "tell its version", looks, (*libvirt.Libvirt).ConnectGetLibVersion)
	return Version(version), err
}

func parseUUID(text string) (libvirt.UUID, bool) {
	var id libvirt.UUID
	digits := strings.ReplaceAll(text, "-", "")
	n, err := hex.Decode(id[:], []byte(digits[:min(len(digits), 2*len(id))]))
	return id, err == nil && n == len(id) && len(digits) == 2*len(id)
}

func formatUUID(id libvirt.UUID) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
