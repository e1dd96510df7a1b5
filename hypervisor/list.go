package hypervisor

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/digitalocean/go-libvirt"
)

// Domains are all guests, by name.
func (c *Conn) Domains(ctx context.Context) ([]Domain, error) {
	listed, err := ask(ctx, c, "list the domains", looks, list)
	if err != nil {
		return nil, err
	}
	domains := make([]Domain, 0, len(listed))
	for _, one := range listed {
		if one.settled {
			domains = append(domains, one.Domain)
			continue
		}
		domain, err := c.look(ctx, one.handle)
		var gone *NotFoundError
		if errors.As(err, &gone) {
			continue // undefined since the list was made
		}
		if err != nil {
			return nil, err
		}
		domains = append(domains, domain)
	}
	slices.SortFunc(domains, func(a, b Domain) int { return cmp.Compare(a.Name, b.Name) })
	return domains, nil
}

// listed is a domain as the lists show it.
type listed struct {
	Domain
	handle libvirt.Domain
	// settled says that the lists tell all there is to know of it.
	settled bool
}

// list asks for one list a question instead of six questions a domain: with
// 200 domains that is eight calls and not 1200. Where a list can't tell, as of
// how many snapshots there are, or where two disagree since the domain changed
// in between, the domain is not settled.
func list(l *libvirt.Libvirt) ([]listed, error) {
	all, _, err := l.ConnectListAllDomains(1, libvirt.ConnectListDomainsActive|libvirt.ConnectListDomainsInactive)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, nil
	}
	states, err := filtered(l, libvirt.ConnectListDomainsRunning, libvirt.ConnectListDomainsPaused, libvirt.ConnectListDomainsShutoff)
	if err != nil {
		return nil, err
	}
	traits, err := filtered(l, libvirt.ConnectListDomainsPersistent, libvirt.ConnectListDomainsAutostart, libvirt.ConnectListDomainsManagedsave,
		libvirt.ConnectListDomainsHasSnapshot, libvirt.ConnectListDomainsHasCheckpoint)
	if err != nil {
		return nil, err
	}
	domains := make([]listed, len(all))
	for i, handle := range all {
		id := handle.UUID
		one := listed{handle: handle, Domain: Domain{
			Name: handle.Name, UUID: formatUUID(id), Persistent: traits[0][id], Autostart: traits[1][id], ManagedSave: traits[2][id],
		}}
		count := 0
		for s, state := range []State{Running, Paused, ShutOff} {
			if states[s][id] {
				one.State = state
				count++
			}
		}
		one.settled = count == 1 && one.Persistent && !traits[3][id] && !traits[4][id]
		domains[i] = one
	}
	return domains, nil
}

// filtered are the domains that each of the filters lets through. A filter that
// this libvirt or its driver does not know lets none through: such a thing does
// not exist there.
func filtered(l *libvirt.Libvirt, filters ...libvirt.ConnectListAllDomainsFlags) ([]map[libvirt.UUID]bool, error) {
	found := make([]map[libvirt.UUID]bool, len(filters))
	for i, filter := range filters {
		some, _, err := l.ConnectListAllDomains(1, filter)
		var said libvirt.Error
		if errors.As(err, &said) && said.Code == uint32(libvirt.ErrInvalidArg) {
			err = nil
		}
		if unless(&err) != nil {
			return nil, err
		}
		found[i] = make(map[libvirt.UUID]bool, len(some))
		for _, one := range some {
			found[i][one.UUID] = true
		}
	}
	return found, nil
}
