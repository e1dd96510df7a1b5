package main

import (
	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
	"github.com/vmmigrate/vmmigrate/virtinstall"
)

func adoptCases() []explainCase {
	template := func(err error) error {
		return before(&migrate.TemplateError{From: "the template /root/files.xml", Err: err})
	}
	return []explainCase{
		{"a template that is no XML", template(&domainxml.SyntaxError{Line: 1, Reason: "holds no element"})},
		{"a template that is another document", template(&domainxml.NotDomainError{Root: "pool"})},
		{"a template with two disks for one image", template(&domainxml.DiskCountError{Targets: []string{"vda", "vdb"}, Images: 1})},
		{"a template without a disk", template(&domainxml.DiskCountError{Images: 1})},
		{"a template with a password", template(new(domainxml.SecretError))},
		{"a name that libvirt takes for no domain", template(&domainxml.EditError{Field: "Name", Value: "a/b", Reason: "libvirt takes no slash and no line break in a name"})},
		{"an operating system that virt-install does not know", before(&virtinstall.RefusedError{Reason: "Unknown OS name 'beos9'. See `--osinfo list` for valid values"})},
		{"virt-install is not installed", before(&command.NotFoundError{Name: "virt-install", Package: "virtinst"})},
		{"an image that is written to meanwhile", stopped(migrate.Define, &migrate.SourceWrittenError{Disk: "sda", Path: "/srv/p2v.raw", By: []migrate.Writer{{PID: 4711, Name: "qemu-img"}}})},
		{"an image that is given twice", before(&migrate.OptionError{Option: "--disk", Reason: "/srv/a.raw and /srv/b.raw are the same disk"})},
		{"a cutover of a clone that was made of images", &succession.NoOriginalError{Clone: "files", Original: "files", Adopted: true}},
	}
}
