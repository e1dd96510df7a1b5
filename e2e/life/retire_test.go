//go:build e2e

package life

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
	"github.com/vmmigrate/vmmigrate/succession"
)

// small makes a VM that boots from nothing, with one disk full of noise, and moves
// it.
func (h host) small(t *testing.T, name, device string) {
	t.Helper()
	h.sh(t, `
		size=$(blockdev --getsize64 "$2"); head -c "$size" /dev/urandom | dd of="$2" bs=1M conv=fsync iflag=fullblock status=none
		virsh -q define /dev/stdin <<-END
		<domain type='qemu'><name>$1</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
		<devices><disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='$2'/><target dev='vda' bus='virtio'/></disk>
		<interface type='user'/></devices></domain>
		END`, name, device)
	if r, err := h.Migrate(t.Context(), name, "--close"); err != nil || r.ExitCode != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
}

// ran has a clone run for a moment.
func (h host) ran(t *testing.T, clone string) {
	t.Helper()
	h.does(t, 0, with("start", clone), clone+": started")
	h.does(t, 0, []string{"stop", clone, "--force", "--timeout", "1s"}, "off")
}

// place is where a volume lies: "DEVICE FIRST-BYTE".
func (h host) place(t *testing.T, volume string) string {
	t.Helper()
	return h.sh(t, `
		set -- $(lvs --noheadings --units b --nosuffix -o devices,vg_extent_size "$1" | tr '()' '  ')
		start=$(pvs --noheadings --units b --nosuffix -o pe_start "$1")
		echo "$1 $((start + $2 * $3))"`, volume)
}

// retires is the command line, with key and confirmation.
func retires(clone string, args ...string) []string {
	return with(append([]string{"retire", clone, "--confirm", clone}, args...)...)
}

func TestAnOriginalIsRetiredByEachMethodAndNothingElseIsTouched(t *testing.T) {
	h := setKeeping(t, "--close")
	h.sh(t, `lvcreate -q --yes --wipesignatures y -L 24M -n bystander vg0; lvcreate -q --yes --wipesignatures y -L 24M -n one vg0
		lvcreate -q --yes --type thin-pool -L 64M --poolmetadatasize 4M -n pool vg0; lvcreate -q --yes --type thin --thinpool pool -V 24M -n two vg0
		head -c 25165824 /dev/urandom | dd of=/dev/vg0/bystander bs=1M iflag=fullblock conv=fsync status=none`)
	h.small(t, "one", "/dev/vg0/one")
	h.ran(t, "one-luks")
	h.small(t, "two", "/dev/vg0/two")
	// Started by others, it is known by what it has written.
	h.does(t, 0, with("unlock", "two-luks"))
	h.sh(t, `echo written | dd of=/dev/mapper/cr_two_vda bs=512 seek=3000 conv=notrunc,fsync status=none`)
	bystanders := func() string {
		return h.sh(t, `cd /dev/vg0; sha256sum bystander imap-vda-luks imap-vdb-luks one-vda-luks two-vda-luks /var/lib/libvirt/images/mailtools.iso`)
	}

	t.Run("what is not certain is refused, with every reason", func(t *testing.T) { h.refusesToRetire(t) })
	before := bystanders()
	t.Run("zero, with the volume kept, through a dead sector and a kill", func(t *testing.T) {
		h.does(t, 2, with("retire", "one-luks", "--method", "zero", "--confirm", "one"), "is not the name of the clone")
		h.does(t, 2, with("retire", "one-luks", "--method", "zero", "--yes"), "there is no flag --yes")
		h.does(t, 2, with("retire", "one-luks", "--method", "zero"), "give --confirm NAME")
		h.does(t, 2, retires("one-luks", "--method", "shred"), `there is no method "shred"`)
		// One sector in the middle that can't be written.
		h.sh(t, `dmsetup table vg0-one >/root/one.table; set -- $(cat /root/one.table); middle=$(($2 / 2))
			{ echo "0 $middle $3 $4 $5"; echo "$middle 8 error"; echo "$((middle + 8)) $(($2 - middle - 8)) $3 $4 $(($5 + middle + 8))"; } | dmsetup load vg0-one
			dmsetup resume vg0-one`)
		h.does(t, 4, retires("one-luks", "--method", "zero", "--keep-volume"), "wipe of vda failed", "can't be written there", "wiped, at least in part", "vmmigrate resume")
		h.sh(t, `dmsetup load vg0-one </root/one.table; dmsetup resume vg0-one`)
		h.does(t, 0, []string{"jobs"}, "retire", "interrupted", "vmmigrate resume")
		h.does(t, 3, retires("one-luks", "--method", "random"), "has begun otherwise", "--method zero and kept", "vmmigrate resume")
		h.does(t, 3, retires("one-luks", "--method", "zero", "--keep-volume=false"), "has begun otherwise", "vmmigrate resume")
		t.Log("\n" + h.does(t, 0, []string{"resume", "one-luks"}, "vda wipe", "vda read-back", "every byte is zero", "its disk is wiped and kept"))
		h.sh(t, `cmp -n 25165824 /dev/vg0/one /dev/zero; ! virsh -q dominfo one 2>/dev/null`)
		h.record(t, succession.Zero, "one", 1)
		h.does(t, 0, retires("one-luks", "--method", "zero"), "retired already")
		h.does(t, 0, []string{"status", "one-luks"}, "one, retired")
		h.does(t, 3, []string{"cutover", "one-luks"}, "was retired")
		h.ran(t, "one-luks")
	})
	t.Run("discard, of a thin volume", func(t *testing.T) {
		t.Log("\n" + h.does(t, 0, retires("two-luks", "--method", "discard", "--keep-volume"), "thin", "its disk vda is no longer what was copied", "discarded", "every byte is zero"))
		h.sh(t, `cmp -n 25165824 /dev/vg0/two /dev/zero; [ "$(lvs --noheadings -o data_percent vg0/two | xargs)" = 0.00 ]`)
		h.record(t, succession.Discard, "two", 0)
	})
	t.Run("random, after a cutover, killed and interrupted on the way, and removed", func(t *testing.T) {
		h.ran(t, "imap-luks")
		h.does(t, 0, []string{"cutover", "imap-luks"})
		place := strings.Fields(h.place(t, "vg0/lvimap_hd0"))
		peek := func() string {
			return h.sh(t, `dd if="$1" bs=1M count=4 skip="$2" iflag=skip_bytes,direct status=none | sha256sum`, place[0], place[1])
		}
		old := peek()
		h.killed(t, syscall.SIGKILL, -1, "imap")
		h.does(t, 3, []string{"rollback", "imap"}, "can't be taken back")
		h.killed(t, syscall.SIGTERM, 4, "imap")
		h.does(t, 0, with("start", "imap"), "imap: started") // it may run meanwhile
		t.Log("\n" + h.does(t, 0, retires("imap", "--method", "random"), "resumed", "its disks are wiped and they are gone"))
		h.sh(t, `! lvs vg0/lvimap_hd0 2>/dev/null; [ ! -e /var/lib/libvirt/images/imap-data.raw ]; ! virsh -q dominfo imap-plain 2>/dev/null`)
		if peek() == old {
			t.Error("where the volume lay is what it held")
		}
		h.sh(t, `! dd if="$1" bs=1M count=4 skip="$2" iflag=skip_bytes,direct status=none | cmp -n 4194304 - /dev/zero >/dev/null`, place[0], place[1])
		h.record(t, succession.Random, "imap-plain", 1)
		h.does(t, 3, []string{"cutover", "imap", "--undo"}, "was retired")
		job := h.sh(t, `ls /var/lib/vmmigrate/jobs | head -n1`)
		h.does(t, 3, []string{"rollback", job, "--yes", "--force"}, "are the only ones left")
		h.does(t, 0, []string{"stop", "imap", "--force", "--timeout", "1s"})
	})
	if after := bystanders(); after != before && !onlyStarted(before, after) {
		t.Errorf("the bystanders were\n%s\nand are\n%s", before, after)
	}
}

// onlyStarted says that nothing but the payload of clones that ran differs.
func onlyStarted(before, after string) bool {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] && !strings.HasSuffix(a[i], "imap-vda-luks") && !strings.HasSuffix(a[i], "imap-vdb-luks") {
			return false
		}
	}
	return len(a) == len(b)
}

// killed begins or goes on with the retirement of a clone's original, slowly, and
// sends it a signal; it then ends with that exit code, or by the signal.
func (h host) killed(t *testing.T, signal syscall.Signal, code int, clone string) {
	t.Helper()
	c := h.Command(append([]string{"vmmigrate"}, retires(clone, "--method", "random", "--max-rate", "8M", "--output", "json")...)...)
	seen := make(chan struct{})
	c.Stdout = &watch{part: `"event":"progress"`, seen: seen}
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
		t.Fatalf("it ends before it wipes: %+v, %v", result, err)
	case <-time.After(3 * time.Minute):
		t.Fatal("it does not get to wipe")
	}
	if err := c.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-ended
	var exit *testhost.ExitError
	if !errors.As(err, &exit) || result.ExitCode != code {
		t.Errorf("after %s: %+v, %v", signal, result, err)
	}
}

// watch closes seen when a part comes by for the third time.
type watch struct {
	part  string
	count int
	seen  chan struct{}
}

func (w *watch) Write(p []byte) (int, error) {
	if before := w.count; before < 3 {
		if w.count += strings.Count(string(p), w.part); w.count >= 3 {
			close(w.seen)
		}
	}
	return len(p), nil
}

// record reads the newest record and holds it against what has to be in it.
func (h host) record(t *testing.T, method succession.Method, vm string, failures int) {
	t.Helper()
	text := h.sh(t, `cat "$(ls -t /var/lib/vmmigrate/records/*.json | head -n1)"; [ "$(stat -c %a /var/lib/vmmigrate/records/*.json | sort -u)" = 600 ]`)
	var record succession.RetireRecord
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		t.Fatal(err)
	}
	bad := record.Method != method || record.VM != vm || len(record.Disks) == 0 || len(record.Errors) < failures || len(record.Limits) == 0
	for _, disk := range record.Disks {
		bad = bad || !disk.Verified || len(disk.Digest) != 64 || disk.Bytes == 0 || disk.Overwritten < disk.Bytes && method != succession.Discard
	}
	if bad {
		t.Errorf("the record of %s is %s", vm, text)
	}
}

// refusesToRetire meets with everything that speaks against it, one after the
// other, on a host where all else is well.
func (h host) refusesToRetire(t *testing.T) {
	hashes := func() string {
		return h.sh(t, `sha256sum /dev/vg0/one /dev/vg0/lvimap_hd0 /var/lib/libvirt/images/imap-data.raw`)
	}
	before := hashes()
	refused := func(clone string, says ...string) {
		t.Helper()
		h.does(t, 3, retires(clone, "--method", "zero"), append(says, "can't be retired", "nothing has been changed")...)
	}
	refused("imap-luks", "nothing shows that", "vmmigrate start imap-luks")
	h.does(t, 3, retires("one", "--method", "zero"), "its clone is called one-luks")
	h.does(t, 3, []string{"retire", "one-luks", "--method", "zero", "--confirm", "one-luks", "--passphrase-command", "echo wrong"}, "does not unlock")

	h.sh(t, `virsh -q start --paused one`)
	refused("one-luks", `"one" is paused`)
	h.sh(t, `virsh -q destroy one`)

	h.sh(t, `sleep 1000 </dev/vg0/one & echo $! >/root/holder`)
	refused("one-luks", "(sleep)")
	h.sh(t, `kill "$(cat /root/holder)"`)

	h.sh(t, `lvcreate -q --yes -s -L 8M -n snap vg0/one`)
	refused("one-luks", "vg0/snap is a snapshot of")
	h.sh(t, `lvremove -q --yes vg0/snap`)

	h.sh(t, `lvrename -q vg0 one uno`)
	refused("one-luks", "is called vg0/uno now")
	h.sh(t, `lvcreate -q --yes --wipesignatures y -L 24M -n one vg0`) // another of its name
	refused("one-luks", "is called vg0/uno now")
	h.sh(t, `lvremove -q --yes vg0/one; lvrename -q vg0 uno one`)

	h.sh(t, `mkdir /root/aside; mv /var/lib/vmmigrate/jobs/*/vda.luks-header /root/aside/ 2>/dev/null || true
		for d in /var/lib/vmmigrate/jobs/*/; do mkdir -p "/root/keep/$(basename "$d")"; mv "$d"*.luks-header "/root/keep/$(basename "$d")/" 2>/dev/null || true; done`)
	refused("one-luks", "the header backup of vg0/one-vda-luks is missing", "vmmigrate header backup one-luks")
	h.does(t, 0, []string{"header", "backup", "one-luks"})
	h.does(t, 0, []string{"header", "backup", "two-luks"})
	h.does(t, 0, []string{"header", "backup", "imap-luks"})

	h.sh(t, `qemu-img create -q -f qcow2 -b /dev/vg0/one -F raw /root/overlay.qcow2
		virsh -q define /dev/stdin <<-END
		<domain type='qemu'><name>third</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
		<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/root/overlay.qcow2'/><target dev='vda' bus='virtio'/></disk></devices></domain>
		END`)
	refused("one-luks", `lies under the disk vda of the VM "third"`)
	h.sh(t, `virsh -q undefine third; rm /root/overlay.qcow2`)

	h.does(t, 0, []string{"lock", "two-luks"})
	h.sh(t, `vgchange -q -an vg0; vgexport -q vg0`)
	h.does(t, 3, retires("one-luks", "--method", "zero"), "exported", "vgimport vg0")
	h.sh(t, `vgimport -q vg0; vgchange -q -ay vg0`)
	h.does(t, 0, with("unlock", "two-luks"))

	h.sh(t, `cd /var/lib/libvirt/images; mv imap-data.raw original; cp -a original imap-data.raw`)
	h.does(t, 3, retires("imap-luks", "--method", "zero"), "is another file than the one that was copied")
	h.sh(t, `cd /var/lib/libvirt/images; mv original imap-data.raw`)

	code, shown := h.typed(t, strings.TrimSuffix(scenario.Key, "\n")+"\none\n", "retire", "one-luks", "--method", "zero", "--key-file", scenario.KeyFile)
	if code != 3 || !strings.Contains(shown, "not confirmed") || !strings.Contains(shown, "type the name of the clone, one-luks:") {
		t.Errorf("the wrong name typed: exit code %d:\n%s", code, shown)
	}
	t.Log("\n" + shown)
	if after := hashes(); after != before {
		t.Errorf("a plain disk was written:\n%s\n%s", before, after)
	}
}
