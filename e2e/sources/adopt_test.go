//go:build e2e

package sources

import (
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
	"github.com/vmmigrate/vmmigrate/e2e/scenario"
)

// adopt is the command line that makes a VM of images.
func adopt(name string, args ...string) []string {
	return migrate(nil, append([]string{"--name", name, "--vg", "vg0"}, args...)...)
}

// untouched is what an adoption that is only planned, or refused, leaves as it
// was, besides what scenario.Look sees.
const untouched = `virsh pool-list --all --name; virsh net-list --all --name; find /srv/p2v -type f -exec sha256sum {} + | sort; ls -A /dev/shm`

// standing is what an adoption makes, and what it must not change.
const standing = `lvs --noheadings -o lv_name,lv_tags vg0; virsh list --all --name; dmsetup ls; ls /var/lib/vmmigrate/jobs; find /srv/p2v -type f -exec sha256sum {} + | sort`

// What a P2V leaves is an image and no VM.
func TestImagesThatNoVMHasBecomeOne(t *testing.T) {
	h := set(t, scenario.Options{})
	ctx := t.Context()
	h.sh(t, `mkdir -p /srv/p2v; cd /srv/p2v; cat "$1" >root.raw; cp --sparse=never "$2" data.raw; qemu-img convert -c -f raw -O qcow2 root.raw root.qcow2
		virsh dumpxml --inactive imap >/srv/imap.xml`, h.Guest.Root, h.Guest.Data)
	want := func(path string) guest.DiskSum {
		size, sum, err := h.DiskSum(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		return guest.DiskSum{Size: size, SHA256: sum}
	}
	root, data := want("/srv/p2v/root.raw"), want("/srv/p2v/data.raw")
	look := func() (scenario.World, string) {
		world, err := scenario.Look(ctx, h.Host)
		if err != nil {
			t.Fatal(err)
		}
		return world, h.sh(t, untouched)
	}
	world, other := look()
	same := func(t *testing.T, what string) {
		t.Helper()
		now, others := look()
		if diff := now.Diff(world); diff != "" || others != other {
			t.Errorf("%s: something has changed: %s\n%s\n%s", what, diff, other, others)
		}
	}
	images := []string{"--disk", "/srv/p2v/root.raw", "--disk", "/srv/p2v/data.raw"}
	machine := append([]string{"--osinfo", "debian11", "--memory", "160M", "--vcpus", "1"}, images...)

	if !t.Run("plan has virt-install draft the VM, and changes nothing", func(t *testing.T) {
		args := append([]string{"plan", "--name", "files", "--vg", "vg0", "--xml"}, machine...)
		t.Log(h.does(t, 0, args, "a new VM made of disk images", "virt-install: 160 MiB of memory, 1 virtual CPU, BIOS, devices for debian11, no network",
			"raw, since no --format says otherwise", "vmmigrate run", "/srv/p2v/root.raw", "vg0/files-vda-luks").Stdout)
		same(t, "plan")
	}) {
		t.FailNow()
	}
	t.Run("run makes it, byte for byte", func(t *testing.T) {
		t.Log(h.does(t, 0, adopt("files", machine...), "files is there", "the images are as they were").Stdout)
		h.sh(t, `cmp /srv/p2v/root.raw /dev/mapper/cr_files_vda; cmp -n "$(stat -c %s /srv/p2v/data.raw)" /srv/p2v/data.raw /dev/mapper/cr_files_vdb`)
		h.does(t, 0, []string{"verify", "files"}, "equal")
		t.Log(h.does(t, 0, []string{"status"}, "none, made of images").Stdout)
	})
	t.Run("what has no original takes nobody's place", func(t *testing.T) {
		t.Log(h.does(t, 3, []string{"cutover", "files"}, "was made of disk images and has no original to change places with").Stderr)
		h.does(t, 3, adopt("files", images...), "they have become one already")
	})
	t.Run("a qcow2 image in the place of a template's disk, undone, interrupted and resumed, starts", func(t *testing.T) {
		args := []string{"--format", "qcow2", "--disk", "/srv/p2v/root.qcow2", "--template", "/srv/one.xml"}
		h.sh(t, `python3 -c '
import re
text = open("/srv/imap.xml").read()
open("/srv/one.xml", "w").write(re.sub(r"\s*<disk (?:(?!</disk>).)*imap-data.*?</disk>", "", text, flags=re.S))'`)
		before := h.sh(t, standing)
		h.does(t, 4, append(adopt("web", args...), "--stop-after", "copy"))
		h.does(t, 3, adopt("web", args...), "is unfinished")
		h.does(t, 0, []string{"rollback", "web", "--yes"})
		if after := h.sh(t, standing); after != before {
			t.Errorf("rolled back, there is\n%s\nand there was\n%s", after, before)
		}
		h.does(t, 4, append(adopt("web", args...), "--stop-after", "copy"))
		h.sh(t, `mv /srv/one.xml /srv/gone.xml`) // the record has it
		h.does(t, 0, []string{"resume", "web", "--key-file", scenario.KeyFile})
		if got := want("/dev/mapper/cr_web_vda"); got != root {
			t.Errorf("it has %+v, not %+v", got, root)
		}
		h.does(t, 0, []string{"start", "web", "--key-file", scenario.KeyFile})
		h.sh(t, `[ "$(virsh domstate web)" = running ]; virsh -q destroy web`)
		xml := h.sh(t, `virsh dumpxml --inactive web; mv /srv/gone.xml /srv/one.xml`)
		if strings.Contains(xml, h.Guest.MAC) || !strings.Contains(xml, "MAIL-0001") || strings.Contains(xml, "imap-serial.log") {
			t.Errorf("it is too much like its template, or too little:\n%s", xml)
		}
		t.Log(h.does(t, 0, []string{"retire", "web", "--method", "zero", "--confirm", "web", "--key-file", scenario.KeyFile}).Stderr)
		h.sh(t, `[ ! -e /srv/p2v/root.qcow2 ]; qemu-img convert -c -f raw -O qcow2 /srv/p2v/root.raw /srv/p2v/root.qcow2`)
	})
	t.Run("by UEFI, and not by an earlier VM's variables", func(t *testing.T) {
		args := adopt("uefi", "--boot", "uefi", "--memory", "160M", "--vcpus", "1", "--disk", "/srv/p2v/root.raw", "--close")
		h.sh(t, `mkdir -p /var/lib/libvirt/qemu/nvram; echo old >/var/lib/libvirt/qemu/nvram/uefi_VARS.fd`)
		h.does(t, 3, args, "an earlier VM called \"uefi\"", "mv /var/lib/libvirt/qemu/nvram/uefi_VARS.fd")
		h.sh(t, `rm /var/lib/libvirt/qemu/nvram/uefi_VARS.fd`)
		h.does(t, 0, args, "uefi is there")
		h.does(t, 0, []string{"unlock", "uefi", "--key-file", scenario.KeyFile})
		h.sh(t, `virsh -q start --paused uefi; virsh dumpxml uefi | grep -q "<loader.*OVMF"; [ -s /var/lib/libvirt/qemu/nvram/uefi_VARS.fd ]; virsh -q destroy uefi`)
		h.does(t, 0, []string{"rollback", "uefi", "--yes", "--force"})
	})
	t.Run("what can't become one is refused before anything is made", h.refusesToAdopt)
	t.Run("the guest boots from it, and reads what is in the images", func(t *testing.T) {
		// The guest tells on a serial line, which virt-install gave no file.
		h.sh(t, `virsh dumpxml --inactive files | sed "s|<serial type='pty'>|<serial type='file'><source path='/var/log/libvirt/qemu/files-serial.log'/>|; s|<console type='pty'>|<console type='file'><source path='/var/log/libvirt/qemu/files-serial.log'/>|" >/run/files.xml; virsh -q define /run/files.xml`)
		report, err := guest.Boot(ctx, h.Host, "files")
		if err != nil {
			t.Fatal(err)
		}
		if report.Says != guest.Says || report.Disks["vda"] != root || report.Disks["vdb"] != data {
			t.Errorf("the guest says %q and reads %+v, not %+v and %+v", report.Says, report.Disks, root, data)
		}
	})
}

// refusesToAdopt tries what is no image, no template or in use.
func (h host) refusesToAdopt(t *testing.T) {
	h.sh(t, `cd /srv/p2v; : >empty; mkdir -p folder; cp root.qcow2 torn.qcow2; truncate -s 2M torn.qcow2; cp root.qcow2 claims.raw
		head -c 4M /dev/urandom >used.raw; cp used.raw looped.raw; cp used.raw running.raw; echo "no XML" >/srv/no.xml; echo "<pool type='dir'/>" >/srv/pool.xml
		sed "s|<devices>|<devices><graphics type='vnc' passwd='hush0000'/>|" /srv/one.xml >/srv/secret.xml
		{ echo "<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/shadow'>]>"; cat /srv/one.xml; } >/srv/hostile.xml
		losetup --find --show /srv/p2v/looped.raw >/run/loop; { sleep 1000 & echo $! >/run/writer; } 3>>used.raw >/dev/null 2>&1
		echo "<domain type='qemu'><name>holder</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/p2v/running.raw'/><target dev='vda' bus='virtio'/></disk></devices></domain>" >/run/holder.xml
		virsh -q define /run/holder.xml; virsh -q start holder`)
	before := h.sh(t, standing)
	one := func(disk string, more ...string) []string {
		return append([]string{"--disk", disk, "--template", "/srv/one.xml"}, more...)
	}
	for _, c := range []struct {
		what string
		exit int
		args []string
		says []string
	}{
		{"no such file", 3, one("/srv/p2v/none"), []string{"does not exist: /srv/p2v/none", "--disk"}},
		{"a folder", 3, one("/srv/p2v/folder"), []string{"is neither a block device nor a regular file"}},
		{"a character device", 3, one("/dev/zero"), []string{"is neither a block device nor a regular file"}},
		{"an empty file", 3, one("/srv/p2v/empty"), []string{"is empty: /srv/p2v/empty"}},
		{"a damaged qcow2", 3, one("/srv/p2v/torn.qcow2", "--format", "qcow2"), []string{"is damaged"}},
		{"a raw file as qcow2", 3, one("/srv/p2v/used.raw", "--format", "qcow2"), []string{"is no qcow2 image"}},
		{"a file that is written to", 3, one("/srv/p2v/used.raw"), []string{"is open for writing", "(sleep)"}},
		{"a file under a loop device", 3, one("/srv/p2v/looped.raw"), []string{"is open for writing", "the loop device /dev/loop"}},
		{"a running VM's image", 3, one("/srv/p2v/running.raw"), []string{`in use by the running VM "holder"`, "virsh shutdown holder"}},
		{"a template that is no XML", 3, []string{"--disk", "/srv/p2v/root.raw", "--template", "/srv/no.xml"}, []string{"the template /srv/no.xml can't be used"}},
		{"a template that is a pool", 3, []string{"--disk", "/srv/p2v/root.raw", "--template", "/srv/pool.xml"}, []string{"is a <pool>, not a <domain>"}},
		{"a hostile template", 3, []string{"--disk", "/srv/p2v/root.raw", "--template", "/srv/hostile.xml"}, []string{"the template /srv/hostile.xml can't be used"}},
		{"a template with a password", 3, []string{"--disk", "/srv/p2v/root.raw", "--template", "/srv/secret.xml"}, []string{"it holds a password"}},
		{"a template that is endless", 3, []string{"--disk", "/srv/p2v/root.raw", "--template", "/dev/zero"}, []string{"it is no regular file"}},
		{"a template with two disks", 3, []string{"--disk", "/srv/p2v/root.raw", "--template", "/srv/imap.xml"}, []string{"the template has 2 disks to write to and there is 1 image"}},
		{"an unknown system", 3, []string{"--disk", "/srv/p2v/root.raw", "--osinfo", "beos9"}, []string{"Unknown OS name 'beos9'"}},
		{"the same image twice", 2, []string{"--disk", "/srv/p2v/root.raw", "--disk", "/srv/p2v/../p2v/root.raw"}, []string{"are the same disk"}},
		{"a name that is taken", 3, one("/srv/p2v/root.raw", "--name", "imap"), []string{`there is a VM named "imap" already`}},
		{"a name that is a path", 3, one("/srv/p2v/root.raw", "--name", "a/b"), []string{"libvirt takes no slash"}},
	} {
		args := adopt("bad", c.args...)
		result := h.does(t, c.exit, args, append(c.says, "")...)
		if strings.Contains(result.Stderr, "hush") {
			t.Errorf("%s: the password is told", c.what)
		}
		t.Logf("%s:\n%s", c.what, result.Stderr)
	}
	t.Log(h.does(t, 0, append([]string{"plan", "--name", "bad", "--vg", "vg0"}, one("/srv/p2v/claims.raw")...), "begins like an image of the format qcow2, and is taken for raw").Stdout)
	if after := h.sh(t, standing); after != before {
		t.Errorf("something was made:\n%s\nand there was\n%s", after, before)
	}
	h.sh(t, `kill "$(cat /run/writer)"; losetup -d "$(cat /run/loop)"; virsh -q destroy holder; virsh -q undefine holder`)
}
