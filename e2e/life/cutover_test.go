//go:build e2e

package life

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// definitions are all domains' definitions, flags and states.
func (h host) definitions(t *testing.T) string {
	t.Helper()
	return h.sh(t, `virsh list --all --name | sort | while read -r name; do
		[ -z "$name" ] && continue
		echo "## $name $(virsh domstate "$name") $(virsh dominfo "$name" | grep Autostart)"; virsh dumpxml --inactive --security-info "$name"; done`)
}

// identity is a domain's UUID and hardware addresses.
func (h host) identity(t *testing.T, name string) string {
	t.Helper()
	return h.sh(t, `virsh dumpxml --inactive "$1" | sed -n "s|^  <uuid>\(.*\)</uuid>|\1|p; s|.*<mac address='\(.*\)'/>|\1|p" | xargs`, name)
}

func TestACutOverCloneBootsUnderItsOriginalsNameAndGoesBack(t *testing.T) {
	h := setKeeping(t, "--close")
	h.sh(t, `virsh -q autostart imap`)
	before := h.definitions(t)
	plain := h.sh(t, `sha256sum </dev/vg0/lvimap_hd0`)
	imap, clone := h.identity(t, "imap"), h.identity(t, "imap-luks")

	t.Run("what runs, is saved or is not there is refused, and nothing changed", func(t *testing.T) {
		h.sh(t, `virsh -q start --paused imap`)
		h.does(t, 3, []string{"cutover", "imap-luks"}, `"imap" is paused, and has to be off`, "virsh shutdown imap")
		h.sh(t, `virsh -q managedsave imap`)
		h.does(t, 3, []string{"cutover", "imap-luks"}, "managed save image", "virsh managedsave-remove imap")
		h.sh(t, `virsh -q managedsave-remove imap`)
		h.does(t, 3, []string{"cutover", "imap"}, "its clone is called imap-luks")
		h.does(t, 3, []string{"cutover", "nobody"}, `libvirt has no VM "nobody"`)
		h.sh(t, `virsh dumpxml --inactive --security-info imap >/root/imap.xml; virsh -q undefine imap`)
		h.does(t, 3, []string{"cutover", "imap-luks"}, "is not defined", "virsh domrename imap-luks NEWNAME")
		h.sh(t, `virsh -q define /root/imap.xml; virsh -q autostart imap`)
		h.sh(t, `vgchange -q -an vg0; vgexport -q vg0`)
		h.does(t, 3, []string{"cutover", "imap-luks"}, "its volume group is exported", "vgimport vg0")
		h.sh(t, `vgimport -q vg0; vgchange -q -ay vg0`)
		h.does(t, 3, []string{"--state-dir", "/proc/nowhere", "cutover", "imap-luks"}, "the journal could not be written")
		h.sh(t, `mkdir /root/ro /root/full; mount -t tmpfs -o ro,mode=700 none /root/ro; mount -t tmpfs -o size=16k,mode=700 none /root/full; head -c 12288 /dev/zero >/root/full/x`)
		h.does(t, 3, []string{"--state-dir", "/root/ro", "cutover", "imap-luks"}, "read-only file system")
		full := h.does(t, -1, []string{"--state-dir", "/root/full", "cutover", "imap-luks"}, "no space left on device")
		if strings.Contains(full, "vmmigrate rollback") { // it had begun
			h.does(t, 0, []string{"--state-dir", "/root/full", "rollback", "imap"})
		}
		h.sh(t, `umount /root/ro /root/full`)
		h.same(t, before)
	})
	t.Run("a libvirtd that hangs does not take the guest's name with it", func(t *testing.T) {
		h.sh(t, `kill -STOP "$(pgrep -x libvirtd | head -n1)"`)
		h.does(t, 3, []string{"cutover", "imap-luks"}, "did not answer")
		h.sh(t, `kill -CONT "$(pgrep -x libvirtd | head -n1)"`)
		h.same(t, before)
	})
	t.Run("the clone has the name, UUID and address, and boots", func(t *testing.T) {
		t.Log("\n" + h.does(t, 0, []string{"cutover", "imap-luks"}, "the clone is called imap now, and the original imap-plain", "vmmigrate cutover --undo imap"))
		if got := h.identity(t, "imap"); got != imap {
			t.Errorf("imap is %s and not %s", got, imap)
		}
		if got := h.identity(t, "imap-plain"); !strings.HasSuffix(got, strings.Fields(clone)[1]) || strings.HasPrefix(got, strings.Fields(imap)[0]) {
			t.Errorf("imap-plain is %s", got)
		}
		h.does(t, 0, []string{"cutover", "imap"}, "has its original's place already")
		h.does(t, 0, []string{"status"}, "imap  ", "imap-plain, there")
		t.Log("\n" + h.does(t, 0, []string{"jobs"}, "cutover", "done"))
		h.does(t, 3, []string{"plan", "--vm", "imap-plain"}, "has its place")
		h.sh(t, `virsh -q start --paused imap-plain`)
		h.does(t, 3, with("start", "imap"), `its original "imap-plain" runs`)
		h.sh(t, `virsh -q destroy imap-plain`)
		h.does(t, 0, with("start", "imap"), "imap: started")
		h.does(t, 3, []string{"cutover", "imap", "--undo"}, `"imap" is running, and has to be off`, "vmmigrate stop imap")
		h.does(t, 3, []string{"verify", "imap"}, `the clone "imap" is running`)
		log := h.sh(t, `virsh dumpxml imap | sed -n "s/.*<source path='\([^']*serial[^']*\)'.*/\1/p" | head -n1`)
		h.does(t, 0, []string{"stop", "imap", "--timeout", "5m"}, "imap: off", "vda: locked")
		if console := h.sh(t, `cat "$1"`, log); !strings.Contains(console, "SAYS "+guest.Says) {
			t.Errorf("the guest did not say what is in its root:\n%s", console)
		}
		h.does(t, 3, []string{"verify", "imap"}, "is not open", "vmmigrate unlock imap")
		h.does(t, 0, []string{"header", "backup", "imap"}, "header saved")
		h.does(t, 0, []string{"header", "check", "imap"}, "vda  current")
	})
	t.Run("the job that moved it is not rolled back under it", func(t *testing.T) {
		job := h.sh(t, `ls /var/lib/vmmigrate/jobs`)
		h.does(t, 3, []string{"rollback", job, "--yes"}, `it is "imap", as after a cutover`, "vmmigrate cutover --undo imap")
		h.does(t, 3, []string{"rollback", job, "--yes", "--force"}, "as after a cutover")
	})
	t.Run("and goes back, and nothing is different", func(t *testing.T) {
		t.Log("\n" + h.does(t, 0, []string{"cutover", "imap", "--undo"}, "the clone is called imap-luks again, and the original imap"))
		h.does(t, 0, []string{"cutover", "imap-luks", "--undo"}, "no cutover to take back")
		// That it has run is noted.
		h.same(t, before, `<vmmigrate:started time=`)
		if got := h.sh(t, `sha256sum </dev/vg0/lvimap_hd0`); got != plain {
			t.Error("the plain disk was written")
		}
	})
	t.Run("killed at any call it is finished or taken back", h.cutoverKilledAtEveryCall)
}

// same fails unless all definitions are what they were, lines that hold one of
// these aside.
func (h host) same(t *testing.T, before string, but ...string) {
	t.Helper()
	lines := func(text string) []string {
		return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
			return slices.ContainsFunc(but, func(part string) bool { return strings.Contains(line, part) })
		})
	}
	now := h.definitions(t)
	if a, b := lines(before), lines(now); !slices.Equal(a, b) {
		t.Errorf("the definitions were\n%s\nand are\n%s", before, now)
	}
}

// cutoverKilledAtEveryCall: at every call to libvirt that changes something
// vmmigrate is killed, before the call and after it, forth and back. What is left is ended in each of the three
// ways in turn.
func (h host) cutoverKilledAtEveryCall(t *testing.T) {
	program := filepath.Join(t.TempDir(), "killer")
	if err := testhost.Build(t.Context(), "github.com/vmmigrate/vmmigrate/e2e/life/killer", program); err != nil {
		t.Fatal(err)
	}
	if err := h.CopyIn(t.Context(), program, "/usr/local/bin/killer"); err != nil {
		t.Fatal(err)
	}
	disks := h.sh(t, `chmod 755 /usr/local/bin/killer; sha256sum </dev/vg0/lvimap_hd0; sha256sum </dev/vg0/imap-vda-luks`)
	before := h.definitions(t)
	kills := 0
	for _, undo := range []bool{false, true} {
		name := "imap-luks"
		if undo {
			name = "imap"
		}
		for n := 1; ; n++ {
			ended := false
			for _, when := range []string{"before", "after"} {
				if h.isCutOver(t) != undo {
					h.does(t, 0, []string{"cutover", map[bool]string{false: "imap", true: "imap-luks"}[undo], fmt.Sprintf("--undo=%v", !undo)})
				}
				args := []string{"killer", fmt.Sprint(n), when, "vmmigrate", "-c", "qemu:///system?socket=$KILLER_SOCKET", "cutover", name, fmt.Sprintf("--undo=%v", undo)}
				result, _ := h.Run(t.Context(), args...) // its exit code says it all
				if result.ExitCode == 0 {
					ended = true
					continue
				}
				if result.ExitCode != 137 {
					t.Fatalf("%q: %+v", args, result)
				}
				kills++
				h.bothAreDefined(t, n, when)
				if n == 1 {
					h.does(t, 0, []string{"jobs"}, "interrupted", "vmmigrate resume", "vmmigrate rollback")
					h.does(t, 3, with("start", name), "is not finished")
				}
				how := [][]string{{"resume"}, {"rollback"}, {"cutover", name, fmt.Sprintf("--undo=%v", undo)}}[kills%3]
				h.does(t, 0, how)
				if back := how[0] == "rollback"; h.isCutOver(t) != (undo == back) {
					t.Errorf("killed %s call %d and ended with %q it is %s", when, n, how, h.definitions(t))
				}
				h.bothAreDefined(t, n, when)
			}
			if ended {
				break
			}
		}
	}
	if h.isCutOver(t) {
		h.does(t, 0, []string{"cutover", "imap", "--undo"})
	}
	h.same(t, before)
	if now := h.sh(t, `sha256sum </dev/vg0/lvimap_hd0; sha256sum </dev/vg0/imap-vda-luks`); now != disks {
		t.Error("a disk was written")
	}
	if t.Logf("killed %d times", kills); kills < 16 {
		t.Errorf("killed %d times only", kills)
	}
}

func (h host) isCutOver(t *testing.T) bool {
	t.Helper()
	return h.sh(t, `ls /etc/libvirt/qemu | grep -x imap-plain.xml || true`) != ""
}

// bothAreDefined: each guest has a definition of libvirt's on disk, with its disk
// in it, and neither runs.
func (h host) bothAreDefined(t *testing.T, n int, when string) {
	t.Helper()
	all := h.sh(t, `cd /etc/libvirt/qemu; grep -l "dev='/dev/vg0/lvimap_hd0'" *.xml | sed 's/^/plain /'; grep -l "dev='/dev/mapper/cr_imap_vda'" *.xml | sed 's/^/clone /'; pgrep -x qemu-system-x86 || true`)
	if !strings.Contains(all, "plain ") || !strings.Contains(all, "clone ") || len(strings.Fields(all))%2 != 0 {
		t.Errorf("killed %s call %d:\n%s", when, n, all)
	}
}
