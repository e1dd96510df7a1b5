//go:build e2e

package crash

import (
	"math/rand/v2"
	"strings"
)

// defining is when libvirt is about to be asked to define the clone.
const defining = "ask libvirt: define"

const (
	// The daemon's own pid file names it.
	libvirtd  = `$(cat /run/libvirtd.pid)`
	restarted = `libvirtd -d; virsh -q list >/dev/null`
	// closed takes the first disk's mapping away, with what the host activated
	// on it.
	closed = `udevadm settle; vgchange -q -a n guest 2>/dev/null || true; cryptsetup close cr_imap_vda`
	// slow makes the copy last some ten seconds.
	slow = "1M"
	// slowPBKDF makes luksFormat take some three seconds.
	slowPBKDF = "3000000"
)

func meddling() []scenario {
	return []scenario{
		{"libvirtd hangs for three seconds of the copy", func(p place, _ *rand.Rand) {
			c := p.at(copying, `kill -STOP `+libvirtd+`; (sleep 3; kill -CONT `+libvirtd+`) >/dev/null 2>&1 &`, "run", "--max-rate", slow)
			p.expect(c, 0)
			p.end("resume", "")
		}},
		{"libvirtd hangs at define, and the user loses patience", func(p place, _ *rand.Rand) {
			c := p.at(defining, `kill -STOP `+libvirtd+`; (sleep 2; kill -INT $VMMIGRATE_PID) >/dev/null 2>&1 &`, "run")
			p.expect(c, 4, "vmmigrate resume", "vmmigrate rollback")
			if c.Seconds > 4 {
				p.t.Errorf("the interrupt took %.1f s to stop it", c.Seconds-2)
			}
			// By now it does what it was asked to before it hung.
			p.shell(`kill -CONT ` + libvirtd + `; virsh -q list >/dev/null`)
			p.end("resume", "")
		}},
		{"libvirtd is killed and restarted during the copy", func(p place, _ *rand.Rand) {
			c := p.at(copying, `kill -KILL `+libvirtd+`; `+restarted, "run")
			if c.Code != 0 {
				p.expect(c, 4, "vmmigrate resume")
			}
			p.end("resume", "")
		}},
		{"libvirtd is killed at define", func(p place, _ *rand.Rand) {
			c := p.at(defining, `kill -KILL `+libvirtd, "run")
			p.expect(c, 4, "vmmigrate resume")
			p.shell(restarted)
			p.end("resume", "")
		}},
		{"libvirtd is killed at define, and the job is rolled back", func(p place, _ *rand.Rand) {
			c := p.at(defining, `kill -KILL `+libvirtd, "run")
			p.expect(c, 4, "vmmigrate rollback")
			code, output := p.vmmigrate("rollback", "imap", "--yes")
			if code == 0 {
				p.t.Errorf("a rollback without libvirtd can't know that there is no clone:\n%s", output)
			}
			p.shell(restarted)
			p.end("rollback", "")
		}},
		{"the VM is started during the copy", func(p place, _ *rand.Rand) {
			c := p.at(copying, `virsh -q start --paused imap`, "run", "--max-rate", slow)
			p.expect(c, 4, `"imap"`, "started")
			if c.Seconds > 6 {
				p.t.Errorf("the copy went on for %.1f s", c.Seconds)
			}
			p.shell(`! virsh -q domid imap-luks 2>/dev/null; virsh -q destroy imap`)
			p.end("resume", "")
		}},
		{"the VM is started right before define", func(p place, _ *rand.Rand) {
			c := p.at("write journal: done firmware", `virsh -q start --paused imap`, "run")
			p.expect(c, 4, `"imap"`, "started")
			p.shell(`virsh -q destroy imap`)
			p.end("resume", "")
		}},
		{"another VM with the disk is started during the copy", func(p place, _ *rand.Rand) {
			p.shell(`virsh dumpxml imap | sed '/<uuid>/d; /<nvram/d; /<loader/d; s,<name>imap,<name>other,; s,52:54:00:11:22:33,52:54:00:11:22:44,' >/tmp/other.xml
				virsh -q define /tmp/other.xml`)
			c := p.at(copying, `virsh -q start --paused other`, "run", "--max-rate", slow)
			p.shell(`virsh -q destroy other; virsh -q undefine other`)
			p.expect(c, 4, `"other"`, "started")
			p.end("resume", "")
		}},
		{"the volume is removed behind our back", func(p place, _ *rand.Rand) {
			p.stopAfter("verify")
			p.shell(closed + `; lvremove -q --yes vg0/imap-vda-luks`)
			p.end("resume", "")
		}},
		{"the volume is removed, and the job is rolled back", func(p place, _ *rand.Rand) {
			p.stopAfter("verify")
			p.shell(closed + `; lvremove -q --yes vg0/imap-vda-luks`)
			p.end("rollback", "")
		}},
		{"the mapping is closed behind our back", func(p place, _ *rand.Rand) {
			p.stopAfter("copy")
			p.shell(closed)
			p.end("resume", "")
		}},
		{"the mapping is torn away during the copy", func(p place, _ *rand.Rand) {
			c := p.at("copy vda: write payload #3", `vgchange -q -a n guest; dmsetup remove --force cr_imap_vda`, "run")
			p.expect(c, 4, "vmmigrate resume")
			p.shell(`udevadm settle; [ ! -e /dev/mapper/cr_imap_vda ] || dmsetup remove --retry cr_imap_vda`)
			p.end("resume", "")
		}},
		{"the guest's own volume group is active when its disk is locked", func(p place, _ *rand.Rand) {
			c := p.at("write journal: done verify vda", `udevadm settle; vgchange -q -a y guest; [ -e /dev/guest/root ]`, "run")
			p.expect(c, 0)
			p.end("resume", "")
		}},
		{"somebody uses the guest's own volume", func(p place, _ *rand.Rand) {
			c := p.at("write journal: done verify vda", `udevadm settle; vgchange -q -a y guest; exec 3</dev/guest/root; sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/user`, "run")
			p.expect(c, 4, "guest", "vmmigrate resume")
			p.shell(`kill $(cat /tmp/user)`)
			p.end("resume", "")
		}},
		{"the guest's own volume group is active when the job is rolled back", func(p place, _ *rand.Rand) {
			p.stopAfter("verify")
			p.shell(`udevadm settle; vgchange -q -a y guest; [ -e /dev/guest/root ]`)
			p.end("rollback", "")
		}},
		{"a second job is begun for the VM", func(p place, _ *rand.Rand) {
			c := p.at(copying, `
				again() { vmmigrate "$@" 2>&1; echo "$1 $?"; }
				again run --vm imap --key-file /var/lib/libvirt/luks.key
				again resume imap --key-file /var/lib/libvirt/luks.key
				again rollback imap --yes`, "run")
			p.expect(c, 0, "run 3", "resume 3", "rollback 3")
			p.end("resume", "")
		}},
		{"two runs begin at once", func(p place, _ *rand.Rand) {
			codes := p.shell(`
				one() { vmmigrate run --vm imap --key-file /var/lib/libvirt/luks.key --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --close >/tmp/one$1 2>&1 && echo 0 || echo $?; }
				{ one 1 & one 2 & wait; } | sort`)
			if codes != "0\n3" {
				p.t.Errorf("they ended with %s and not with 0 and 3:\n%s", strings.Fields(codes), p.shell("cat /tmp/one1 /tmp/one2"))
			}
			p.end("resume", "")
		}},
		{"the clock is set back", func(p place, _ *rand.Rand) {
			c := p.at(copying, `date -s '2 days ago' >/dev/null`, "run")
			p.expect(c, 0)
			p.end("resume", "")
			p.shell(`date -s '2 days' >/dev/null`)
		}},
		{"the clock is set back between a crash and resume", func(p place, _ *rand.Rand) {
			p.expect(p.at("copy vdb: write payload #1", `date -s '2 days ago' >/dev/null; kill -KILL $VMMIGRATE_PID`, "run"), -1)
			p.end("resume", "")
			p.shell(`date -s '2 days' >/dev/null`)
		}},
		{"a resume meets a slow program that the killed run has left behind", func(p place, _ *rand.Rand) {
			c := p.at(formatting, `(sleep 1; kill -KILL $VMMIGRATE_PID) >/dev/null 2>&1 &`,
				"run", "--pbkdf-force-iterations", slowPBKDF)
			p.expect(c, -1)
			p.end("resume", "")
		}},
	}
}

// stopAfter runs the job until a step is done.
func (p place) stopAfter(step string) {
	p.t.Helper()
	p.expect(p.at("write journal: begin", "true", "run", "--stop-after", step), 4)
}
