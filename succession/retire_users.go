package succession

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// users finds the domains, other than the original, that use one of the disks: as
// a disk of theirs, below one, or in whatever other place of their definition.
type users struct {
	*Env
	disks []Retiree
	// keys are the disks by what is the same for all their paths.
	keys map[string]Retiree
	// original is the UUID of the domain that may.
	original string
}

func (e *Env) newUsers(ctx context.Context, disks []Retiree, original string) (*users, error) {
	u := &users{Env: e, disks: disks, keys: make(map[string]Retiree), original: original}
	for _, disk := range disks {
		facts, err := e.Plain.Look(ctx, disk.Path)
		if isMissing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		u.keys[facts.Key] = disk
	}
	return u, nil
}

// find says in sentences who uses which disk.
func (u *users) find(ctx context.Context) ([]Reason, error) {
	domains, err := u.Hypervisor.Domains(ctx)
	if err != nil {
		return nil, err
	}
	var reasons []Reason
	for _, domain := range domains {
		if strings.EqualFold(domain.UUID, u.original) {
			continue
		}
		found, err := u.of(ctx, domain)
		if err != nil {
			return nil, err
		}
		reasons = append(reasons, found...)
	}
	return reasons, nil
}

// ourSources are the attributes with which a clone's metadata name its plain
// disks.
var ourSources = regexp.MustCompile(`\bsource=("[^"]*"|'[^']*')`)

func (u *users) of(ctx context.Context, domain hypervisor.Domain) ([]Reason, error) {
	var reasons []Reason
	told := make(map[string]bool)
	tell := func(disk Retiree, format string, args ...any) {
		if told[disk.Target] {
			return
		}
		told[disk.Target] = true
		reasons = append(reasons, Reason{
			Code: Used, Disk: disk.Target, Text: fmt.Sprintf(format, args...), Remedy: command.Quote([]string{"virsh", "domblklist", "--", domain.Name}),
		})
	}
	for _, read := range []func(context.Context, string) ([]byte, error){u.Hypervisor.XML, u.Hypervisor.LiveXML} {
		text, err := read(ctx, domain.UUID)
		if isGone(err) {
			return reasons, nil
		}
		if err != nil {
			return nil, err
		}
		if parsed, err := domainxml.Parse(text); err == nil {
			for _, disk := range parsed.Disks() {
				if err := u.disk(ctx, domain, disk, tell); err != nil {
					return nil, err
				}
			}
		}
		// Backing files, devices that are passed through, arguments of QEMU's.
		rest := ourSources.ReplaceAllString(string(text), "")
		for _, disk := range u.disks {
			for _, quote := range []string{"'", `"`, "<", ",", "="} {
				if strings.Contains(rest, disk.Path+quote) {
					tell(disk, "the definition of the VM %q names %s", domain.Name, disk.Path)
				}
			}
		}
	}
	return reasons, nil
}

func (u *users) disk(ctx context.Context, domain hypervisor.Domain, disk domainxml.Disk, tell func(Retiree, string, ...any)) error {
	path, err := u.pathOf(ctx, disk)
	if err != nil || path == "" {
		return nil //nolint:nilerr // a volume that is not there uses nothing
	}
	facts, err := u.Plain.Look(ctx, path)
	if err != nil {
		return nil //nolint:nilerr // a disk that can't be looked at is none of these: they can
	}
	if ours, is := u.keys[facts.Key]; is {
		tell(ours, "%s is the disk %s of the VM %q", ours.Path, disk.Target, domain.Name)
		return nil
	}
	if disk.Format == "raw" {
		return nil
	}
	files, err := u.Chain(ctx, path, disk.Format)
	if err != nil {
		return fmt.Errorf("look what the disk %s of the VM %q rests on: %w", disk.Target, domain.Name, err)
	}
	for _, own := range files.Data {
		if facts, err := u.Plain.Look(ctx, own); err == nil {
			if ours, is := u.keys[facts.Key]; is {
				tell(ours, "%s has the bytes of the disk %s of the VM %q, whose image is %s", ours.Path, disk.Target, domain.Name, path)
			}
		}
	}
	for _, below := range files.Behind {
		if facts, err := u.Plain.Look(ctx, below); err == nil {
			if ours, is := u.keys[facts.Key]; is {
				tell(ours, "%s lies under the disk %s of the VM %q, as a backing file of %s", ours.Path, disk.Target, domain.Name, path)
			}
		}
	}
	return nil
}

// judgeUsers refuses disks that another domain uses.
func (j *judge) judgeUsers(ctx context.Context) error {
	u, err := j.newUsers(ctx, j.plan.Disks, j.plan.OriginalUUID)
	if err != nil {
		return err
	}
	reasons, err := u.find(ctx)
	j.reasons = append(j.reasons, reasons...)
	if err != nil || j.original == nil {
		return err
	}
	// The original itself has to be what it was.
	for _, disk := range j.plan.Disks {
		has, err := j.original.xml.Disk(disk.Target)
		path := ""
		if err == nil {
			path, err = j.pathOf(ctx, has)
		}
		if err != nil || path != disk.Path {
			j.against(Other, disk.Target, command.Quote([]string{"virsh", "domblklist", "--", j.original.Name}), "%q no longer has %s as its disk %s", j.original.Name, disk.Path, disk.Target)
		}
	}
	return nil
}

// judgeHolders refuses a disk that is open, mounted, mapped, swapped to, or part
// of a volume group of this host.
func (j *judge) judgeHolders(ctx context.Context, d Retiree, facts PlainFacts) error {
	holders, err := j.Holders(d.Path)
	if err != nil && !isMissing(err) {
		return err
	}
	for _, holder := range holders {
		j.against(Used, d.Target, "", "%s is in use by %s", d.Path, holder)
	}
	if facts.Busy && len(holders) == 0 {
		j.against(Used, d.Target, command.Quote([]string{"lsblk", d.Path}), "%s is in use by this host itself", d.Path)
	}
	if !facts.Block {
		return nil
	}
	groups, err := j.Volumes.On(ctx, d.Path)
	var none *lvm.NotFoundError
	if err != nil && !errors.As(err, &none) {
		return err
	}
	if len(groups) == 0 {
		return nil
	}
	// A guest may have made its disks a group of its own. One with a disk that
	// is none of the original's is this host's, or another guest's.
	all, err := j.Volumes.VGs(ctx)
	if err != nil {
		return err
	}
	ours := make(map[string]bool)
	for _, disk := range j.clone.Disks {
		if seen, err := j.Plain.Look(ctx, disk.Source); err == nil {
			ours[seen.Key] = true
		}
	}
	for _, group := range groups {
		for _, known := range all {
			if known.UUID != group.UUID {
				continue
			}
			for _, pv := range known.PVs {
				if seen, err := j.Plain.Look(ctx, pv.Name); err != nil || !ours[seen.Key] {
					j.against(Used, d.Target, command.Quote([]string{"vgs", "-o", "+pv_name", known.Name}), "%s is a physical volume of the volume group %q, which has other disks too", d.Path, known.Name)
				}
			}
		}
	}
	return nil
}
