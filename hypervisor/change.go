package hypervisor

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"

	"github.com/digitalocean/go-libvirt"
)

// Validate returns nil when libvirt would accept the definition, which it
// turns into QEMU's arguments and throws away: nothing is defined. It returns a
// *RefusedError with libvirt's words otherwise.
func (c *Conn) Validate(ctx context.Context, definition []byte) error {
	_, err := ask(ctx, c, "check the definition", slow, func(l *libvirt.Libvirt) (string, error) {
		return l.ConnectDomainXMLToNative("qemu-argv", string(definition), 0)
	})
	return err
}

// identity is what a domain is known by.
func identity(definition []byte) (name, uuid string, err error) {
	var domain struct {
		XMLName xml.Name `xml:"domain"`
		Name    string   `xml:"name"`
		UUID    string   `xml:"uuid"`
	}
	if err := xml.Unmarshal(definition, &domain); err != nil {
		return "", "", fmt.Errorf("the definition is no domain's XML: %w", err)
	}
	id, ok := parseUUID(domain.UUID)
	if domain.Name == "" || !ok {
		return "", "", fmt.Errorf("the definition has the name %q and UUID %q, and must have both", domain.Name, domain.UUID)
	}
	return domain.Name, formatUUID(id), nil
}

// Define defines a new domain, checked against libvirt's schema. It returns an
// *ExistsError when there is one of its name or UUID (libvirt would replace
// one that has both, without a word), and a *RefusedError.
func (c *Conn) Define(ctx context.Context, definition []byte) (Domain, error) {
	name, uuid, err := identity(definition)
	if err != nil {
		return Domain{}, err
	}
	if err := c.free(ctx, name, uuid); err != nil {
		return Domain{}, err
	}
	defined, err := ask(ctx, c, fmt.Sprintf("define the domain %q", name), slow, func(l *libvirt.Libvirt) (libvirt.Domain, error) {
		return l.DomainDefineXMLFlags(string(definition), libvirt.DomainDefineValidate)
	})
	if err != nil {
		return Domain{}, err
	}
	return c.look(ctx, defined)
}

// free returns an *ExistsError when a domain has the name or the UUID.
func (c *Conn) free(ctx context.Context, name, uuid string) error {
	var missing *NotFoundError
	there, err := c.Domain(ctx, name)
	if err == nil {
		return &ExistsError{Name: there.Name, UUID: there.UUID, By: "name"}
	}
	if !errors.As(err, &missing) {
		return err
	}
	there, err = c.DomainByUUID(ctx, uuid)
	if err == nil {
		return &ExistsError{Name: there.Name, UUID: there.UUID, By: "UUID"}
	}
	if !errors.As(err, &missing) {
		return err
	}
	return nil
}

// Redefine replaces the definition of a domain that is off by another of the
// same name and UUID, in one act: there is no moment without the one or the
// other. Flags such as autostart stay. It returns a *NotFoundError when there
// is no domain of that UUID, an *ExistsError when the name or UUID is another
// domain's, an *ActiveError when it runs, and a *RefusedError.
func (c *Conn) Redefine(ctx context.Context, definition []byte) (Domain, error) {
	name, uuid, err := identity(definition)
	if err != nil {
		return Domain{}, err
	}
	there, err := c.DomainByUUID(ctx, uuid)
	switch {
	case err != nil:
		return Domain{}, err
	case there.Name != name:
		return Domain{}, &ExistsError{Name: there.Name, UUID: there.UUID, By: "UUID"}
	case there.State.Active():
		return Domain{}, &ActiveError{Name: there.Name, State: there.State}
	}
	defined, err := ask(ctx, c, fmt.Sprintf("define the domain %q anew", name), slow, func(l *libvirt.Libvirt) (libvirt.Domain, error) {
		return l.DomainDefineXMLFlags(string(definition), libvirt.DomainDefineValidate)
	})
	if err != nil {
		return Domain{}, err
	}
	return c.look(ctx, defined)
}

// SetMetadata puts an element into a domain's <metadata>, in the place of the
// one of that namespace. The element comes without the namespace and without a
// prefix to its names: libvirt puts both in (virXMLInjectNamespace). A domain that
// runs has it from now on and at its next start. It returns a *NotFoundError or
// a *RefusedError.
func (c *Conn) SetMetadata(ctx context.Context, uuid, namespace, prefix string, element []byte) error {
	domain, err := c.DomainByUUID(ctx, uuid)
	if err != nil {
		return err
	}
	affects := libvirt.DomainAffectConfig
	if domain.State.Active() {
		affects |= libvirt.DomainAffectLive
	}
	return c.change(ctx, uuid, "note something in the metadata of", changes, func(l *libvirt.Libvirt, found libvirt.Domain) error {
		return l.DomainSetMetadata(found, int32(libvirt.DomainMetadataElement), libvirt.OptString{string(element)},
			libvirt.OptString{prefix}, libvirt.OptString{namespace}, affects)
	})
}

// Purge is Undefine that removes a managed save image too.
func (c *Conn) Purge(ctx context.Context, uuid string) error {
	return c.undefine(ctx, uuid, libvirt.DomainUndefineManagedSave|libvirt.DomainUndefineKeepNvram, libvirt.DomainUndefineKeepTpm)
}

// keepTPM is the first libvirt that knows VIR_DOMAIN_UNDEFINE_KEEP_TPM.
const keepTPM Version = 8_009_000

// Undefine removes a domain's definition, and nothing else: its storage, NVRAM
// and TPM state stay. It is content when there is no such domain. It returns an
// *ActiveError when the domain runs, and libvirt's *RefusedError when it has a
// managed save image, snapshots or checkpoints.
func (c *Conn) Undefine(ctx context.Context, uuid string) error {
	return c.undefine(ctx, uuid, libvirt.DomainUndefineKeepNvram, libvirt.DomainUndefineKeepTpm)
}

// undefine undefines with flags, and with tpm too where libvirt knows it: before
// that, it removed a TPM's state always.
func (c *Conn) undefine(ctx context.Context, uuid string, flags, tpm libvirt.DomainUndefineFlagsValues) error {
	domain, err := c.DomainByUUID(ctx, uuid)
	var missing *NotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	if domain.State.Active() {
		return &ActiveError{Name: domain.Name, State: domain.State}
	}
	version, err := c.Version(ctx)
	if err != nil {
		return err
	}
	if version >= keepTPM {
		flags |= tpm
	}
	err = c.change(ctx, uuid, "undefine", changes, func(l *libvirt.Libvirt, found libvirt.Domain) error {
		return l.DomainUndefineFlags(found, flags)
	})
	if errors.As(err, &missing) {
		return nil
	}
	return err
}

// Start starts a domain. It returns a *NotFoundError, or a *RefusedError, also
// when it runs already.
func (c *Conn) Start(ctx context.Context, uuid string) error {
	return c.change(ctx, uuid, "start", slow, func(l *libvirt.Libvirt, found libvirt.Domain) error {
		_, err := l.DomainCreateWithFlags(found, 0)
		return err
	})
}

// Shutdown asks a domain's guest to shut down; it does so in its own time, or
// not at all. It returns a *NotFoundError, or a *RefusedError when it is off.
func (c *Conn) Shutdown(ctx context.Context, uuid string) error {
	return c.change(ctx, uuid, "shut down", changes, func(l *libvirt.Libvirt, found libvirt.Domain) error {
		return l.DomainShutdownFlags(found, libvirt.DomainShutdownDefault)
	})
}

// Destroy pulls a domain's plug, and is content when it is off. It returns a
// *NotFoundError.
func (c *Conn) Destroy(ctx context.Context, uuid string) error {
	err := c.change(ctx, uuid, "stop", changes, func(l *libvirt.Libvirt, found libvirt.Domain) error {
		return l.DomainDestroyFlags(found, libvirt.DomainDestroyDefault)
	})
	if !is(err, libvirt.ErrOperationInvalid) {
		return err
	}
	domain, look := c.DomainByUUID(ctx, uuid)
	if look == nil && !domain.State.Active() {
		return nil
	}
	return err
}

// SetAutostart sets whether libvirt starts a domain at boot.
func (c *Conn) SetAutostart(ctx context.Context, uuid string, on bool) error {
	return c.change(ctx, uuid, "set the autostart of", changes, func(l *libvirt.Libvirt, found libvirt.Domain) error {
		value := int32(0)
		if on {
			value = 1
		}
		return l.DomainSetAutostart(found, value)
	})
}

// change does something to the domain of that UUID.
func (c *Conn) change(ctx context.Context, uuid, verb string, kind how, f func(*libvirt.Libvirt, libvirt.Domain) error) error {
	found, err := c.byUUID(ctx, uuid)
	if err != nil {
		return err
	}
	_, err = ask(ctx, c, fmt.Sprintf("%s the domain %q", verb, found.Name), kind, func(l *libvirt.Libvirt) (none, error) { return none{}, f(l, found) })
	if is(err, libvirt.ErrNoDomain) {
		return &NotFoundError{Kind: "domain", Name: uuid}
	}
	return err
}
