package main

import (
	"errors"
	"fmt"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// explainRefusal tells of what kept a command from beginning at all.
func explainRefusal(err error) (advice, bool) {
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	var blocked *migrate.BlockedError
	var unknown *migrate.UnknownVMError
	var root *notRootError
	var missing *command.NotFoundError
	var unreachable *hypervisor.UnreachableError
	var timeout *hypervisor.TimeoutError
	var lost *hypervisor.LostError
	var slow *migrate.SlowError
	var twins *lvm.AmbiguousError
	var refused *hypervisor.RefusedError
	var source *keySourceError
	var definition *definitionError
	var key *luks.KeyError
	switch {
	case errors.As(err, &blocked):
		explainBlocked(&a, err)
	case errors.As(err, &unknown):
		a.what += didYouMean(unknown.Name, unknown.Known)
		a.next = []string{"virsh list --all"}
	case errors.As(err, &root):
		a.next = []string{"sudo " + root.again}
	case errors.As(err, &missing):
		if missing.Package != "" {
			a.next = []string{"apt install " + missing.Package}
		}
	case errors.As(err, &unreachable), errors.As(err, &lost):
		a.next = []string{"systemctl status libvirtd"}
	case errors.As(err, &twins):
		a.next = []string{"vgs -o vg_name,vg_uuid,pv_name", "vgrename UUID NEWNAME"}
	case errors.As(err, &slow):
		a.details = []string{"it was asked to " + slow.What}
	case errors.As(err, &timeout):
		a.details = []string{"libvirt took the connection and did not answer: it hangs, or is busy beyond reason"}
		a.next = []string{"systemctl restart libvirtd"}
	case errors.As(err, &refused), errors.As(err, &source), errors.As(err, &key), errors.As(err, &definition), isXMLRefusal(err):
	default:
		return advice{}, false
	}
	return a, true
}

// explainBlocked lists the blockers of every VM, each with its remedy.
func explainBlocked(a *advice, err error) {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	var vms int
	for _, one := range all {
		var blocked *migrate.BlockedError
		if !errors.As(one, &blocked) {
			continue
		}
		vms++
		a.what = blocked.Refused()
		for _, finding := range blocked.Blockers {
			text := finding.Message
			if len(all) > 1 {
				text = blocked.VM + ": " + text
			}
			a.details = append(a.details, text)
			if finding.Remedy != "" {
				a.details = append(a.details, "    "+finding.Remedy)
			}
		}
	}
	if vms > 1 {
		a.what = fmt.Sprintf("%d VMs can't be migrated", vms)
	}
}

func isXMLRefusal(err error) bool {
	var syntax *domainxml.SyntaxError
	var large *domainxml.TooLargeError
	var root *domainxml.NotDomainError
	var kind *domainxml.HypervisorError
	var invalid *domainxml.InvalidError
	var noDisk *domainxml.NoDiskError
	var notMovable *domainxml.NotMovableError
	var firmware *domainxml.FirmwareError
	var unintended *domainxml.UnintendedChangeError
	var lost *domainxml.LostError
	return errors.As(err, &syntax) || errors.As(err, &large) || errors.As(err, &root) || errors.As(err, &kind) || errors.As(err, &invalid) ||
		errors.As(err, &noDisk) || errors.As(err, &notMovable) || errors.As(err, &firmware) || errors.As(err, &unintended) || errors.As(err, &lost)
}
