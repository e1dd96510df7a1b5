package planfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// The findings that only a plan file can have.
const (
	// VMGone: no VM has that name, or another one has it.
	VMGone migrate.Code = "vm-gone"
	// Outdated: a disk is not what it was when the plan was made.
	Outdated migrate.Code = "plan-outdated"
)

// Change is one thing that is not as it was when the plan was made.
type Change struct {
	// VM and Disk say what it is about; both may be empty.
	VM, Disk string
	// What has changed, and what it was and is.
	What, Was, Is string
	// Code is that of the blocker that it is, or "" if it only is to be known.
	Code migrate.Code
}

func (c Change) String() string {
	var about strings.Builder
	for _, part := range []string{c.VM, c.Disk} {
		if part != "" {
			about.WriteString(part + ": ")
		}
	}
	return fmt.Sprintf("%s%s was %s, is %s", about.String(), c.What, c.Was, c.Is)
}

// Blocker is the finding that the change is. It is for a change with a Code.
func (c Change) Blocker() migrate.Finding {
	remedy := "plan again with vmmigrate plan --save, or put what is right into the plan file"
	if c.Code == VMGone {
		remedy = "put the right name into the plan file, or skip: true"
	}
	return migrate.Finding{Code: c.Code, Disk: c.Disk, Message: fmt.Sprintf("%s was %s when the plan was made, and is %s", c.What, c.Was, c.Is), Remedy: remedy}
}

// OtherHost is the change of the host itself, nil if it is the one that the
// plan was made on.
func (f *File) OtherHost(host string) []Change {
	if f.Host == "" || f.Host == host {
		return nil
	}
	return []Change{{What: "the host", Was: f.Host, Is: host}}
}

// Gone is the change that there is no such VM any more, nil if there is.
func Gone(vm VM, facts *migrate.Facts) []Change {
	for _, domain := range facts.Domains {
		if domain.Name == vm.Name {
			if vm.UUID != "" && domain.UUID != vm.UUID {
				return []Change{{VM: vm.Name, What: "its UUID", Was: vm.UUID, Is: domain.UUID, Code: VMGone}}
			}
			return nil
		}
	}
	is := "gone"
	for _, domain := range facts.Domains {
		if vm.UUID != "" && domain.UUID == vm.UUID {
			is = fmt.Sprintf("called %q", domain.Name)
		}
	}
	return []Change{{VM: vm.Name, What: "the VM", Was: "defined", Is: is, Code: VMGone}}
}

// Compare tells what has changed about a VM that is still there, and about what
// its plan needs. A plan that is done has nothing left to compare.
func Compare(vm VM, plan *migrate.Plan, facts *migrate.Facts) []Change {
	domain := find(facts, vm.Name)
	if domain == nil {
		return nil
	}
	var changes []Change
	if vm.State != "" && string(domain.State) != vm.State {
		changes = append(changes, Change{VM: vm.Name, What: "its state", Was: vm.State, Is: string(domain.State)})
	}
	if plan.Result() == migrate.ResultDone {
		return append(changes, Change{VM: vm.Name, What: "its migration", Was: "to be done", Is: "done"})
	}
	changes = append(changes, compareDisks(vm, domain)...)
	for _, blocker := range plan.Blockers {
		if blocker.Code == migrate.LVTaken {
			changes = append(changes, Change{VM: vm.Name, Disk: blocker.Disk, What: "the name of its volume", Was: "free", Is: "taken"})
		}
	}
	return changes
}

func compareDisks(vm VM, domain *migrate.DomainFacts) []Change {
	if domain.XML == nil || vm.Disks == nil {
		return nil
	}
	var changes []Change
	outdated := func(disk, what, was, is string) {
		changes = append(changes, Change{VM: vm.Name, Disk: disk, What: what, Was: was, Is: is, Code: Outdated})
	}
	there := domain.XML.Disks()
	for _, disk := range vm.Disks {
		i := slices.IndexFunc(there, func(d domainxml.Disk) bool { return d.Target == disk.Target })
		if i < 0 {
			outdated(disk.Target, "the disk", "there", "gone")
			continue
		}
		now := domain.Disks[disk.Target]
		path := now.Path
		if path == "" {
			path = there[i].Path
		}
		if disk.Source != "" && path != disk.Source {
			outdated(disk.Target, "its source", disk.Source, path)
			continue
		}
		if disk.Size > 0 && now.Err == nil && now.Size != disk.Size && !disk.Skip {
			outdated(disk.Target, "its size", formatSize(disk.Size), formatSize(now.Size))
		}
	}
	for _, disk := range there {
		if disk.Kind == domainxml.Move && !slices.ContainsFunc(vm.Disks, func(d Disk) bool { return d.Target == disk.Target }) {
			outdated(disk.Target, "the disk", "not in the plan", "there")
		}
	}
	return changes
}
