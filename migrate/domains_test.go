package migrate

import (
	"context"
	"fmt"
	"strings"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/hypervisor/hypervisortest"
)

// domains is a libvirt that judges definitions as far as these tests need it.
type domains struct{ *hypervisortest.Fake }

func newDomains() *domains {
	fake := hypervisortest.New()
	fake.Refuse = func(definition []byte) string {
		if strings.Contains(string(definition), "<refuse/>") {
			return "unsupported configuration"
		}
		return ""
	}
	return &domains{fake}
}

func (d *domains) add(t complainer, definition []byte) {
	t.Helper()
	if _, err := d.Add(definition, hypervisor.ShutOff); err != nil {
		t.Fatalf("%v", err)
	}
}

// find is the domain of that name, and nothing when there is none.
func (d *domains) find(name string) hypervisor.Domain {
	found, _ := d.Domain(context.Background(), name)
	return found
}

// remove undefines a domain, running or not.
func (d *domains) remove(t complainer, name string) {
	t.Helper()
	found := d.find(name)
	d.quietly(name, hypervisor.ShutOff)
	if err := d.Undefine(context.Background(), found.UUID); err != nil {
		t.Fatalf("%v", err)
	}
}

// quietly changes a domain's state and announces nothing, as when the
// connection was lost.
func (d *domains) quietly(name string, state hypervisor.State) {
	d.Change(d.find(name).UUID, func(domain *hypervisor.Domain) { domain.State = state })
}

// all describes every domain.
func (d *domains) all() map[string]string {
	ctx, all := context.Background(), make(map[string]string)
	found, _ := d.Domains(ctx) // nothing makes the fake itself fail
	for _, one := range found {
		xml, _ := d.XML(ctx, one.UUID)
		all[one.Name] = fmt.Sprintf("%+v\n%s", one, xml)
	}
	return all
}

// virt implements Hypervisor.
type virt struct {
	hypervisortest.Client // for what is no fault point
	w                     *world
}

var _ Hypervisor = virt{}

func (v virt) Domains(ctx context.Context) ([]hypervisor.Domain, error) {
	return port(v.w, "libvirt: domains", func() ([]hypervisor.Domain, error) { return v.w.virt.Domains(ctx) })
}

func (v virt) Domain(ctx context.Context, name string) (hypervisor.Domain, error) {
	return port(v.w, "libvirt: domain", func() (hypervisor.Domain, error) { return v.w.virt.Domain(ctx, name) })
}

func (v virt) XML(ctx context.Context, uuid string) ([]byte, error) {
	return port(v.w, "libvirt: XML", func() ([]byte, error) { return v.w.virt.XML(ctx, uuid) })
}

func (v virt) LiveXML(ctx context.Context, uuid string) ([]byte, error) {
	return port(v.w, "libvirt: live XML", func() ([]byte, error) { return v.w.virt.LiveXML(ctx, uuid) })
}

func (v virt) Validate(ctx context.Context, xml []byte) error {
	return does(v.w, "libvirt: validate", func() error {
		if strings.Contains(string(xml), "<interface") {
			return &hypervisor.RefusedError{Call: "validate", Message: "there is no /dev/net/tun"}
		}
		return v.w.virt.Validate(ctx, xml)
	})
}

func (v virt) Define(ctx context.Context, xml []byte) (hypervisor.Domain, error) {
	return port(v.w, "act: define", func() (hypervisor.Domain, error) {
		v.w.checkBeforeDefine()
		return v.w.virt.Define(ctx, xml)
	})
}

func (v virt) Undefine(ctx context.Context, uuid string) error {
	return does(v.w, "act: undefine", func() error {
		v.w.mustIntend(Define)
		return v.w.virt.Undefine(ctx, uuid)
	})
}

func (v virt) Start(ctx context.Context, uuid string) error {
	return does(v.w, "act: start", func() error { return v.w.virt.Start(ctx, uuid) })
}

func (v virt) SetAutostart(ctx context.Context, uuid string, on bool) error {
	return does(v.w, "act: autostart", func() error { return v.w.virt.SetAutostart(ctx, uuid, on) })
}

func (v virt) Events(ctx context.Context) (<-chan hypervisor.Event, error) {
	return port(v.w, "libvirt: events", func() (<-chan hypervisor.Event, error) { return v.w.virt.Events(ctx) })
}

func (v virt) VolumePath(ctx context.Context, pool, volume string) (string, error) {
	return port(v.w, "libvirt: volume", func() (string, error) { return v.w.virt.VolumePath(ctx, pool, volume) })
}
