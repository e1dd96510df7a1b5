//go:build e2e

package crash

import (
	"math/rand/v2"
)

// defining is when libvirt is about to be asked to define the clone.
const defining = "ask libvirt: define"

const (
	// The daemon's own pid file names it.
	libvirtd  = `$(cat /run/libvirtd.pid)`
	restarted = `libvirtd -d; virsh -q list >/dev/null`
)

func daemons() []variants {
	return []variants{
		{{"libvirtd hangs for three seconds of the copy", func(p place, _ *rand.Rand) {
			c := p.at(copying, `kill -STOP `+libvirtd+`; (sleep 3; kill -CONT `+libvirtd+`) >/dev/null 2>&1 &`, "run", "--max-rate", "3M")
			p.expect(c, 0)
			p.end("resume", "")
		}}, {"libvirtd hangs from the copy on, until it is killed", func(p place, _ *rand.Rand) {
			c := p.at(copying, `kill -STOP `+libvirtd, "run")
			p.expect(c, 4, "vmmigrate resume", "vmmigrate rollback")
			if c.Seconds > 60 {
				p.t.Errorf("a daemon that gives no answer for 30 s cost %.1f s", c.Seconds)
			}
			p.shell(`grep -q '"kind":"done","step":"copy","disk":"vdb"' /var/lib/vmmigrate/jobs/*/journal
				kill -KILL ` + libvirtd + `; ` + restarted)
			p.end("resume", "")
		}}},
		{{"libvirtd hangs at define, and the user loses patience", func(p place, _ *rand.Rand) {
			c := p.at(defining, `kill -STOP `+libvirtd+`; (sleep 2; touch /tmp/since; kill -INT $VMMIGRATE_PID) >/dev/null 2>&1 &`, "run")
			p.expect(c, 4, "vmmigrate resume", "vmmigrate rollback")
			if c.Seconds > 2 {
				p.t.Errorf("the interrupt took %.1f s to stop it", c.Seconds)
			}
			// By now it does what it was asked to before it hung.
			p.shell(`kill -CONT ` + libvirtd + `; virsh -q list >/dev/null`)
			p.end("resume", "")
		}}},
		{{"libvirtd is killed and restarted during the copy", func(p place, _ *rand.Rand) {
			c := p.at(copying, `kill -KILL `+libvirtd+`; `+restarted, "run")
			p.expect(c, 0)
			p.end("resume", "")
		}}, {"libvirtd is killed during the copy, and restarted after it", func(p place, _ *rand.Rand) {
			c := p.at(copying, `kill -KILL `+libvirtd, "run")
			p.expect(c, 4, "vmmigrate resume")
			p.shell(restarted)
			p.end("resume", "")
		}}, {"libvirtd is killed and restarted at define", func(p place, _ *rand.Rand) {
			c := p.at(defining, `kill -KILL `+libvirtd+`; `+restarted, "run")
			p.expect(c, 4, "vmmigrate resume")
			p.end("resume", "")
		}}, {"libvirtd is killed at define", func(p place, _ *rand.Rand) {
			c := p.at(defining, `kill -KILL `+libvirtd, "run")
			p.expect(c, 4, "vmmigrate resume")
			p.shell(restarted)
			p.end("resume", "")
		}}, {"libvirtd is killed at define, and the job is rolled back", func(p place, _ *rand.Rand) {
			c := p.at(defining, `kill -KILL `+libvirtd, "run")
			p.expect(c, 4, "vmmigrate rollback")
			code, output := p.vmmigrate("rollback", "imap", "--yes")
			if code == 0 {
				p.t.Errorf("a rollback without libvirtd can't know that there is no clone:\n%s", output)
			}
			p.shell(restarted)
			p.end("rollback", "")
		}}},
	}
}
