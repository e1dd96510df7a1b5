package domainxml_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/domainxml"
)

const template = `<domain type='kvm'>
  <name>old</name>
  <memory unit='KiB'>524288</memory>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>
    <disk type='network' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' discard_no_unref='on'><metadata_cache><max_size unit='bytes'>1024</max_size></metadata_cache></driver>
      <source protocol='rbd' name='pool/old'><host name='far'/></source>
      <target dev='sda' bus='sata'/>
      <serial>S1</serial>
      <transient/>
    </disk>
    <disk type='file' device='cdrom'>
      <source file='/srv/rescue.iso'/>
      <target dev='sdb' bus='sata'/>
      <readonly/>
    </disk>
    <disk type='file' device='disk'><target dev='vdb' bus='virtio'/></disk>
    <interface type='network'><source network='default'/></interface>
  </devices>
</domain>
`

func twoImages() []domainxml.Image {
	return []domainxml.Image{{Path: "/srv/a & b.raw", Format: "raw"}, {Path: "/dev/vg0/data", Block: true, Format: "qcow2"}}
}

func TestImagesTakeThePlacesOfATemplatesDisks(t *testing.T) {
	made, err := domainxml.WithImages([]byte(template), twoImages())
	if err != nil {
		t.Fatal(err)
	}
	domain, err := domainxml.Parse(made.XML)
	if err != nil {
		t.Fatal(err)
	}
	if domain.Name != "old" || domain.UUID != "" {
		t.Errorf("it is %s %s", domain.Name, domain.UUID)
	}
	disks := domain.Disks()
	if len(disks) != 3 {
		t.Fatalf("it has %d disks:\n%s", len(disks), made.XML)
	}
	if d := disks[0]; d.Path != "/srv/a & b.raw" || d.Format != "raw" || d.Kind != domainxml.Move || d.SourceType != "file" || d.Bus != "sata" || d.Serial != "S1" {
		t.Errorf("the first is %+v", d)
	}
	if d := disks[1]; d.Path != "/srv/rescue.iso" || d.Kind != domainxml.Keep {
		t.Errorf("the cdrom is %+v", d)
	}
	if d := disks[2]; d.Path != "/dev/vg0/data" || d.Format != "qcow2" || d.Kind != domainxml.Move || d.SourceType != "block" || d.Target != "vdb" {
		t.Errorf("the second is %+v", d)
	}
	for _, gone := range []string{"rbd", "far", "metadata_cache", "discard_no_unref", "transient"} {
		if strings.Contains(string(made.XML), gone) {
			t.Errorf("%q is still in it:\n%s", gone, made.XML)
		}
	}
	if !strings.Contains(string(made.XML), "cache='none'") {
		t.Errorf("how the disk is cached went:\n%s", made.XML)
	}
}

func TestATemplateThatDoesNotFitIsRefused(t *testing.T) {
	var count *domainxml.DiskCountError
	var secret *domainxml.SecretError
	var notDomain *domainxml.NotDomainError
	var syntax *domainxml.SyntaxError
	var edit *domainxml.EditError
	cases := map[string]struct {
		text   string
		images []domainxml.Image
		as     any
	}{
		"one image for two disks":     {template, twoImages()[:1], &count},
		"a password":                  {strings.Replace(template, "<devices>", "<devices><graphics type='vnc' passwd='hush'/>", 1), twoImages(), &secret},
		"another document":            {"<pool type='dir'/>", twoImages(), &notDomain},
		"no XML":                      {"QFI\xfb", twoImages(), &syntax},
		"nothing":                     {"", twoImages(), &syntax},
		"a DOCTYPE":                   {"<!DOCTYPE x [<!ENTITY e 'x'>]>" + template, twoImages(), &syntax},
		"a path that XML can't hold":  {template, []domainxml.Image{{Path: "/srv/\x01", Format: "raw"}, twoImages()[1]}, &edit},
		"a path that is not absolute": {template, []domainxml.Image{{Path: "srv", Format: "raw"}, twoImages()[1]}, &edit},
	}
	for name, c := range cases {
		_, err := domainxml.WithImages([]byte(c.text), c.images)
		if err == nil || !errors.As(err, c.as) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the password is in the error", name)
		}
	}
}
