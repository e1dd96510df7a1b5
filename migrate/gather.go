package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// How the host is looked at.
const (
	// lookTime bounds the look at one disk, or at one volume of a storage
	// pool: behind a network filesystem or a pool that hangs it would never
	// end, and all other VMs would wait for that one.
	lookTime = 5 * time.Second
	// lookers is how many domains are asked for at once. libvirt takes five
	// requests from a client at a time (libvirtd.conf, max_client_requests),
	// and one is left for whoever else asks.
	lookers = 4
	// fewDomains are asked for one after the other, which takes no longer.
	fewDomains = 16
)

// Gather looks at the host and changes nothing. Every domain is looked at, also
// those that are not to be migrated: they matter where they share a disk or a
// name.
func (e *Env) Gather(ctx context.Context) (*Facts, error) {
	facts := new(Facts)
	// lvm2 looks at every disk of the host, which takes as long as libvirt does
	// for its answers, and neither waits for the other.
	stored := make(chan error, 1)
	go func() { stored <- e.gatherStorage(ctx, facts) }()
	domains, err := e.gatherDomains(ctx)
	if err := cmp.Or(err, <-stored); err != nil {
		return nil, err
	}
	facts.Domains = domains
	pools, err := e.gatherVolumes(ctx, facts.Domains)
	if err != nil {
		return nil, err
	}
	lvs := newVolumeIndex(facts.LVs)
	for i := range facts.Domains {
		if err := e.gatherDisks(ctx, &facts.Domains[i], pools, lvs); err != nil {
			return nil, err
		}
	}
	return facts, nil
}

// gatherStorage looks at all but the domains.
func (e *Env) gatherStorage(ctx context.Context, facts *Facts) (err error) {
	if facts.VGs, err = e.Volumes.VGs(ctx); err != nil {
		return err
	}
	// What lies inside a guest's disk is no place for another guest's volumes.
	facts.VGs = slices.DeleteFunc(facts.VGs, func(vg lvm.VG) bool { return vg.Guest })
	if facts.LVs, err = e.Volumes.LVs(ctx); err != nil {
		return err
	}
	if facts.Mappers, err = e.Devices.MapperNames(ctx); err != nil {
		return fmt.Errorf("list the device-mapper devices: %w", err)
	}
	if facts.NVRAMs, err = e.Devices.NVRAMs(ctx); err != nil {
		return fmt.Errorf("list libvirt's UEFI variables: %w", err)
	}
	if facts.Jobs, err = e.Store.Jobs(); err != nil {
		return err
	}
	for _, folder := range ruleFolders {
		there, err := e.Devices.Exists(ctx, folder+"/"+ruleName)
		if err != nil {
			return err
		}
		facts.GuestsShielded = facts.GuestsShielded || there
	}
	return nil
}

// gatherDomains reads the definitions of all domains.
func (e *Env) gatherDomains(ctx context.Context) ([]DomainFacts, error) {
	listed, err := e.Hypervisor.Domains(ctx)
	if err != nil {
		return nil, err
	}
	// The definitions first and the storage pools after them: a pool that
	// hangs keeps its request open, and libvirt answers a client no others
	// once it has too many of those.
	domains := make([]DomainFacts, len(listed))
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(looking(len(listed)))
	for i, domain := range listed {
		group.Go(func() error {
			var err error
			domains[i], err = e.gatherDomain(all, domain)
			return err
		})
	}
	return domains, group.Wait()
}

// looking is how many goroutines look at so many domains.
func looking(domains int) int {
	if domains < fewDomains {
		return 1
	}
	return lookers
}

// gatherDomain reads a domain's definition.
func (e *Env) gatherDomain(ctx context.Context, domain hypervisor.Domain) (DomainFacts, error) {
	d := DomainFacts{Domain: domain, Disks: make(map[string]DiskFacts)}
	raw, err := e.Hypervisor.LiveXML(ctx, domain.UUID)
	if isGone(err) {
		d.Err = err // it was undefined while we looked
		return d, nil
	}
	if err != nil {
		return d, err
	}
	d.Raw = raw
	if d.XML, d.Err = domainxml.Parse(raw); d.Err != nil {
		return d, nil // one domain that can't be read must not hide the others
	}
	d.Files, err = e.firmwareFiles(ctx, domain.UUID, d.XML)
	return d, err
}

// gatherDisks looks at the sources of a domain's disks.
func (e *Env) gatherDisks(ctx context.Context, d *DomainFacts, pools volumePaths, lvs volumeIndex) error {
	if d.XML == nil {
		return nil
	}
	for _, disk := range d.XML.Disks() {
		path := disk.Path
		if disk.SourceType == "volume" {
			found := pools[poolVolume{disk.Pool, disk.Volume}]
			if found.err != nil {
				d.Disks[disk.Target] = DiskFacts{Err: found.err}
				continue
			}
			path = found.path
		}
		if path == "" {
			continue // it has no source on this host
		}
		facts, err := within(ctx, "look at "+path, func() (DiskFacts, error) { return e.inspectDisk(ctx, path, disk) })
		facts.Err = err
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if facts.Err != nil {
			facts.Path = path
		} else {
			facts.LV = lvs.find(facts.DeviceFacts)
		}
		d.Disks[disk.Target] = facts
	}
	return nil
}

// inspectDisk looks at a disk's source, and at the images behind it if it is
// one that is to move.
func (e *Env) inspectDisk(ctx context.Context, path string, disk domainxml.Disk) (DiskFacts, error) {
	var facts DiskFacts
	var err error
	facts.DeviceFacts, err = e.Devices.Inspect(ctx, path)
	if err != nil || disk.Format == string(image.Raw) || disk.Kind != domainxml.Move {
		return facts, err
	}
	if facts.Chain, err = e.Devices.Chain(ctx, path, image.Format(disk.Format)); err != nil {
		return facts, err
	}
	for _, file := range facts.Chain.Files() {
		of, err := e.Devices.Inspect(ctx, file)
		if err != nil {
			return facts, err
		}
		facts.Files = append(facts.Files, of)
	}
	return facts, nil
}

// SlowError says that something on this host did not answer in time, so that
// nothing can be told of it.
type SlowError struct {
	// What was asked for, as "look at /srv/imap.img".
	What string
	// After is how long it was waited for.
	After time.Duration
}

func (e *SlowError) Error() string { return fmt.Sprintf("no answer within %s", e.After) }

// within gives a look at something so much time. One that hangs is left behind:
// in the kernel nothing can end it.
func within[T any](ctx context.Context, what string, look func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		value, err := look()
		answered <- answer{value, err}
	}()
	timer := time.NewTimer(lookTime)
	defer timer.Stop()
	var none T
	select {
	case a := <-answered:
		return a.value, a.err
	case <-timer.C:
		return none, &SlowError{What: what, After: lookTime}
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// poolVolume names a volume of a storage pool, and volumePaths holds what came
// of looking for some.
type (
	poolVolume struct{ pool, volume string }
	volumePath struct {
		path string
		err  error
	}
	volumePaths map[poolVolume]volumePath
)

// hungPools is how many pools may hang before no other is asked for. Each keeps
// one of the few requests that libvirt takes from a client.
const hungPools = 3

// gatherVolumes finds the paths of all disks that are volumes of storage pools.
func (e *Env) gatherVolumes(ctx context.Context, domains []DomainFacts) (volumePaths, error) {
	found := make(volumePaths)
	hung := make(map[string]error)
	for _, d := range domains {
		if d.XML == nil {
			continue
		}
		for _, disk := range d.XML.Disks() {
			volume := poolVolume{disk.Pool, disk.Volume}
			if _, asked := found[volume]; asked || disk.SourceType != "volume" {
				continue
			}
			if err := hung[volume.pool]; err != nil {
				found[volume] = volumePath{err: err}
				continue
			}
			if len(hung) == hungPools {
				found[volume] = volumePath{err: fmt.Errorf("the storage pool %q was not asked, since %d others hang", volume.pool, hungPools)}
				continue
			}
			path, err := within(ctx, fmt.Sprintf("find the volume %q of the pool %q", volume.volume, volume.pool), func() (string, error) {
				return e.Hypervisor.VolumePath(ctx, volume.pool, volume.volume)
			})
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if isSlow(err) {
				err = fmt.Errorf("the storage pool %q hangs: %w", volume.pool, err)
				hung[volume.pool] = err
			}
			found[volume] = volumePath{path, err}
		}
	}
	return found, nil
}

func isSlow(err error) bool {
	var slow *SlowError
	var timeout *hypervisor.TimeoutError
	return errors.As(err, &slow) || errors.As(err, &timeout)
}

// volumeIndex finds the logical volume that a disk is, without opening all the
// volumes of the host: by path, or by device number.
type volumeIndex map[string]*lvm.LV

func newVolumeIndex(lvs []lvm.LV) volumeIndex {
	index := make(volumeIndex, 3*len(lvs))
	for i := range lvs {
		lv := &lvs[i]
		if !lv.Active || lv.Path == "" {
			continue
		}
		index[lv.Path], index[lv.DMPath] = lv, lv
		if lv.Major > 0 {
			index[blockID(uint32(lv.Major), uint32(lv.Minor))] = lv
		}
	}
	return index
}

func (v volumeIndex) find(device DeviceFacts) *lvm.LV {
	for _, name := range []string{device.ID, device.Resolved, device.Path} {
		if lv := v[name]; lv != nil && name != "" {
			return lv
		}
	}
	return nil
}

// blockID is the ID of the block device with that number.
func blockID(major, minor uint32) string { return fmt.Sprintf("block %d:%d", major, minor) }
