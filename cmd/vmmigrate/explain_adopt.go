package main

import (
	"errors"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/virtinstall"
)

// explainAdoption tells of images that could not become a VM.
func explainAdoption(err error) (advice, bool) {
	var template *migrate.TemplateError
	var refused *virtinstall.RefusedError
	var missing *command.NotFoundError
	var written *migrate.SourceWrittenError
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	switch {
	case errors.As(err, &template):
		explainTemplate(&a, err)
	case errors.As(err, &refused):
		a.details = []string{"virt-install drafts the definition of a VM that has none; --template FILE does without it"}
		a.next = []string{"vmmigrate run --help"}
	case errors.As(err, &missing) && missing.Name == virtinstall.Program:
		a.details = []string{"it drafts the definition of a VM that has none; --template FILE, with a domain's XML, does without it"}
		a.next = []string{"apt install virtinst"}
	case errors.As(err, &written):
		a.next = []string{command.Quote([]string{"fuser", "-v", written.Path})}
	default:
		return advice{}, false
	}
	return a, true
}

// explainTemplate tells what a template lacks.
func explainTemplate(a *advice, err error) {
	var count *domainxml.DiskCountError
	var secret *domainxml.SecretError
	switch {
	case errors.As(err, &count) && len(count.Targets) > 0:
		a.details = []string{"name as many with --disk as the template has disks, or take disks out of the template or put some in"}
		for _, target := range count.Targets {
			a.details = append(a.details, "    "+target)
		}
	case errors.As(err, &count):
		a.details = []string{"put a <disk> for each image into the template: what the disk is to the guest (bus, target) comes from it"}
	case errors.As(err, &secret):
		a.details = []string{"take it out, and set it in the new VM with virsh edit"}
	default:
		a.details = []string{"a template is the definition of a QEMU domain, as virsh dumpxml prints it"}
	}
}
