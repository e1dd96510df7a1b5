package hypervisortest

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// libvirt's error numbers (virErrorNumber) that the fake gives.
const (
	operationInvalid = 55
	xmlError         = 27
)

// Validate implements Client.
func (f *Fake) Validate(ctx context.Context, definition []byte) error {
	if err := f.before(ctx, "Validate"); err != nil {
		return err
	}
	return f.check("check the definition", definition)
}

func (f *Fake) check(call string, definition []byte) error {
	if _, _, err := identity(definition); err != nil {
		return &hypervisor.RefusedError{Call: call, Code: xmlError, Message: err.Error()}
	}
	if f.Refuse != nil {
		if why := f.Refuse(definition); why != "" {
			return &hypervisor.RefusedError{Call: call, Code: xmlError, Message: why}
		}
	}
	return nil
}

// Define implements Client.
func (f *Fake) Define(ctx context.Context, definition []byte) (hypervisor.Domain, error) {
	if err := f.before(ctx, "Define"); err != nil {
		return hypervisor.Domain{}, err
	}
	name, uuid, err := identity(definition)
	if err != nil {
		return hypervisor.Domain{}, err
	}
	if err := f.check(fmt.Sprintf("define the domain %q", name), definition); err != nil {
		return hypervisor.Domain{}, err
	}
	made := &domain{Domain: hypervisor.Domain{Name: name, UUID: uuid, State: hypervisor.ShutOff, Persistent: true}, xml: bytes.Clone(definition)}
	if f.Normalise != nil {
		made.xml = f.Normalise(made.xml)
	}
	if err := f.add(made); err != nil {
		return hypervisor.Domain{}, err
	}
	f.tell(made.Domain, hypervisor.EventDefined)
	return made.Domain, f.after("Define")
}

func (f *Fake) add(made *domain) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.domains {
		if d.Name == made.Name {
			return &hypervisor.ExistsError{Name: d.Name, UUID: d.UUID, By: "name"}
		}
	}
	if d := f.domains[made.UUID]; d != nil {
		return &hypervisor.ExistsError{Name: d.Name, UUID: d.UUID, By: "UUID"}
	}
	f.domains[made.UUID] = made
	return nil
}

// Redefine implements Client.
func (f *Fake) Redefine(ctx context.Context, definition []byte) (hypervisor.Domain, error) {
	if err := f.before(ctx, "Redefine"); err != nil {
		return hypervisor.Domain{}, err
	}
	name, uuid, err := identity(definition)
	if err != nil {
		return hypervisor.Domain{}, err
	}
	if err := f.check(fmt.Sprintf("define the domain %q anew", name), definition); err != nil {
		return hypervisor.Domain{}, err
	}
	made, err := f.replace(name, uuid, definition)
	if err != nil {
		return hypervisor.Domain{}, err
	}
	f.tell(made, hypervisor.EventDefined)
	return made, f.after("Redefine")
}

func (f *Fake) replace(name, uuid string, definition []byte) (hypervisor.Domain, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.domains[uuid]
	switch {
	case d == nil:
		return hypervisor.Domain{}, &hypervisor.NotFoundError{Kind: "domain", Name: uuid}
	case d.Name != name:
		return hypervisor.Domain{}, &hypervisor.ExistsError{Name: d.Name, UUID: d.UUID, By: "UUID"}
	case d.State.Active():
		return hypervisor.Domain{}, &hypervisor.ActiveError{Name: d.Name, State: d.State}
	}
	d.xml = bytes.Clone(definition)
	if f.Normalise != nil {
		d.xml = f.Normalise(d.xml)
	}
	return d.Domain, nil
}

// SetMetadata implements Client. It finds the element by its prefix, which is
// enough for the prefixes that a test uses.
func (f *Fake) SetMetadata(ctx context.Context, uuid, namespace, prefix string, element []byte) error {
	if _, err := f.look(ctx, "SetMetadata", uuid); err != nil {
		return err
	}
	if bytes.Contains(element, []byte("xmlns")) {
		return &hypervisor.RefusedError{Call: "note something in the metadata", Code: 1, Message: "internal error: failed to create a new XML namespace"}
	}
	element = regexp.MustCompile(`<(/?)(\w)`).ReplaceAll(element, []byte("<${1}"+prefix+":${2}"))
	element = regexp.MustCompile(`^(<[\w:]+)`).ReplaceAll(element, []byte("${1} xmlns:"+prefix+"='"+namespace+"'"))
	f.mu.Lock()
	d := f.domains[uuid]
	older := regexp.MustCompile(`(?s)<` + regexp.QuoteMeta(prefix) + `:(\w+)\b.*?</` + regexp.QuoteMeta(prefix) + `:clone>`)
	switch {
	case older.Match(d.xml):
		d.xml = older.ReplaceAllLiteral(d.xml, element)
	case bytes.Contains(d.xml, []byte("<metadata>")):
		d.xml = bytes.Replace(d.xml, []byte("</metadata>"), append(bytes.Clone(element), "</metadata>"...), 1)
	default:
		d.xml = bytes.Replace(d.xml, []byte("</uuid>"), slices.Concat([]byte("</uuid><metadata>"), element, []byte("</metadata>")), 1)
	}
	f.mu.Unlock()
	return f.after("SetMetadata")
}

// Undefine implements Client.
func (f *Fake) Undefine(ctx context.Context, uuid string) error {
	return f.remove(ctx, "Undefine", uuid)
}

// Purge implements Client.
func (f *Fake) Purge(ctx context.Context, uuid string) error {
	f.Change(uuid, func(d *hypervisor.Domain) { d.ManagedSave = d.ManagedSave && d.State.Active() })
	return f.remove(ctx, "Purge", uuid)
}

func (f *Fake) remove(ctx context.Context, call, uuid string) error {
	if err := f.before(ctx, call); err != nil {
		return err
	}
	gone, err := f.undefine(uuid)
	if gone == nil || err != nil {
		return err
	}
	f.tell(*gone, hypervisor.EventUndefined)
	return f.after(call)
}

func (f *Fake) undefine(uuid string) (*hypervisor.Domain, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.domains[uuid]
	if d == nil {
		return nil, nil
	}
	if d.State.Active() {
		return nil, &hypervisor.ActiveError{Name: d.Name, State: d.State}
	}
	for what, there := range map[string]bool{"a managed save image exists": d.ManagedSave, "there are snapshots": d.Snapshots > 0, "there are checkpoints": d.Checkpoints > 0} {
		if there {
			return nil, &hypervisor.RefusedError{Call: fmt.Sprintf("undefine the domain %q", d.Name), Code: operationInvalid, Message: "refusing to undefine while " + what}
		}
	}
	delete(f.domains, uuid)
	return &d.Domain, nil
}

// turn changes the state of the domain of that UUID.
func (f *Fake) turn(ctx context.Context, call, verb, uuid string, from func(hypervisor.State) bool, to hypervisor.State) error {
	d, err := f.look(ctx, call, uuid)
	if err != nil {
		return err
	}
	if !from(d.State) {
		return &hypervisor.RefusedError{Call: fmt.Sprintf("%s the domain %q", verb, d.Name), Code: operationInvalid, Message: "Requested operation is not valid: domain is " + string(d.State)}
	}
	f.SetState(uuid, to)
	return f.after(call)
}

func isOff(s hypervisor.State) bool { return !s.Active() }

// Start implements Client.
func (f *Fake) Start(ctx context.Context, uuid string) error {
	err := f.turn(ctx, "Start", "start", uuid, isOff, hypervisor.Running)
	if err == nil {
		f.Change(uuid, func(d *hypervisor.Domain) { d.ManagedSave = false })
	}
	return err
}

// Shutdown implements Client. The guest of a Fake obeys at once.
func (f *Fake) Shutdown(ctx context.Context, uuid string) error {
	return f.turn(ctx, "Shutdown", "shut down", uuid, hypervisor.State.Active, hypervisor.ShutOff)
}

// Destroy implements Client.
func (f *Fake) Destroy(ctx context.Context, uuid string) error {
	return f.turn(ctx, "Destroy", "stop", uuid, func(hypervisor.State) bool { return true }, hypervisor.ShutOff)
}

// SetAutostart implements Client.
func (f *Fake) SetAutostart(ctx context.Context, uuid string, on bool) error {
	if _, err := f.look(ctx, "SetAutostart", uuid); err != nil {
		return err
	}
	f.Change(uuid, func(d *hypervisor.Domain) { d.Autostart = on })
	return f.after("SetAutostart")
}
