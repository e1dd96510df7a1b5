//go:build e2e

package sources

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// thin makes the VM thin with two disks, of which one is an image behind another
// whose name is relative, and the VM tight with an image that is nearly empty.
const thin = domains + `
mkdir -p /srv/images/thin; cd /srv/images/thin
{ noise 6M; head -c 9M /dev/zero; yes 'a line of a log' | head -c 3M; } > guest; truncate -s 256M guest
qemu-img convert -c -f raw -O qcow2 guest base.qcow2; rm guest
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o cluster_size=128k,extended_l2=on thin.qcow2
qemu-io -f qcow2 -c 'write -P 4 1M 2M' -c 'write -z 4M 1M' -c 'write -P 5 200M 200k' thin.qcow2 >/dev/null
noise 4M > data.raw
kind thin thin file qcow2 "file='$PWD/thin.qcow2'" thin.qcow2; kind raw thin file raw "file='$PWD/data.raw'" data.raw; vm thin
qemu-img create -q -f qcow2 tight.qcow2 400M; qemu-io -f qcow2 -c 'write -P 6 0 20M' tight.qcow2 >/dev/null
kind tight tight file qcow2 "file='$PWD/tight.qcow2'" tight.qcow2; vm tight
`

func TestAQCOW2DiskStaysOneOnAFileSystemInItsVolume(t *testing.T) {
	h := set(t, scenario.Options{DiskSize: 3 << 30})
	h.sh(t, thin)
	for _, step := range []struct {
		claim string
		do    func(*testing.T)
	}{
		{"what makes no sense is refused", h.refusesLayouts},
		{"a chain is flattened into one image, as thin as it was", h.keepsThin},
		{"it is locked, unlocked, started and stopped with its file system", h.livesOnFiles},
		{"a copy that is killed is taken up again", h.resumesAnImage},
		{"a file system that is full is told, and rolled back", h.fillsUp},
		{"a rollback leaves nothing", h.leavesNothing},
		{"the clone takes its original's place, which is retired", h.succeeds},
		{"a guest boots from its image, also on XFS", h.bootsFromFiles},
	} {
		if !t.Run(step.claim, step.do) {
			return
		}
	}
}

var onFiles = []string{"--vg", "vg0", "--layout", "filesystem"}

const mountOfThin = "/var/lib/libvirt/images/thin-vda-luks"

func (h host) refusesLayouts(t *testing.T) {
	plan := func(more ...string) []string { return append([]string{"plan", "--vm", "thin", "--vg", "vg0"}, more...) }
	h.does(t, 2, plan("--layout", "tar"), "neither block nor filesystem")
	h.does(t, 2, plan("--fs-size", "1G"), "--fs-size", "goes with --layout filesystem alone")
	h.does(t, 2, plan("--layout", "filesystem", "--fs-type", "vfat"), "neither ext4 nor xfs")
	h.does(t, 3, plan("--layout", "filesystem", "--fs-size", "20M"), "is too small for the image of vda", "--fs-size 64M or more")
	h.does(t, 3, plan("--layout", "filesystem", "--fs-dir", "/srv/none"), "/srv/none")
	h.does(t, 3, []string{"plan", "--vm", "imap", "--vg", "vg0", "--layout", "filesystem"}, "has no disk that is a qcow2 image")
	h.sh(t, `ln -s /etc `+mountOfThin)
	h.does(t, 3, plan("--layout", "filesystem"), "has thin-vda-luks already")
	h.sh(t, `rm `+mountOfThin)
	t.Log(h.does(t, 0, plan("--layout", "filesystem"), "ext4", mountOfThin+"/vda.qcow2", "vdb is raw and no qcow2 image").Stdout)
	t.Log(h.does(t, 0, append(migrate([]string{"thin"}, onFiles...), "--dry-run"), "mkfs.ext4", "qemu-img create", "mount /dev/mapper/cr_thin_vda").Stdout)
}

func (h host) keepsThin(t *testing.T) {
	t.Log(h.does(t, 0, migrate([]string{"thin"}, append(onFiles, "--verify", "full")...), "thin-luks").Stdout)
	h.sh(t, `qemu-img compare -f qcow2 -F qcow2 /srv/images/thin/thin.qcow2 `+mountOfThin+`/vda.qcow2
cmp /srv/images/thin/data.raw /dev/mapper/cr_thin_vdb
qemu-img check -q `+mountOfThin+`/vda.qcow2
test "$(stat -c '%a %U' `+mountOfThin+`/vda.qcow2)" = "600 root"
findmnt -no SOURCE,OPTIONS `+mountOfThin+` | grep /dev/mapper/cr_thin_vda | grep nosuid | grep nodev | grep noexec`)
	info := h.sh(t, `qemu-img info -U `+mountOfThin+`/vda.qcow2; virsh dumpxml thin-luks`)
	for _, want := range []string{"cluster_size: 131072", "extended l2: true", "<source file='" + mountOfThin + "/vda.qcow2'/>", "type='qcow2'"} {
		if !strings.Contains(info, want) {
			t.Errorf("it is\n%s\nwithout %s", info, want)
		}
	}
	for _, gone := range []string{"backing file", "<backingStore type", "/srv/images/thin/thin.qcow2' "} {
		if strings.Contains(info, gone) {
			t.Errorf("%s is in\n%s", gone, info)
		}
	}
	// What is in it is 6M of noise, 3M of text, 2M and 200k that were written.
	room, err := strconv.ParseInt(strings.TrimSpace(h.sh(t, `echo $(($(stat -c %b `+mountOfThin+`/vda.qcow2) * 512))`)), 10, 64)
	if err != nil || room > 14<<20 {
		t.Errorf("the image takes %d bytes: %v", room, err)
	}
	h.does(t, 0, []string{"verify", "thin"}, "equal")
	t.Log(h.does(t, 0, []string{"status", "thin-luks"}, "mounted on "+mountOfThin, "are free").Stdout)
	h.does(t, 0, []string{"status", "thin-luks", "--output", "json"}, `"mounted": true`, `"type": "ext4"`)
	t.Log(h.does(t, 0, []string{"trim", "check", "thin-luks"}, "file system", "fstrim").Stdout)
	h.does(t, 0, []string{"header", "check", "thin-luks"})
	h.does(t, 3, []string{"plan", "--vm", "thin-luks"}, "encrypted already")
}

func (h host) livesOnFiles(t *testing.T) {
	h.sh(t, `cd `+mountOfThin+`; { sleep 1000 & echo $! >/run/holder; } >/dev/null 2>&1`)
	t.Log(h.does(t, 1, []string{"lock", "thin-luks"}, "can't be unmounted", "(sleep)", "findmnt").Stderr)
	h.sh(t, `kill "$(cat /run/holder)"; mountpoint -q `+mountOfThin+`; test -b /dev/mapper/cr_thin_vda`)
	t.Log(h.does(t, 0, []string{"lock", "thin-luks"}, "unmounted", "locked").Stdout)
	h.sh(t, `! mountpoint -q `+mountOfThin+`; test ! -e /dev/mapper/cr_thin_vda; test -z "$(ls -A `+mountOfThin+`)"`)
	h.does(t, 0, []string{"status", "thin-luks"}, "locked")
	h.does(t, 3, []string{"verify", "thin"}, "vmmigrate unlock thin-luks")
	h.does(t, 3, []string{"plan", "--vm", "thin-luks"}, "encrypted already")
	h.sh(t, `touch `+mountOfThin+`/theirs`)
	t.Log(h.does(t, 1, []string{"unlock", "thin-luks", "--key-file", scenario.KeyFile}, "has something in it (theirs)").Stderr)
	h.sh(t, `rm `+mountOfThin+`/theirs; test ! -e /dev/mapper/cr_thin_vda; rmdir `+mountOfThin)
	h.does(t, 0, []string{"unlock", "thin-luks", "--key-file", scenario.KeyFile}, "mounted")
	h.does(t, 0, []string{"start", "thin-luks", "--key-file", scenario.KeyFile}, "started")
	h.does(t, 3, []string{"lock", "thin-luks"}, "is running")
	h.does(t, 0, []string{"stop", "thin-luks", "--timeout", "1s", "--force"}, "unmounted")
	h.sh(t, `! mountpoint -q `+mountOfThin)
	h.does(t, 0, []string{"unlock", "thin-luks", "--key-file", scenario.KeyFile})
	h.sh(t, `qemu-img snapshot -c one `+mountOfThin+`/vda.qcow2; qemu-img snapshot -l `+mountOfThin+`/vda.qcow2 | grep one`)
	h.does(t, 0, []string{"rollback", "thin", "--yes", "--force"})
	h.sh(t, `test ! -e `+mountOfThin)
}

func (h host) resumesAnImage(t *testing.T) {
	c := h.Command(append([]string{"vmmigrate"}, migrate([]string{"thin"}, append(onFiles, "--max-rate", "24M", "--output", "json")...)...)...)
	seen := make(chan struct{})
	c.Stdout = &watch{part: `"event":"progress"`, wanted: 14, seen: seen}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var result testhost.Result
	var err error
	ended := make(chan struct{})
	go func() {
		result, err = c.Wait(t.Context())
		close(ended)
	}()
	select {
	case <-seen:
	case <-ended:
		t.Fatalf("it ends before it is killed: %+v, %v", result, err)
	case <-time.After(3 * time.Minute):
		t.Fatal("it does not get to copy")
	}
	if err := c.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ended
	h.sh(t, `for i in $(seq 50); do pgrep qemu-nbd >/dev/null || break; sleep 0.1; done; ! pgrep -a qemu-nbd`)
	h.does(t, 0, []string{"jobs"}, "interrupted", "vmmigrate resume")
	resumed := h.does(t, 0, []string{"resume", "thin", "--key-file", scenario.KeyFile})
	t.Log(resumed.Stdout + resumed.Stderr)
	h.sh(t, `qemu-img compare -f qcow2 -F qcow2 /srv/images/thin/thin.qcow2 `+mountOfThin+`/vda.qcow2; qemu-img check -q `+mountOfThin+`/vda.qcow2`)
	h.does(t, 0, []string{"verify", "thin"}, "equal")
	h.does(t, 0, []string{"rollback", "thin", "--yes"})
}

// fillsUp has somebody else fill the file system meanwhile.
func (h host) fillsUp(t *testing.T) {
	h.does(t, 3, []string{"plan", "--vm", "tight", "--vg", "vg0", "--layout", "filesystem", "--fs-size", "50M"}, "too small")
	tight := migrate([]string{"tight"}, append(onFiles, "--fs-size", "80M")...)
	h.does(t, 4, append(tight, "--stop-after", "create-image"), "QEMU pauses the guest when it is full")
	h.sh(t, `cd /var/lib/libvirt/images/tight-vda-luks; while [ "$(df --output=avail -m . | tail -n1)" -gt 8 ]; do fallocate -l 1M "filler$((i = ${i-0} + 1))"; done`)
	t.Log(h.does(t, 4, []string{"resume", "tight", "--key-file", scenario.KeyFile}, "no space left on device", "--fs-size", "vmmigrate rollback").Stderr)
	h.sh(t, `rm -f /var/lib/libvirt/images/tight-vda-luks/filler*`)
	h.does(t, 0, []string{"resume", "tight", "--key-file", scenario.KeyFile})
	h.sh(t, `qemu-img compare -f qcow2 -F qcow2 /srv/images/thin/tight.qcow2 /var/lib/libvirt/images/tight-vda-luks/vda.qcow2`)
	h.does(t, 0, []string{"rollback", "tight", "--yes"})
}

func (h host) succeeds(t *testing.T) {
	h.does(t, 0, migrate([]string{"tight"}, append(onFiles, "--fs-type", "xfs", "--start")...), "xfs")
	h.does(t, 0, []string{"stop", "tight-luks", "--timeout", "0s", "--force"}, "unmounted")
	h.does(t, 0, []string{"cutover", "tight-luks"})
	h.does(t, 0, []string{"start", "tight", "--key-file", scenario.KeyFile}, "mounted", "started")
	h.does(t, 0, []string{"stop", "tight", "--timeout", "0s", "--force"}, "unmounted")
	t.Log(h.does(t, 0, []string{"retire", "tight", "--method", "zero", "--confirm", "tight", "--key-file", scenario.KeyFile}).Stdout)
	h.sh(t, `test ! -e /srv/images/thin/tight.qcow2`)
	h.does(t, 0, []string{"status", "tight"}, "retired")
	h.does(t, 0, []string{"unlock", "tight", "--key-file", scenario.KeyFile}, "mounted")
	h.sh(t, `qemu-img check -q /var/lib/libvirt/images/tight-vda-luks/vda.qcow2`)
	h.does(t, 0, []string{"lock", "tight"}, "locked")
	h.sh(t, `virsh -q undefine tight; rmdir /var/lib/libvirt/images/tight-vda-luks; lvremove -qy vg0/tight-vda-luks`)
}

func (h host) leavesNothing(t *testing.T) {
	if left := strings.TrimSpace(h.sh(t, `ls -A /var/lib/libvirt/images | grep luks || true; lvs --noheadings -o lv_name vg0 | grep luks || true; ls /dev/mapper | grep cr_ || true; findmnt -rno TARGET | grep libvirt/images || true`)); left != "" {
		t.Errorf("left are\n%s", left)
	}
}

// bootsFromFiles turns the guest's root into an image behind another and moves it
// onto each kind of file system.
func (h host) bootsFromFiles(t *testing.T) {
	want := strings.Fields(h.sh(t, `cd /srv/images
qemu-img convert -c -f raw -O qcow2 "$1" root-base.qcow2
qemu-img create -q -f qcow2 -b root-base.qcow2 -F qcow2 root.qcow2
qemu-io -f qcow2 -c 'write -P 9 900k 4k' root.qcow2 >/dev/null
virsh dumpxml --inactive --security-info imap | sed "s|<disk type='block'|<disk type='file'|; s|type='raw' cache='none'|type='qcow2' discard='unmap'|; s|<source dev='$1'/>|<source file='/srv/images/root.qcow2'/>|" > /run/imap.xml
virsh -q define --validate /run/imap.xml
qemu-img convert -f qcow2 -O raw root.qcow2 /srv/root; stat -c %s /srv/root; sha256sum </srv/root; rm /srv/root`, h.Guest.Root))
	for _, kind := range []string{"ext4", "xfs"} {
		h.does(t, 0, migrate([]string{"imap"}, append(onFiles, "--fs-type", kind, "--close")...))
		h.sh(t, `! mountpoint -q /var/lib/libvirt/images/imap-vda-luks`)
		h.does(t, 0, []string{"unlock", "imap-luks", "--key-file", scenario.KeyFile})
		h.sh(t, `findmnt -no FSTYPE /var/lib/libvirt/images/imap-vda-luks | grep -x "$1"; dmsetup table cr_imap_vda | grep -v allow_discards`, kind)
		report, err := guest.Boot(t.Context(), h.Host, "imap-luks")
		if err != nil {
			t.Fatal(err)
		}
		got := report.Disks["vda"]
		if report.Says != guest.Says || got.SHA256 != want[1] {
			t.Errorf("%s: the guest says %q and reads %+v, not %v", kind, report.Says, got, want)
		}
		t.Logf("booted from %s in %s", kind, report.Took)
		h.does(t, 0, []string{"rollback", "imap", "--yes", "--force"})
	}
	h.leavesNothing(t)
}
