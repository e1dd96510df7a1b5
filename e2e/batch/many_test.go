//go:build e2e

package batch

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// planned is what plan --output json says of a VM.
type planned struct {
	VM       string `json:"vm"`
	Result   string `json:"result"`
	Blockers []struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Remedy  string `json:"remedy"`
	} `json:"blockers"`
}

// planAll is what plan --all says of all VMs, and how long it took.
func (h host) planAll(t *testing.T, exit int) (map[string]planned, time.Duration) {
	t.Helper()
	begin := time.Now()
	result := h.does(t, exit, []string{"plan", "--all", "--output", "json"})
	took := time.Since(begin)
	var document struct {
		Plans []planned `json:"plans"`
	}
	if err := json.Unmarshal([]byte(result.Stdout), &document); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]planned)
	for _, plan := range document.Plans {
		all[plan.VM] = plan
	}
	return all, took
}

// How long two hundred domains take is printed beside what virsh takes to print
// their definitions, in one process and in one for each, in the same run: on a
// quiet machine plan takes less than two seconds.
func TestTwoHundredDomainsArePlannedInSeconds(t *testing.T) {
	h := set(t)
	h.sh(t, defineDomain+`
for i in $(seq 60); do echo "lvcreate -qy -Wn -Zn -L 4M -n many$i vg0"; done | lvm > /dev/null
for i in $(seq 200); do
  if test $i -le 60; then defineDomain many$i "$(onDevice vda /dev/vg0/many$i)"
  else truncate -s 4M /var/lib/libvirt/images/many$i.raw; defineDomain many$i "$(onFile vda /var/lib/libvirt/images/many$i.raw)"; fi
done
virsh < /run/definitions > /run/defined 2>&1`)
	everyDefinition := func(script string) time.Duration {
		begin := time.Now()
		h.sh(t, script)
		return time.Since(begin)
	}
	var ours, virsh []time.Duration
	for range 5 {
		plans, took := h.planAll(t, 3) // the group has no room for all of them
		if len(plans) != 201 {         // and imap
			t.Fatalf("%d plans", len(plans))
		}
		ours = append(ours, took)
		virsh = append(virsh, everyDefinition(`virsh list --all --name | sed '/./s/^/dumpxml /' | virsh >/dev/null`))
	}
	each := everyDefinition(`virsh list --all --name | sed '/^$/d' | xargs -n1 virsh dumpxml >/dev/null`)
	slices.Sort(ours)
	slices.Sort(virsh)
	t.Logf("plan --all with 201 domains: %s, median %s, %s", ours[0].Round(time.Millisecond), ours[2].Round(time.Millisecond), ours[4].Round(time.Millisecond))
	t.Logf("virsh dumpxml of all of them: median %s in one process (plan takes %.1f times that), %s with xargs (plan takes %.2f of that)",
		virsh[2].Round(time.Millisecond), ours[2].Seconds()/virsh[2].Seconds(), each.Round(time.Millisecond), ours[2].Seconds()/each.Seconds())
}

// kinds defines one domain of every kind that plan tells apart.
const kinds = `
for name in running transient snapped vault; do lvcreate -qy -L 4M -n $name vg0; done
truncate -s 4M /var/lib/libvirt/images/sealed.raw /var/lib/libvirt/images/snapped.raw
printf x | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-file - /dev/vg0/vault 2>/dev/null ||
  { lvextend -qy -L 8M vg0/vault; printf x | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-file - /dev/vg0/vault; }
defineDomain running "$(onDevice vda /dev/vg0/running)"; defineDomain vault "$(onDevice vda /dev/vg0/vault)"
defineDomain snapped "$(onFile vda /var/lib/libvirt/images/snapped.raw)"; defineDomain diskless; defineDomain büro "$(onDevice vda /dev/vg0/snapped)"
defineDomain sealed "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/var/lib/libvirt/images/sealed.raw'><encryption format='luks'><secret type='passphrase' uuid='7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60'/></encryption></source><target dev='vda' bus='virtio'/></disk>"
virsh -q < /run/definitions; : > /run/definitions
defineDomain transient "$(onDevice vda /dev/vg0/transient)"; : > /run/definitions
virsh -q create --paused /run/transient.xml; virsh -q start --paused running
virsh -q snapshot-create-as snapped s1 --disk-only`

// everyKind checks what plan --all says of each of them.
func everyKind(t *testing.T, h host) {
	h.sh(t, defineDomain+kinds)
	plans, _ := h.planAll(t, 3)
	for vm, want := range map[string]string{
		"imap": "ready", "büro": "ready", "vault": "done", "sealed": "done",
		"running": "blocked running", "transient": "blocked running transient", "snapped": "blocked snapshots", "diskless": "blocked no-disk",
	} {
		got := plans[vm].Result
		for _, blocker := range plans[vm].Blockers {
			if got += " " + blocker.Code; blocker.Remedy == "" && blocker.Code != "no-disk" && plans[vm].Result != "done" {
				t.Errorf("%s: %q says nothing of what removes it", vm, blocker.Message)
			}
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, not %s: %+v", vm, got, want, plans[vm].Blockers)
		}
	}
	t.Log("\n" + h.does(t, 3, []string{"plan", "--all"}, "virsh shutdown running", "virsh snapshot-list snapped", "2 ready, 2 done, 4 blocked").Stdout)
	// What the tab key is told, by names of the system as it is now.
	for typed, want := range map[string]string{"vmmigrate run --vm sn": "snapped", "vmmigrate plan --vm b": "büro", "vmmigrate run --vg v": "vg0"} {
		if got := h.sh(t, `vmmigrate __complete bash -- "$1" ' '`, typed); !strings.Contains(got, want) {
			t.Errorf("%s is completed with %q, not %s", typed, got, want)
		}
	}
	h.sh(t, `for vm in running transient; do virsh -q destroy $vm; done
for vm in running vault snapped diskless büro sealed; do virsh -q undefine --snapshots-metadata $vm; done; : > /run/definitions`)
}

// A pool on a filesystem whose device does not answer holds libvirt's lock on
// that pool for as long as its refresh hangs in the kernel.
func TestAPoolThatHangsBlocksItsVMAndNoOther(t *testing.T) {
	h := set(t)
	t.Run("every kind of domain is planned for what it is", func(t *testing.T) { everyKind(t, h) })
	h.sh(t, defineDomain+`
lvcreate -qy -L 32M -n slow vg0; mkfs.ext4 -q /dev/vg0/slow; mkdir -p /srv/slow; mount /dev/vg0/slow /srv/slow
truncate -s 4M /srv/slow/a.raw
virsh -q pool-define-as slow dir --target /srv/slow; virsh -q pool-start slow
defineDomain hung "$(inPool vda slow a.raw)"; virsh -q < /run/definitions`)
	if plans, _ := h.planAll(t, 0); plans["hung"].Result != "ready" || plans["imap"].Result != "ready" {
		t.Fatalf("before it hangs: %+v", plans)
	}
	h.sh(t, `sync; echo 3 > /proc/sys/vm/drop_caches; dmsetup suspend vg0-slow; (virsh pool-refresh slow > /dev/null 2>&1 &) ; sleep 2`)
	plans, took := h.planAll(t, 3)
	t.Logf("plan --all with a pool that hangs: %s", took.Round(time.Millisecond))
	hung := plans["hung"]
	if plans["imap"].Result != "ready" || hung.Result != "blocked" || len(hung.Blockers) != 1 || hung.Blockers[0].Code != "source-missing" {
		t.Errorf("while it hangs: %+v", plans)
	}
	if took > time.Minute {
		t.Errorf("it took %s", took)
	}
	h.sh(t, `dmsetup resume vg0-slow`)
}
