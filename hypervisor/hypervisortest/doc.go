// Package hypervisortest has a fake of package hypervisor's Conn, and the suite
// that both the fake and a real libvirt pass: what a test learns from Fake
// holds on a host.
package hypervisortest

import (
	"context"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// Client is what *hypervisor.Conn and *Fake have in common.
type Client interface {
	URI() string
	Version(ctx context.Context) (hypervisor.Version, error)
	Domains(ctx context.Context) ([]hypervisor.Domain, error)
	Domain(ctx context.Context, name string) (hypervisor.Domain, error)
	DomainByUUID(ctx context.Context, uuid string) (hypervisor.Domain, error)
	XML(ctx context.Context, uuid string) ([]byte, error)
	LiveXML(ctx context.Context, uuid string) ([]byte, error)
	Validate(ctx context.Context, definition []byte) error
	Define(ctx context.Context, definition []byte) (hypervisor.Domain, error)
	Redefine(ctx context.Context, definition []byte) (hypervisor.Domain, error)
	SetMetadata(ctx context.Context, uuid, namespace, prefix string, element []byte) error
	Undefine(ctx context.Context, uuid string) error
	Purge(ctx context.Context, uuid string) error
	Start(ctx context.Context, uuid string) error
	Shutdown(ctx context.Context, uuid string) error
	Destroy(ctx context.Context, uuid string) error
	SetAutostart(ctx context.Context, uuid string, on bool) error
	BlockJob(ctx context.Context, uuid, target string) (bool, error)
	VolumePath(ctx context.Context, pool, volume string) (string, error)
	Events(ctx context.Context) (<-chan hypervisor.Event, error)
}

var (
	_ Client = (*hypervisor.Conn)(nil)
	_ Client = (*Fake)(nil)
)
