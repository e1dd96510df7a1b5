//go:build e2e

package batch

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
)

// changing are the programs whose calls a rehearsal names.
var changing = regexp.MustCompile(`^(lvcreate|cryptsetup (luksFormat|open|luksAddKey|luksHeaderBackup|close)) `)

// ran matches the log record of a program that was run.
var ran = regexp.MustCompile(`msg=ran command="((?:[^"\\]|\\.)*)"`)

// drawn are what each plan draws for itself: UUIDs and ids of jobs.
var drawn = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{8}-[0-9]{6}-[0-9a-f]{4}`)

func calls(lines []string) []string {
	var all []string
	for _, line := range lines {
		line, _, _ = strings.Cut(line, " <")
		if changing.MatchString(line) && !strings.Contains(line, "--test-passphrase") {
			all = append(all, drawn.ReplaceAllString(line, "DRAWN"))
		}
	}
	return all
}

func TestAPlanIsSavedEditedRehearsedCarriedOutAndCarriedOutAgain(t *testing.T) {
	h := set(t)
	h.sh(t, defineDomain+`
lvcreate -qy -L 8M -n web vg0; lvcreate -qy -L 8M -n vault vg0; lvcreate -qy -L 8M -n later vg0
printf x | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-file - /dev/vg0/vault
defineDomain web "$(onDevice vda /dev/vg0/web)"; defineDomain vault "$(onDevice vda /dev/vg0/vault)"; defineDomain later "$(onDevice vda /dev/vg0/later)"
virsh -q < /run/definitions; mkdir -m 700 /root/recovery`)
	cheap := []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}
	h.does(t, 0, append([]string{"plan", "--all", "--save", "/root/batch.yaml"}, cheap...), "3 ready, 1 done")
	h.does(t, 3, []string{"plan", "--all", "--save", "/root/batch.yaml"}, "exists already", "--force")

	h.sh(t, `sed -i 's/lv: web-vda-luks/lv: web-root/; /name: later/a\    skip: true' /root/batch.yaml
grep -q 'skip: true' /root/batch.yaml; grep -q 'Done: ' /root/batch.yaml
sed -i "s|^vms:|keys:\n  default: {file: $1}\n\nvms:|" /root/batch.yaml`, scenario.KeyFile)
	args := []string{"run", "--plan", "/root/batch.yaml", "--recovery-key-file", "/root/recovery", "--close", "--parallel", "1"}

	before := h.sh(t, `lvs --noheadings -o lv_name; virsh list --all --name; find /var/lib/vmmigrate`)
	rehearsed := h.does(t, 0, append(args, "--dry-run"), "virDomainDefineXMLFlags", "<key on stdin>")
	if after := h.sh(t, `lvs --noheadings -o lv_name; virsh list --all --name; find /var/lib/vmmigrate`); after != before {
		t.Errorf("a rehearsal changed something: %s", cmp.Diff(before, after))
	}
	h.does(t, 2, args, "this asks before it goes on") // no terminal, and no --yes

	run := h.does(t, 0, append(args, "--yes", "--log-level", "debug"), "imap", "web", "migrated")
	var logged []string
	for _, match := range ran.FindAllStringSubmatch(run.Stderr, -1) {
		logged = append(logged, strings.ReplaceAll(match[1], `\"`, `"`))
	}
	if diff := cmp.Diff(calls(strings.Split(rehearsed.Stdout, "\n")), calls(logged)); diff != "" {
		t.Errorf("rehearsed and run differ: %s", diff)
	}
	h.sh(t, `for vm in imap web; do
  test "$(stat -c %a "/root/recovery/$vm.recovery-key")" = 600
  lv=$vm-vda-luks; test $vm = web && lv=web-root
  cryptsetup open --test-passphrase --key-file "/root/recovery/$vm.recovery-key" /dev/vg0/$lv
  ! grep -rqF "$(cat "/root/recovery/$vm.recovery-key")" /var/lib/vmmigrate
done`)
	if names := strings.Fields(h.sh(t, `virsh list --all --name`)); slices.Contains(names, "later-luks") || slices.Contains(names, "vault-luks") {
		t.Errorf("what was to be skipped was moved: %v", names)
	}

	h.does(t, 0, []string{"run", "--plan", "/root/batch.yaml", "--yes"}, "imap is left out: it has been migrated already", "web is left out", "done before")
	// What changed since the plan was saved is said, and blocks.
	h.sh(t, `sed -i '/^    skip: true$/d; s/^host: .*/host: elsewhere/' /root/batch.yaml; lvextend -qy -L +4M vg0/later; virsh -q undefine vault`)
	h.does(t, 3, []string{"run", "--plan", "/root/batch.yaml", "--yes"},
		"the host was elsewhere", "later: vda: its size was 8 MiB, is 12 MiB", "vault: the VM was defined, is gone")
}

func TestAReaderThatGoesAwayLeavesNothingHalfDone(t *testing.T) {
	h := set(t)
	out := h.sh(t, `set +e
vmmigrate plan --all > /dev/full; echo "full $?"
vmmigrate run --vm imap --key-file "$1" --yes --output json --pbkdf pbkdf2 --pbkdf-force-iterations 1000 | head -c 1 > /dev/null
for i in $(seq 120); do virsh -q dominfo imap-luks > /dev/null 2>&1 && break; sleep 1; done
sleep 2; vmmigrate jobs`, scenario.KeyFile)
	if !strings.Contains(out, "full 1\n") || !strings.Contains(out, "done") || strings.Contains(out, "interrupted") {
		t.Error(out)
	}
	t.Run("a batch of which one fails ends with 6, and a second run finishes it", func(t *testing.T) { oneFails(t, h) })
}

// oneFails runs a batch of a VM that was moved before, one whose disk can't be
// read and one that can be moved; then the disk can be read again.
func oneFails(t *testing.T, h host) {
	h.sh(t, defineDomain+`
lvcreate -qy -L 8M -n web vg0; lvcreate -qy -L 8M -n platter vg0
dmsetup create sick --table "0 16384 error"
defineDomain sick "$(onDevice vda /dev/mapper/sick)"; defineDomain web "$(onDevice vda /dev/vg0/web)"; virsh -q < /run/definitions`)
	args := []string{"run", "--all", "--yes", "--key-file", scenario.KeyFile, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}
	t.Log("\n" + h.does(t, 6, args, "imap is left out", "done before", "sick", "web-luks", "vmmigrate resume").Stderr)
	h.does(t, 0, []string{"jobs"}, "sick-luks", "interrupted")
	if got := h.sh(t, `vmmigrate __complete bash -- 'vmmigrate resume si' ' '`); !strings.Contains(got, "sick") {
		t.Errorf("resume si is completed with %q", got)
	}

	h.sh(t, `dmsetup suspend sick; dmsetup load sick --table "0 16384 linear /dev/vg0/platter 0"; dmsetup resume sick`)
	h.does(t, 0, args, "sick is now sick-luks", "web is left out")
	h.sh(t, `cmp /dev/vg0/platter /dev/mapper/cr_sick_vda`)
}
