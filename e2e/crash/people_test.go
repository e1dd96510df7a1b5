//go:build e2e

package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
)

const (
	// closed takes the first disk's mapping away, with what the host activated
	// on it.
	closed = `udevadm settle; vgchange -q -a n guest 2>/dev/null || true; cryptsetup close cr_imap_vda`
	// slow makes the copy last some ten seconds.
	slow = "1M"
	// slowPBKDF makes luksFormat take some three seconds.
	slowPBKDF = "3000000"
)

func people() []variants {
	return []variants{
		{{"the VM is started during the copy", func(p place, _ *rand.Rand) {
			c := p.at(copying, `virsh -q start --paused imap`, "run", "--max-rate", slow)
			p.expect(c, 4, `"imap"`, "started")
			if c.Seconds > 6 {
				p.t.Errorf("the copy went on for %.1f s", c.Seconds)
			}
			p.shell(`! virsh -q domid imap-luks 2>/dev/null; virsh -q destroy imap`)
			p.end("resume", "")
		}}, {"the VM is started right before define", func(p place, _ *rand.Rand) {
			c := p.at("write journal: done firmware", `virsh -q start --paused imap`, "run")
			p.expect(c, 4, `"imap"`, "started")
			p.shell(`virsh -q destroy imap`)
			p.end("resume", "")
		}}, {"another VM with the disk is started during the copy", func(p place, _ *rand.Rand) {
			p.shell(`virsh dumpxml imap | sed '/<uuid>/d; /<nvram/d; /<loader/d; s,<name>imap,<name>other,; s,52:54:00:11:22:33,52:54:00:11:22:44,' >/tmp/other.xml
				virsh -q define /tmp/other.xml`)
			c := p.at(copying, `virsh -q start --paused other`, "run", "--max-rate", slow)
			p.shell(`virsh -q destroy other; virsh -q undefine other`)
			p.expect(c, 4, `"other"`, "started")
			p.end("resume", "")
		}}},
		{{"the volume is removed behind our back", func(p place, _ *rand.Rand) {
			p.stopAfter("verify")
			p.shell(closed + `; lvremove -q --yes vg0/imap-vda-luks`)
			p.end("resume", "")
		}}, {"the volume is removed, and the job is rolled back", func(p place, _ *rand.Rand) {
			p.stopAfter("verify")
			p.shell(closed + `; lvremove -q --yes vg0/imap-vda-luks`)
			p.end("rollback", "")
		}}, {"the mapping is closed behind our back", func(p place, _ *rand.Rand) {
			p.stopAfter("copy")
			p.shell(closed)
			p.end("resume", "")
		}}, {"the mapping is torn away during the copy", func(p place, _ *rand.Rand) {
			c := p.at("copy vda: write payload #3", `vgchange -q -a n guest; dmsetup remove --force cr_imap_vda`, "run")
			p.expect(c, 4, "vmmigrate resume")
			p.shell(`udevadm settle; [ ! -e /dev/mapper/cr_imap_vda ] || dmsetup remove --retry cr_imap_vda`)
			p.end("resume", "")
		}}},
		{{"the guest's own volume group is active when its disk is locked", func(p place, _ *rand.Rand) {
			c := p.at("write journal: done verify vda", `udevadm settle; vgchange -q -a y guest; [ -e /dev/guest/root ]`, "run")
			p.expect(c, 0)
			p.end("resume", "")
		}}, {"somebody uses the guest's own volume", func(p place, _ *rand.Rand) {
			c := p.at("write journal: done verify vda", `udevadm settle; vgchange -q -a y guest; exec 3</dev/guest/root; sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/user`, "run")
			p.expect(c, 4, "guest", "vmmigrate resume")
			p.shell(`kill $(cat /tmp/user)`)
			p.end("resume", "")
		}}, {"the guest's own volume group is active when the job is rolled back", func(p place, _ *rand.Rand) {
			p.stopAfter("verify")
			p.shell(`udevadm settle; vgchange -q -a y guest; [ -e /dev/guest/root ]`)
			p.end("rollback", "")
		}}},
		{{"the source is written while the job is stopped", func(p place, _ *rand.Rand) {
			p.stopAfter("copy")
			p.shell(`dd if=/dev/vg0/imap of=/tmp/sector bs=512 count=1 status=none; dd if=/tmp/sector of=/dev/vg0/imap oflag=direct status=none`)
			p.refusesToResume("the source of vda has changed", "vmmigrate rollback")
			p.end("rollback", "")
		}}, {"the source's file is written while the job is stopped", func(p place, _ *rand.Rand) {
			p.stopAfter("copy")
			p.shell(`touch /var/lib/libvirt/images/data.raw`)
			p.refusesToResume("the source of vdb has changed", "vmmigrate rollback")
			p.end("rollback", "")
		}}, {"the source's file grows while the job is stopped", func(p place, _ *rand.Rand) {
			p.stopAfter("copy")
			p.shell(`truncate -s +512 /var/lib/libvirt/images/data.raw`)
			p.refusesToResume("the source of vdb has changed", "vmmigrate rollback")
			p.shell(`truncate -s -512 /var/lib/libvirt/images/data.raw`)
			p.end("rollback", "")
		}}, {"the source is written behind the kernel's back", func(p place, _ *rand.Rand) {
			p.stopAfter("copy")
			// Neither its size nor its time tell: only its content does.
			p.shell(`f=/var/lib/libvirt/images/data.raw; touch -r $f /tmp/when; dd if=$f of=/tmp/sector bs=512 count=1 status=none
				dd if=/dev/urandom of=$f bs=512 count=1 conv=notrunc status=none; touch -r /tmp/when $f`)
			p.refusesToResume("the source of vdb has changed", "read differently", "vmmigrate rollback")
			p.shell(`dd if=/tmp/sector of=/var/lib/libvirt/images/data.raw conv=notrunc status=none`)
			p.end("rollback", "")
		}}},
		{{"the journal is damaged", func(p place, _ *rand.Rand) {
			p.stopAfter("copy")
			p.shell(`j=$(echo /var/lib/vmmigrate/jobs/*/journal); cp $j /tmp/journal; printf X | dd of=$j bs=1 seek=300 conv=notrunc status=none`)
			for _, command := range [][]string{resume(), {"rollback", "imap", "--yes"}} {
				code, output := p.vmmigrate(command...)
				expect(p.t, code, output, 3)
			}
			code, output := p.vmmigrate("resume", p.shell(`basename $(echo /var/lib/vmmigrate/jobs/*)`), "--key-file", "/var/lib/libvirt/luks.key")
			expect(p.t, code, output, 3, "is damaged at byte", "lvs -o +lv_tags")
			p.shell(`cat /tmp/journal >$(echo /var/lib/vmmigrate/jobs/*/journal)`)
			p.end("resume", "")
		}}, {"the journal has lost its last record", func(p place, random *rand.Rand) {
			p.stopAfter("copy")
			p.shell(`truncate -s -` + fmt.Sprint(1+random.IntN(40)) + ` /var/lib/vmmigrate/jobs/*/journal`)
			p.end("resume", "")
		}}},
		{{"the clone was started", func(p place, _ *rand.Rand) {
			p.stopAfter("define")
			p.shell(`virsh -q start --paused imap-luks`)
			for _, more := range [][]string{nil, {"--force"}} {
				code, output := p.vmmigrate(append([]string{"rollback", "imap", "--yes"}, more...)...)
				expect(p.t, code, output, 3, "is running")
			}
			p.shell(`virsh -q destroy imap-luks; dd if=/dev/urandom of=/dev/mapper/cr_imap_vda bs=512 count=1 oflag=direct status=none`)
			code, output := p.vmmigrate("rollback", "imap", "--yes")
			expect(p.t, code, output, 3, "may have been started", "--force")
			p.end("rollback", "") // with --force
		}}},
		{{"somebody else's volume has the place of ours", func(p place, _ *rand.Rand) {
			p.stopAfter("verify")
			p.shell(closed + `; lvremove -q --yes vg0/imap-vda-luks; lvcreate -q --yes -Wn -L 22M -n imap-vda-luks vg0`)
			code, output := p.vmmigrate(resume()...)
			expect(p.t, code, output, 4, "does not bear the tag")
			code, output = p.vmmigrate("rollback", "imap", "--yes")
			expect(p.t, code, output, 0)
			p.shell(`lvremove -q --yes vg0/imap-vda-luks`) // it stayed
			p.end("rollback", "")
		}}},
		{{"the udev rule keeps the host's LVM from a guest's group", func(p place, _ *rand.Rand) {
			const rule, warning = "/etc/udev/rules.d/57-vmmigrate.rules", "which this host's LVM will see"
			// The host's LVM activates a group that is complete, and only the
			// first time that it sees it so (69-lvm.rules).
			const opened = `rm -rf /run/lvm/pvs_online/* /run/lvm/vgs_online/*
				cryptsetup open --key-file /var/lib/libvirt/luks.key /dev/vg0/imap-vda-luks cr_imap_vda; udevadm settle
				[ ! -e /dev/mapper/guest-root ] || echo activated`
			plan := func() string { return p.shell(`vmmigrate plan --vm imap 2>&1`) }
			if !strings.Contains(plan(), warning) {
				p.t.Error("plan does not warn without the rule")
			}
			p.install("udev/57-vmmigrate.rules", rule)
			if got := plan(); strings.Contains(got, warning) {
				p.t.Errorf("plan warns with the rule:\n%s", got)
			}
			p.shell(`rm ` + rule)
			p.stopAfter("verify")
			p.shell(closed)
			if got := p.shell(opened); got != "activated" {
				p.t.Errorf("without the rule it is %q, so nothing is shown", got)
			}
			p.install("udev/57-vmmigrate.rules", rule)
			p.shell(closed + `; udevadm control --reload`)
			if got := p.shell(opened); got != "" {
				p.t.Errorf("with the rule it is %s", got)
			}
			p.shell(`rm ` + rule + `; udevadm control --reload`)
			p.end("resume", "")
		}}, {"the filter keeps the host's LVM from a guest's group", func(p place, _ *rand.Rand) {
			p.stopAfter("verify")
			p.shell(`vgs guest; cp /etc/lvm/lvmlocal.conf /tmp`)
			p.install("lvm/vmmigrate-filter.conf", "/etc/lvm/lvmlocal.conf")
			p.shell(`vgs vg0; ! vgs guest; cp /tmp/lvmlocal.conf /etc/lvm`)
			p.end("resume", "")
		}}},
		{{"a second job is begun for the VM", func(p place, _ *rand.Rand) {
			c := p.at(copying, `
				again() { vmmigrate "$@" 2>&1; echo "$1 $?"; }
				again run --vm imap --key-file /var/lib/libvirt/luks.key
				again resume imap --key-file /var/lib/libvirt/luks.key
				again rollback imap --yes`, "run")
			p.expect(c, 0, "run 3", "resume 3", "rollback 3")
			p.end("resume", "")
		}}, {"two runs begin at once", func(p place, _ *rand.Rand) {
			codes := p.shell(`
				one() { vmmigrate run --vm imap --key-file /var/lib/libvirt/luks.key --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --close >/tmp/one$1 2>&1 && echo 0 || echo $?; }
				{ one 1 & one 2 & wait; } | sort`)
			if codes != "0\n3" {
				p.t.Errorf("they ended with %s and not with 0 and 3:\n%s", strings.Fields(codes), p.shell("cat /tmp/one1 /tmp/one2"))
			}
			p.end("resume", "")
		}}},
		{{"the clock is set back", func(p place, _ *rand.Rand) {
			c := p.at(copying, `date -s '2 days ago' >/dev/null`, "run")
			p.expect(c, 0)
			p.end("resume", "")
			p.shell(`date -s '2 days' >/dev/null`)
		}}, {"the clock is set back between a crash and resume", func(p place, _ *rand.Rand) {
			p.expect(p.at("copy vdb: write payload #1", `date -s '2 days ago' >/dev/null; kill -KILL $VMMIGRATE_PID`, "run"), -1)
			p.end("resume", "")
			p.shell(`date -s '2 days' >/dev/null`)
		}}},
		{{"a resume meets a slow program that the killed run has left behind", func(p place, _ *rand.Rand) {
			c := p.at(formatting, `(sleep 1; kill -KILL $VMMIGRATE_PID) >/dev/null 2>&1 &`,
				"run", "--pbkdf-force-iterations", slowPBKDF)
			p.expect(c, -1)
			p.end("resume", "")
		}}},
	}
}

// stopAfter runs the job until a step is done.
func (p place) stopAfter(step string) {
	p.t.Helper()
	p.expect(p.at("write journal: begin", "true", "run", "--stop-after", step), 4)
}

// refusesToResume wants resume to stop at what it finds, and to say so.
func (p place) refusesToResume(words ...string) {
	p.t.Helper()
	code, output := p.vmmigrate(resume()...)
	expect(p.t, code, output, 4, words...)
}

// install puts a file of the packaging on the host.
func (p place) install(file, to string) {
	p.t.Helper()
	data, err := os.ReadFile("../../packaging/" + file)
	if err == nil {
		err = p.WriteFile(p.t.Context(), to, data, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
