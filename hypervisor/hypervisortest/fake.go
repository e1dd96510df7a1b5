package hypervisortest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// Fake is a libvirt daemon in memory. Its exported fields are to be set before
// it is used; its methods may be called by several goroutines.
type Fake struct {
	// Before is asked before every call, and After after every call that
	// changes something, with the method's name ("Define"). An error of
	// Before's is returned and nothing done, as by a daemon that is down;
	// one of After's is returned when it was done, as if the process had
	// died there.
	Before, After func(call string) error
	// Refuse says why libvirt would not take a definition, or "".
	Refuse func(definition []byte) string
	// Normalise is what libvirt makes of a definition; nil keeps it.
	Normalise func(definition []byte) []byte

	mu        sync.Mutex
	domains   map[string]*domain // by UUID
	volumes   map[[2]string]string
	jobs      map[[2]string]bool
	listeners map[chan hypervisor.Event]bool
}

type domain struct {
	hypervisor.Domain
	xml []byte
}

// New is a daemon without domains.
func New() *Fake {
	return &Fake{
		domains: map[string]*domain{}, volumes: map[[2]string]string{}, jobs: map[[2]string]bool{},
		listeners: map[chan hypervisor.Event]bool{},
	}
}

// Add puts a domain there as it is, definition and all. Name and UUID are the
// definition's. It returns an error when that has none.
func (f *Fake) Add(definition []byte, state hypervisor.State) (hypervisor.Domain, error) {
	name, uuid, err := identity(definition)
	if err != nil {
		return hypervisor.Domain{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := &domain{Domain: hypervisor.Domain{Name: name, UUID: uuid, State: state, Persistent: true}, xml: bytes.Clone(definition)}
	f.domains[uuid] = d
	return d.Domain, nil
}

// Change changes what libvirt knows of a domain: its snapshots, say.
func (f *Fake) Change(uuid string, change func(*hypervisor.Domain)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.domains[uuid]; d != nil {
		change(&d.Domain)
	}
}

// SetState has a domain change its state, as when somebody else starts it, and
// tells so.
func (f *Fake) SetState(uuid string, state hypervisor.State) {
	f.mu.Lock()
	d := f.domains[uuid]
	var kind hypervisor.EventKind
	if d != nil && d.State != state {
		kind = hypervisor.EventStopped
		if state.Active() {
			kind = hypervisor.EventStarted
		}
		d.State = state
	}
	f.mu.Unlock()
	if kind != "" {
		f.tell(d.Domain, kind)
	}
}

// AddVolume puts a volume into a storage pool.
func (f *Fake) AddVolume(pool, volume, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.volumes[[2]string{pool, volume}] = path
}

// SetBlockJob has a block job run on a domain's disk, or not.
func (f *Fake) SetBlockJob(uuid, target string, running bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs[[2]string{uuid, target}] = running
}

// Break ends every subscription to events, as a restart of the daemon does.
func (f *Fake) Break() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for events := range f.listeners {
		close(events)
	}
	clear(f.listeners)
}

// tell tells all who listen. A listener that is slow loses nothing: libvirt's
// client keeps events in a queue, here it is a long one.
func (f *Fake) tell(d hypervisor.Domain, kind hypervisor.EventKind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for events := range f.listeners {
		select {
		case events <- hypervisor.Event{Name: d.Name, UUID: d.UUID, Kind: kind}:
		default:
		}
	}
}

// identity is what a domain is known by.
func identity(definition []byte) (name, uuid string, err error) {
	var d struct {
		XMLName xml.Name `xml:"domain"`
		Name    string   `xml:"name"`
		UUID    string   `xml:"uuid"`
	}
	if err := xml.Unmarshal(definition, &d); err != nil {
		return "", "", fmt.Errorf("the definition is no domain's XML: %w", err)
	}
	if d.Name == "" || len(d.UUID) != 36 {
		return "", "", errors.New("the definition must have a name and a UUID")
	}
	return d.Name, d.UUID, nil
}

// before starts a call.
func (f *Fake) before(ctx context.Context, call string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.Before != nil {
		return f.Before(call)
	}
	return nil
}

func (f *Fake) after(call string) error {
	if f.After != nil {
		return f.After(call)
	}
	return nil
}

// URI implements Client.
func (f *Fake) URI() string { return "qemu:///system" }

// Version implements Client.
func (f *Fake) Version(ctx context.Context) (hypervisor.Version, error) {
	return 9_000_000, f.before(ctx, "Version")
}

// Domains implements Client.
func (f *Fake) Domains(ctx context.Context) ([]hypervisor.Domain, error) {
	if err := f.before(ctx, "Domains"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []hypervisor.Domain{}
	for _, d := range f.domains {
		all = append(all, d.Domain)
	}
	slices.SortFunc(all, func(a, b hypervisor.Domain) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Domain implements Client.
func (f *Fake) Domain(ctx context.Context, name string) (hypervisor.Domain, error) {
	if err := f.before(ctx, "Domain"); err != nil {
		return hypervisor.Domain{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.domains {
		if d.Name == name {
			return d.Domain, nil
		}
	}
	return hypervisor.Domain{}, &hypervisor.NotFoundError{Kind: "domain", Name: name}
}

// DomainByUUID implements Client.
func (f *Fake) DomainByUUID(ctx context.Context, uuid string) (hypervisor.Domain, error) {
	d, err := f.look(ctx, "DomainByUUID", uuid)
	return d.Domain, err
}

// look is a copy of what is there.
func (f *Fake) look(ctx context.Context, call, uuid string) (domain, error) {
	if err := f.before(ctx, call); err != nil {
		return domain{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.domains[uuid]; d != nil {
		return *d, nil
	}
	return domain{}, &hypervisor.NotFoundError{Kind: "domain", Name: uuid}
}

// XML implements Client.
func (f *Fake) XML(ctx context.Context, uuid string) ([]byte, error) {
	d, err := f.look(ctx, "XML", uuid)
	return bytes.Clone(d.xml), err
}

// LiveXML implements Client.
func (f *Fake) LiveXML(ctx context.Context, uuid string) ([]byte, error) {
	d, err := f.look(ctx, "LiveXML", uuid)
	return bytes.Clone(d.xml), err
}

// BlockJob implements Client.
func (f *Fake) BlockJob(ctx context.Context, uuid, target string) (bool, error) {
	d, err := f.look(ctx, "BlockJob", uuid)
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return d.State.Active() && f.jobs[[2]string{uuid, target}], nil
}

// VolumePath implements Client.
func (f *Fake) VolumePath(ctx context.Context, pool, volume string) (string, error) {
	if err := f.before(ctx, "VolumePath"); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if path, ok := f.volumes[[2]string{pool, volume}]; ok {
		return path, nil
	}
	for known := range f.volumes {
		if known[0] == pool {
			return "", &hypervisor.NotFoundError{Kind: "storage volume", Name: pool + "/" + volume}
		}
	}
	return "", &hypervisor.NotFoundError{Kind: "storage pool", Name: pool}
}

// Events implements Client.
func (f *Fake) Events(ctx context.Context) (<-chan hypervisor.Event, error) {
	if err := f.before(ctx, "Events"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	events := make(chan hypervisor.Event, 1000)
	f.listeners[events] = true
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, ok := f.listeners[events]; ok {
			delete(f.listeners, events)
			close(events)
		}
	})
	return events, nil
}
