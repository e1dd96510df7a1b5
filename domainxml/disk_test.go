package domainxml

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatCanBecomeOfADisk(t *testing.T) {
	const target = "<target dev='vda' bus='virtio'/>"
	const file = "<driver name='qemu' type='raw'/><source file='/i'/>"
	for _, c := range []struct {
		name, xml string
		kind      Kind
		reason    string
	}{
		{"a raw file", "<disk type='file' device='disk'>" + file + target + "</disk>", Move, "encrypted volume"},
		{"a raw device", "<disk type='block' device='disk'><driver type='raw'/><source dev='/dev/a'/>" + target + "</disk>", Move, "encrypted volume"},
		{"a pool's volume", "<disk type='volume' device='disk'><driver type='raw'/><source pool='p' volume='v'/>" + target + "</disk>", Move, "encrypted volume"},
		{"no type, no device, no format", "<disk><source file='/i'/>" + target + "</disk>", Move, "takes for raw"},
		{"a qcow2 file", "<disk type='file'><driver name='qemu' type='qcow2'/><source file='/i'/>" + target + "</disk>", Move, "what the guest sees of its qcow2 image"},
		{"a vmdk in a pool", "<disk type='volume'><driver type='vmdk'/><source pool='p' volume='v'/>" + target + "</disk>", Move, "what the guest sees of its vmdk image"},
		{"a qed file", "<disk type='file'><driver name='qemu' type='qed'/><source file='/i'/>" + target + "</disk>", Refuse, "its format is qed, and only raw, qcow2, vmdk, vdi can be moved"},
		{"a cdrom", "<disk type='file' device='cdrom'>" + file + target + "</disk>", Keep, "cdrom"},
		{"a cdrom on the network", "<disk type='network' device='cdrom'><source protocol='http' name='/x'/>" + target + "</disk>", Keep, "cdrom"},
		{"a floppy", "<disk type='file' device='floppy'>" + file + "<target dev='fda'/></disk>", Keep, "floppy"},
		{"a read-only disk", "<disk type='file' device='disk'>" + file + target + "<readonly/></disk>", Keep, "read-only"},
		{"no source", "<disk type='file' device='disk'>" + target + "</disk>", Keep, "no source"},
		{"an empty source", "<disk type='file' device='disk'><source/>" + target + "</disk>", Keep, "no source"},
		{"a shareable disk", "<disk type='file' device='disk'>" + file + target + "<shareable/></disk>", Refuse, "shareable"},
		{"a network disk", "<disk type='network' device='disk'><source protocol='rbd' name='p/i'/>" + target + "</disk>", Refuse, "over the network"},
		{"vhost-user", "<disk type='vhostuser' device='disk'><source type='unix' path='/s'/>" + target + "</disk>", Refuse, "vhost-user"},
		{"vDPA", "<disk type='vhostvdpa' device='disk'><source dev='/dev/vhost-vdpa-0'/>" + target + "</disk>", Refuse, "vDPA"},
		{"NVMe", "<disk type='nvme' device='disk'><source type='pci' namespace='1'><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>" + target + "</disk>", Refuse, "NVMe"},
		{"a folder", "<disk type='dir' device='disk'><source dir='/d'/>" + target + "</disk>", Refuse, "folder"},
		{"a LUN", "<disk type='block' device='lun'><source dev='/dev/a'/>" + target + "</disk>", Refuse, "SCSI"},
		{"a transient disk", "<disk type='file' device='disk'>" + file + target + "<transient/></disk>", Refuse, "transient"},
		{"a mirror in progress", "<disk type='file' device='disk'>" + file + "<mirror type='file' file='/c'/>" + target + "</disk>", Refuse, "block job"},
		{"encrypted by QEMU", "<disk type='file' device='disk'>" + file + "<encryption format='luks'/>" + target + "</disk>", Refuse, "already encrypted"},
		{"encrypted, new form", "<disk type='file' device='disk'><source file='/i'><encryption format='luks'/></source>" + target + "</disk>", Refuse, "already encrypted"},
		{"a slice", "<disk type='file' device='disk'><source file='/i'><slices><slice type='storage' offset='0' size='512'/></slices></source>" + target + "</disk>", Refuse, "slice"},
		{"an iSCSI volume, direct", "<disk type='volume' device='disk'><source pool='p' volume='v' mode='direct'/>" + target + "</disk>", Refuse, "iSCSI"},
		{"a volume without a pool", "<disk type='volume' device='disk'><source volume='v'/>" + target + "</disk>", Refuse, "pool"},
		{"a device yet to come", "<disk type='file' device='drum'>" + file + target + "</disk>", Refuse, "drum"},
	} {
		d, err := Parse(domain(c.xml))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		disk := d.Disks()[0]
		if disk.Kind != c.kind || !strings.Contains(disk.Reason, c.reason) {
			t.Errorf("%s: %s, because %s", c.name, disk.Kind, disk.Reason)
		}
		_, err = Rewrite(domain(c.xml), Edit{Disks: []DiskEdit{{Target: disk.Target, Device: "/dev/mapper/x"}}})
		var bad *NotMovableError
		if refused := errors.As(err, &bad); refused == (c.kind == Move) || (err != nil) != refused {
			t.Errorf("%s: moving it: %v", c.name, err)
		}
	}
}

func TestWhatCannotBeReadIsRefusedByItsElement(t *testing.T) {
	const disk = "<disk type='file'><source file='/i'/><target dev='vda'/></disk>"
	for _, c := range [][2]string{
		{"<disk type='quantum'><source/><target dev='vdb'/></disk>", "/domain/devices/disk[2]"},
		{"<disk type='file'><driver iothread='-1'/><source file='/i'/><target dev='vdb'/></disk>", "/domain/devices/disk[2]"},
		{"<disk type='file'><source file='/i'/></disk>", "/domain/devices/disk[2]"},
		{disk, "/domain/devices/disk[2]"},
		{"<controller type='usb' index='-1'/>", "/domain/devices/controller"},
	} {
		_, err := Parse(domain(disk, c[0]))
		var bad *InvalidError
		if !errors.As(err, &bad) || bad.Path != c[1] {
			t.Errorf("%s: %v", c[0], err)
		}
	}
}

func TestADisksFactsAreRead(t *testing.T) {
	d, err := Parse(domain(`<disk type='volume' device='disk'>
      <driver name='qemu' discard='unmap'/>
      <source pool='fast' volume='imap.img' mode='host'/>
      <target dev='sdc' bus='scsi'/>
      <serial>S-1</serial>
    </disk>`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Disk{{
		Target: "sdc", Bus: "scsi", Device: "disk", SourceType: "volume", Pool: "fast", Volume: "imap.img", Mode: "host",
		Format: "raw", FormatAssumed: true, Discard: "unmap", Serial: "S-1", Element: "/domain/devices/disk", Kind: Move,
		Reason: "no format is named, which libvirt takes for raw; its content moves to an encrypted volume",
	}}
	if diff := cmp.Diff(want, d.Disks()); diff != "" {
		t.Error(diff)
	}
}

func TestAMovedDiskKeepsItsTuningAndLosesWhatBelongedToTheFile(t *testing.T) {
	got := clone(t, domain(`<disk type='volume' device='disk' snapshot='no'>
      <driver name='qemu' type='raw' cache='writeback' io='threads' discard='unmap' detect_zeroes='unmap' iothread='2' queues='4'/>
      <source pool='p' volume='v' startupPolicy='optional' index='3'>
        <seclabel model='dac' relabel='no'/>
      </source>
      <backingStore/>
      <blockio logical_block_size='512' physical_block_size='4096'/>
      <iotune>
        <total_iops_sec>500</total_iops_sec>
      </iotune>
      <target dev='vda' bus='virtio'/>
      <throttlefilters>
        <throttlefilter group='g0'/>
      </throttlefilters>
      <serial>S-1</serial>
      <wwn>5000c50015ea71ac</wwn>
      <boot order='1'/>
      <alias name='ua-root'/>
    </disk>`), Edit{Disks: []DiskEdit{{Target: "vda", Device: "/dev/mapper/cr"}}})
	want := []string{
		"<disk type='block' device='disk' snapshot='no'>",
		"<driver name='qemu' type='raw' cache='writeback' io='threads' discard='ignore' detect_zeroes='unmap' iothread='2' queues='4'/>",
		"<source dev='/dev/mapper/cr'>", "<seclabel model='dac' relabel='no'/>", "</source>",
		"<blockio logical_block_size='512' physical_block_size='4096'/>",
		"<iotune>", "<total_iops_sec>500</total_iops_sec>", "</iotune>",
		"<target dev='vda' bus='virtio'/>",
		"<throttlefilters>", "<throttlefilter group='g0'/>", "</throttlefilters>",
		"<serial>S-1</serial>", "<wwn>5000c50015ea71ac</wwn>", "<boot order='1'/>", "<alias name='ua-root'/>", "</disk>",
	}
	if d := cmp.Diff(want, inside(got.XML)); d != "" {
		t.Error(d)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0].Text, "seclabel") {
		t.Errorf("warnings: %q", said(got.Warnings))
	}
}

func TestDiscardsReachTheVolumeOnlyWhenAllowed(t *testing.T) {
	for _, c := range []struct {
		driver  string
		allowed bool
		want    string
	}{
		{"<driver name='qemu' type='raw' discard='unmap'/>", false, "<driver name='qemu' type='raw' discard='ignore'/>"},
		{"<driver name='qemu' type='raw' discard='ignore'/>", false, "<driver name='qemu' type='raw' discard='ignore'/>"},
		{"<driver name='qemu' type='raw'/>", false, "<driver name='qemu' type='raw'/>"},
		{"<driver name='qemu' type='raw' discard='unmap'/>", true, "<driver name='qemu' type='raw' discard='unmap'/>"},
		{"<driver name='qemu' type='raw'/>", true, "<driver name='qemu' type='raw' discard='unmap'/>"},
		{"<driver name='qemu'/>", false, "<driver name='qemu' type='raw'/>"},
		{"", false, "<driver name='qemu' type='raw'/>"},
		{"", true, "<driver name='qemu' type='raw' discard='unmap'/>"},
	} {
		text := domain("<disk type='block' device='disk'>", c.driver, "<source dev='/dev/a'/>", "<target dev='vda'/>", "</disk>")
		got := clone(t, text, Edit{AllowDiscards: c.allowed, Disks: []DiskEdit{{Target: "vda", Device: "/dev/b"}}})
		if driver := inside(got.XML)[1]; driver != c.want {
			t.Errorf("%q, allowed %v: %s", c.driver, c.allowed, driver)
		}
	}
}

func TestADiskIsFoundByItsTargetAndNeverByItsPlace(t *testing.T) {
	text := domain(
		"<disk type='block'><driver type='raw'/><source dev='/dev/second'/><target dev='vdb'/></disk>",
		"<disk type='block'><driver type='raw'/><source dev='/dev/first'/><target dev='vda'/></disk>",
	)
	got := clone(t, text, Edit{Disks: []DiskEdit{{Target: "vda", Device: "/dev/new"}}})
	want := []string{
		"<disk type='block'><driver type='raw'/><source dev='/dev/second'/><target dev='vdb'/></disk>",
		"<disk type='block'><driver type='raw'/><source dev='/dev/new'/><target dev='vda'/></disk>",
	}
	if d := cmp.Diff(want, inside(got.XML)); d != "" {
		t.Error(d)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0].Text, "disk vdb (/dev/second) is not moved") {
		t.Errorf("the disk left behind is not warned about: %q", said(got.Warnings))
	}
}

func TestTheGuestSeesExactlyTheSizeItSawBefore(t *testing.T) {
	text := domain("<disk type='file'>", "  <driver type='raw'/>", "  <source file='/i'/>", "  <target dev='vda'/>", "</disk>")
	got := clone(t, text, Edit{Disks: []DiskEdit{{Target: "vda", Device: "/dev/b", GuestSize: 1_000_448}}})
	want := "<source dev='/dev/b'>\n        <slices>\n          <slice type='storage' offset='0' size='1000448'/>\n        </slices>\n      </source>\n"
	if !strings.Contains(string(got.XML), want) {
		t.Errorf("%s", got.XML)
	}
}

func TestAMovedImageLeavesNothingOfItsFormatBehind(t *testing.T) {
	const disk = `<disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' discard_no_unref='on'>
        <metadata_cache><max_size unit='bytes'>1048576</max_size></metadata_cache>
      </driver>
      <source file='/i'>
        <dataStore type='file'><format type='raw'/><source file='/d'/></dataStore>
      </source>
      <backingStore type='file'><format type='raw'/><source file='/b'/><backingStore/></backingStore>
      <target dev='vda'/>
    </disk>`
	parsed, err := Parse(domain(disk))
	if err != nil {
		t.Fatal(err)
	}
	if d := parsed.Disks()[0]; !d.BackingGiven || !slices.Equal(d.Backing, []string{"/b"}) || !slices.Equal(d.BackingFormats, []string{"raw"}) {
		t.Errorf("the chain is read as %+v", d)
	}
	rewritten, err := Rewrite(domain(disk), Edit{Disks: []DiskEdit{{Target: "vda", Device: "/dev/mapper/x"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"qcow2", "metadata_cache", "discard_no_unref", "dataStore", "backingStore", "/b", "/d'"} {
		if strings.Contains(string(rewritten.XML), gone) {
			t.Errorf("%s is still in\n%s", gone, rewritten.XML)
		}
	}
	if !strings.Contains(string(rewritten.XML), "type='raw' cache='none'") {
		t.Errorf("what belongs to the disk went too:\n%s", rewritten.XML)
	}
	// What is no image keeps what libvirt would have refused with it, too.
	if _, err := Rewrite(domain(strings.ReplaceAll(disk, "type='qcow2'", "type='raw'")), Edit{Disks: []DiskEdit{{Target: "vda", Device: "/dev/mapper/x"}}}); err != nil {
		t.Error(err)
	}
}

func TestADiskThatStaysAnImageKeepsItsFormatAndLosesTheImagesBehindIt(t *testing.T) {
	const disk = `<disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' discard='unmap' discard_no_unref='on'>
        <metadata_cache><max_size unit='bytes'>1048576</max_size></metadata_cache>
      </driver>
      <source file='/i' startupPolicy='optional'/>
      <backingStore type='file'><format type='raw'/><source file='/b'/><backingStore/></backingStore>
      <target dev='vda'/>
    </disk>`
	const want = `<disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' discard='unmap' discard_no_unref='on'>
        <metadata_cache><max_size unit='bytes'>1048576</max_size></metadata_cache>
      </driver>
      <source file='/m/vda.qcow2'/>
      <target dev='vda'/>
    </disk>`
	edit := Edit{Disks: []DiskEdit{{Target: "vda", Image: "/m/vda.qcow2"}}}
	if got := clone(t, domain(disk), edit); !strings.Contains(string(got.XML), want) {
		t.Errorf("%s", got.XML)
	}
	for name, source := range map[string]string{
		"a device": "<disk type='block' device='disk'><driver name='qemu' type='qcow2'/><source dev='/dev/vg0/a'/>",
		"a pool":   "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='p' volume='v' mode='host'/>",
	} {
		got := clone(t, domain(source+"<target dev='vda'/></disk>"), edit)
		if !strings.Contains(string(got.XML), "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/m/vda.qcow2'/>") {
			t.Errorf("%s: %s", name, got.XML)
		}
	}
	edit.AllowDiscards = true
	got := clone(t, domain("<disk type='file'><driver name='qemu' type='qcow2'/><source file='/i'/><target dev='vda'/></disk>"), edit)
	if !strings.Contains(string(got.XML), "<driver name='qemu' type='qcow2' discard='unmap'/>") {
		t.Errorf("%s", got.XML)
	}
}

func TestOnlyAQCOW2DiskStaysAnImage(t *testing.T) {
	var refused *EditError
	for _, edit := range []DiskEdit{{Target: "vda", Image: "/m/vda.qcow2"}, {Target: "vdb", Image: "/m/vdb.qcow2", Device: "/dev/a"}, {Target: "vdb", Image: "m"}} {
		text := domain("<disk type='file'><driver type='raw'/><source file='/i'/><target dev='vda'/></disk>", "<disk type='file'><driver type='qcow2'/><source file='/j'/><target dev='vdb'/></disk>")
		if _, err := Rewrite(text, Edit{Disks: []DiskEdit{edit}}); !errors.As(err, &refused) {
			t.Errorf("%+v: %v", edit, err)
		}
	}
}
