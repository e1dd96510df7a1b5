//go:build e2e

package sources

import (
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
)

// refuses gives a domain one bad image after another.
func (h host) refuses(t *testing.T) {
	look := `lvs --noheadings -o lv_name; virsh list --all --name; dmsetup ls; find /var/lib/vmmigrate | sort`
	h.sh(t, `mkdir -p /srv/bad /srv/elsewhere; cp /srv/images/base.qcow2 /srv/elsewhere/base.qcow2`)
	before := h.sh(t, look)
	for _, c := range []struct {
		name string
		// make makes /srv/bad/disk in that folder.
		make string
		args []string
		says []string
	}{
		{"a backing file elsewhere", "qemu-img create -q -f qcow2 -b /srv/elsewhere/base.qcow2 -F qcow2 disk", nil, []string{"outside of its own folder: /srv/elsewhere/base.qcow2", "--backing-dir"}},
		{"the host's passwords as a backing file", "qemu-img create -q -u -f qcow2 -b /etc/shadow -F raw disk 4M", nil, []string{"outside of its own folder: /etc/shadow"}},
		{"a link that leads there", "ln -s /etc/shadow base; qemu-img create -q -u -f qcow2 -b base -F raw disk 4M", nil, []string{"outside of its own folder: /srv/bad/base"}},
		{"a folder that was not meant", "qemu-img create -q -u -f qcow2 -b /etc/shadow -F raw disk 4M", []string{"--backing-dir", "/srv/elsewhere"}, []string{"/etc/shadow"}},
		{"snapshots inside", "qemu-img create -q -f qcow2 disk 4M; qemu-img snapshot -c before disk", nil, []string{"has 1 snapshot inside", "qemu-img snapshot -d"}},
		{"an image that was cut short", "cp /srv/images/disk.qcow2 disk; truncate -s 2M disk", nil, []string{"is damaged", "exceeding the end of the file", "restore it from a backup"}},
		{"a disk of a petabyte", "qemu-img create -q -f qcow2 disk 1P", nil, []string{"vg0", "not enough room"}},
		{"an address", "qemu-img create -q -u -f qcow2 -b nbd://localhost -F raw disk 4M", nil, []string{"which is an address", "qemu-img rebase -u"}},
		{"an image that another program writes to", "cp /srv/images/disk.qcow2 disk; qemu-nbd --fork --persistent --pid-file=/run/writer --socket=/run/writer.s -f qcow2 disk", nil, []string{"is in use", "fuser -v /srv/bad/disk"}},
	} {
		h.sh(t, `[ ! -e /run/writer ] || kill "$(cat /run/writer)"; rm -rf /run/writer /srv/bad/*; cd /srv/bad; virsh -q undefine bad 2>/dev/null || true; rm -f /run/bad.disks`)
		h.sh(t, "cd /srv/bad; "+c.make)
		h.sh(t, `echo "<domain type='qemu'><name>bad</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/bad/disk'/><target dev='vda' bus='virtio'/></disk></devices></domain>" > /run/bad.xml; virsh -q define /run/bad.xml`)
		result := h.does(t, 3, append(migrate([]string{"bad"}, "--vg", "vg0"), c.args...), append(c.says, "nothing has been changed")...)
		t.Logf("%s:\n%s", c.name, result.Stderr)
	}
	h.sh(t, `kill "$(cat /run/writer)"; virsh -q undefine bad`)
	// docs/sources.md says that no VM's disk is a vhdx.
	t.Log(h.sh(t, `sed "s/type='qcow2'/type='vhdx'/" /run/bad.xml > /run/vhdx.xml; virsh -q define /run/vhdx.xml 2>&1 | grep "unknown driver format value 'vhdx'"`))
	if after := h.sh(t, look); after != before {
		t.Errorf("something was made:\n%s\n%s", before, after)
	}
	h.sh(t, `rm -rf /srv/bad/*; cd /srv/bad; qemu-img create -q -f qcow2 -b /srv/elsewhere/base.qcow2 -F qcow2 disk; virsh -q define /run/bad.xml`)
	h.does(t, 0, migrate([]string{"bad"}, "--vg", "vg0", "--backing-dir", "/srv/elsewhere"))
	h.sh(t, `qemu-img convert -f qcow2 -O raw /srv/bad/disk /run/want; cmp -n "$(stat -c %s /run/want)" /run/want /dev/mapper/cr_bad_vda; rm /run/want`)
	h.does(t, 0, []string{"rollback", "bad", "--yes"})
}

// bootsFromAChain turns the guest's root into an image behind another, moves
// it, and has the guest itself read the disk that it then has.
func (h host) bootsFromAChain(t *testing.T) {
	want := strings.Fields(h.sh(t, `cd /srv/images
qemu-img convert -c -f raw -O qcow2 "$1" root-base.qcow2
qemu-img create -q -f qcow2 -b root-base.qcow2 -F qcow2 root.qcow2
# Between the boot loader and the first partition nobody lives.
qemu-io -f qcow2 -c 'write -P 9 900k 4k' root.qcow2 >/dev/null
virsh dumpxml --inactive --security-info imap | sed "s|<disk type='block'|<disk type='file'|; s|type='raw' cache='none'|type='qcow2'|; s|<source dev='$1'/>|<source file='/srv/images/root.qcow2'/>|" > /run/imap.xml
virsh -q define --validate /run/imap.xml
qemu-img convert -f qcow2 -O raw root.qcow2 /srv/root; stat -c %s /srv/root; sha256sum </srv/root; rm /srv/root`, h.Guest.Root))
	h.does(t, 0, migrate([]string{"imap"}, "--vg", "vg0"))
	report, err := guest.Boot(t.Context(), h.Host, "imap-luks")
	if err != nil {
		t.Fatal(err)
	}
	got := report.Disks["vda"]
	if report.Says != guest.Says || got.SHA256 != want[1] {
		t.Errorf("the guest says %q and reads %+v, not %v", report.Says, got, want)
	}
	t.Logf("booted in %s from %d bytes with SHA-256 %s", report.Took, got.Size, got.SHA256)
	h.does(t, 0, []string{"status", "imap-luks", "--output", "json"}, "/srv/images/root.qcow2")
}
