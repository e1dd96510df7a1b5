package succession

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lifecycle"
)

// plainSuffix is what the original's name gets while the clone has it.
const plainSuffix = "-plain"

// errSo says that there is nothing to do: the clone has that place already.
var errSo = errors.New("it is so already")

// decision is an exchange with what the user should know of it.
type decision struct {
	*Exchange
	warnings []string
}

// party is a domain as it was found.
type party struct {
	hypervisor.Domain
	text []byte
	xml  *domainxml.Domain
}

func (p *party) identity() Identity {
	id := Identity{Name: p.Name, UUID: p.UUID}
	for _, i := range p.xml.Interfaces() {
		id.MACs = append(id.MACs, i.MAC)
	}
	return id
}

// decide makes the exchange of a clone and its original, and changes nothing.
// It returns errSo when there is nothing to do.
func (e *Env) decide(ctx context.Context, clone *lifecycle.Clone, undo bool) (*decision, error) {
	origin := clone.Origin
	switch {
	case !undo && origin.Cutover != nil, undo && origin.Cutover == nil:
		return nil, errSo
	case origin.Adopted():
		return nil, &NoOriginalError{Clone: clone.Name, Original: origin.Name, Adopted: true}
	case origin.Retired != nil:
		return nil, &NoOriginalError{Clone: clone.Name, Original: origin.Name, UUID: origin.UUID, Retired: true}
	}
	theirs, err := e.originalOf(ctx, clone)
	if err != nil {
		return nil, err
	}
	ours, err := e.read(ctx, clone.Domain)
	if err != nil {
		return nil, err
	}
	for _, p := range []*party{ours, theirs} {
		if err := fit(p.Domain, clone.Name); err != nil {
			return nil, err
		}
	}
	if err := e.sound(ctx, clone); err != nil {
		return nil, err
	}
	d := &decision{Exchange: &Exchange{Undo: undo}}
	holder, comer := theirs, ours
	if undo {
		holder, comer = ours, theirs
	}
	d.Holder.Before, d.Comer.Before = holder.identity(), comer.identity()
	d.Comer.After = Identity{Name: holder.Name, UUID: holder.UUID}
	d.Holder.AutostartBefore, d.Comer.AutostartBefore = holder.Autostart, comer.Autostart
	if undo {
		d.back(&origin)
	} else {
		err = e.forth(ctx, d, &origin)
	}
	if err != nil {
		return nil, err
	}
	d.Job = e.Store.NewID(d.Holder.After.UUID)
	if err := e.free(ctx, d.Holder.After); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		*Party
		*party
	}{{&d.Holder, holder}, {&d.Comer, comer}} {
		if p.TPM, err = e.keepsTPM(p.party); err != nil {
			return nil, err
		}
	}
	return d, d.rewrite(holder, comer, &origin)
}

// forth decides a cutover: the original steps aside, with the addresses of the
// clone. Where the two are the same, as with --keep-mac, it gets new ones, since
// two domains of one address are refused to run at once for ever.
func (e *Env) forth(ctx context.Context, d *decision, origin *domainxml.Origin) error {
	drawn, err := uuid.NewRandomFromReader(e.Random)
	if err != nil {
		return fmt.Errorf("draw a UUID: %w", err)
	}
	original, clone := d.Holder.Before, d.Comer.Before
	d.Holder.After = Identity{Name: original.Name + plainSuffix, UUID: drawn.String()}
	d.Comer.AutostartAfter = d.Comer.AutostartBefore
	d.Comer.After.MACs = paired(original.MACs, clone.MACs)
	d.Holder.After.MACs = paired(clone.MACs, original.MACs)
	given := make(map[string]bool)
	for _, mac := range d.Comer.After.MACs {
		given[strings.ToLower(mac)] = true
	}
	var taken map[string]bool
	for i, mac := range d.Holder.After.MACs {
		if !given[strings.ToLower(mac)] {
			continue
		}
		if taken == nil {
			if taken, err = e.addresses(ctx); err != nil {
				return err
			}
		}
		fresh, err := domainxml.NewMAC(e.Random, func(mac string) bool { return taken[mac] })
		if err != nil {
			return err
		}
		taken[fresh] = true
		d.Holder.After.MACs[i] = fresh
	}
	if len(original.MACs) != len(clone.MACs) {
		d.warnings = append(d.warnings, fmt.Sprintf("%q has %d network interfaces and %q %d: those that have no counterpart keep their hardware address", original.Name, len(original.MACs), clone.Name, len(clone.MACs)))
	}
	if d.Holder.AutostartBefore {
		d.warnings = append(d.warnings, fmt.Sprintf("%q started with the host while its disks were plain; it no longer does, since they are locked after a boot", original.Name))
	}
	origin.UUID = d.Holder.After.UUID
	origin.Cutover = &domainxml.Cutover{
		Name: clone.Name, UUID: clone.UUID, MACs: clone.MACs, Autostart: d.Holder.AutostartBefore, Time: e.Now().UTC().Format(time.RFC3339),
	}
	return nil
}

// back decides the undo of a cutover: each gets what it had.
func (d *decision) back(origin *domainxml.Origin) {
	was := origin.Cutover
	d.Holder.After = Identity{Name: was.Name, UUID: was.UUID, MACs: paired(was.MACs, d.Holder.Before.MACs)}
	d.Comer.After.MACs = paired(d.Holder.Before.MACs, d.Comer.Before.MACs)
	d.Holder.AutostartAfter, d.Comer.AutostartAfter = d.Holder.AutostartBefore, was.Autostart
	origin.UUID, origin.Cutover = d.Comer.After.UUID, nil
}

// paired are the addresses for the interfaces that have own: the other's, as far
// as it has any.
func paired(theirs, own []string) []string {
	all := make([]string, len(own))
	for i := range own {
		all[i] = own[i]
		if i < len(theirs) && theirs[i] != "" {
			all[i] = theirs[i]
		}
	}
	return all
}

// originalOf finds the domain that a clone was made from, as it is called now.
func (e *Env) originalOf(ctx context.Context, clone *lifecycle.Clone) (*party, error) {
	domain, err := e.Hypervisor.DomainByUUID(ctx, clone.Origin.UUID)
	if isGone(err) {
		gone := &NoOriginalError{Clone: clone.Name, Original: clone.Origin.Name, UUID: clone.Origin.UUID}
		_, err := e.Hypervisor.Domain(ctx, clone.Origin.Name)
		if gone.Taken = err == nil; err != nil && !isGone(err) {
			return nil, err
		}
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	return e.read(ctx, domain)
}

func (e *Env) read(ctx context.Context, domain hypervisor.Domain) (*party, error) {
	p := &party{Domain: domain}
	var err error
	if p.text, err = e.Hypervisor.XML(ctx, domain.UUID); err != nil {
		return nil, err
	}
	p.xml, err = domainxml.Parse(p.text)
	return p, err
}

// fit refuses a domain that can't change its identity now.
func fit(domain hypervisor.Domain, clone string) error {
	bad := &PartyError{VM: domain.Name, Clone: clone, State: domain.State}
	switch {
	case domain.State.Active():
		bad.Problem = Active
	case !domain.Persistent:
		bad.Problem = Transient
	case domain.ManagedSave:
		bad.Problem = ManagedSave
	case domain.Snapshots > 0:
		bad.Problem = Snapshots
	case domain.Checkpoints > 0:
		bad.Problem = Checkpoints
	default:
		return nil
	}
	return bad
}

// sound refuses a clone whose disks are not what they should be, and one of
// several clones of an original: the others would take it for theirs.
func (e *Env) sound(ctx context.Context, clone *lifecycle.Clone) error {
	if err := e.Clones.Examine(ctx, clone); err != nil {
		return err
	}
	for _, disk := range clone.Disks {
		if disk.Problem != nil {
			return disk.Problem
		}
	}
	all, err := e.Clones.All(ctx)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.UUID != clone.UUID && strings.EqualFold(other.Origin.UUID, clone.Origin.UUID) {
			return &SiblingError{Clone: clone.Name, Other: other.Name, Original: clone.Origin.Name}
		}
	}
	return nil
}

// free refuses an identity that another domain has.
func (e *Env) free(ctx context.Context, id Identity) error {
	there, err := e.Hypervisor.Domain(ctx, id.Name)
	if err == nil {
		return &NameTakenError{Name: id.Name, By: there.Name}
	}
	if !isGone(err) {
		return err
	}
	there, err = e.Hypervisor.DomainByUUID(ctx, id.UUID)
	if err == nil {
		return &NameTakenError{Name: id.UUID, By: there.Name}
	}
	if !isGone(err) {
		return err
	}
	return nil
}

// addresses are those of all domains, in lower case.
func (e *Env) addresses(ctx context.Context) (map[string]bool, error) {
	domains, err := e.Hypervisor.Domains(ctx)
	if err != nil {
		return nil, err
	}
	taken := make(map[string]bool)
	for _, domain := range domains {
		text, err := e.Hypervisor.XML(ctx, domain.UUID)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		parsed, err := domainxml.Parse(text)
		if err != nil {
			continue // what is no QEMU domain is on no network of theirs
		}
		for _, i := range parsed.Interfaces() {
			taken[strings.ToLower(i.MAC)] = true
		}
	}
	return taken, nil
}

// keepsTPM says whether libvirt keeps the state of a TPM under the domain's
// UUID. One whose definition names a path of its own keeps that.
func (e *Env) keepsTPM(p *party) (bool, error) {
	for _, tpm := range p.xml.Firmware().TPMs {
		if tpm.Backend == "emulator" && tpm.State == "" {
			return exists(filepath.Join(e.tpmDir(), p.UUID))
		}
	}
	return false, nil
}

// rewrite makes the two new definitions.
func (d *decision) rewrite(holder, comer *party, origin *domainxml.Origin) error {
	d.definitions.holderBefore, d.definitions.comerBefore = holder.text, comer.text
	for _, p := range []struct {
		Party
		before  []byte
		after   *[]byte
		isClone bool
	}{{d.Holder, holder.text, &d.definitions.holderAfter, d.Undo}, {d.Comer, comer.text, &d.definitions.comerAfter, !d.Undo}} {
		edit := domainxml.Edit{Same: true, Name: p.After.Name, UUID: p.After.UUID, MACs: p.After.MACs}
		if p.isClone {
			edit.Origin = origin
		}
		rewritten, err := domainxml.Rewrite(p.before, edit)
		if err != nil {
			return err
		}
		*p.after = rewritten.XML
	}
	for _, definition := range d.all() {
		*definition.sum = sum(*definition.text)
	}
	return nil
}

func isGone(err error) bool {
	var gone *hypervisor.NotFoundError
	return errors.As(err, &gone)
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
