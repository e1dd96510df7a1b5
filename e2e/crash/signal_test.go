//go:build e2e

package crash

import (
	"math/rand/v2"
)

func signals() []scenario {
	var all []scenario
	for _, one := range []struct{ name, ending string }{{"INT", "resume"}, {"TERM", "rollback"}, {"HUP", "resume"}} {
		all = append(all, scenario{"SIG" + one.name + " stops the copy within two seconds, then " + one.ending, func(p place, _ *rand.Rand) {
			c := p.at("copy vda: write payload #2", `kill -`+one.name+` $VMMIGRATE_PID`, "run", "--max-rate", slow)
			p.expect(c, 4, "interrupted", "vmmigrate resume", "vmmigrate rollback")
			if c.Seconds > 2 {
				p.t.Errorf("it took %.1f s", c.Seconds)
			}
			p.end(one.ending, "")
		}})
	}
	return append(all,
		scenario{"a signal stops a slow program", func(p place, _ *rand.Rand) {
			c := p.at(formatting, `(sleep 1; kill -INT $VMMIGRATE_PID) >/dev/null 2>&1 &`,
				"run", "--pbkdf-force-iterations", slowPBKDF)
			p.expect(c, 4, "interrupted", "vmmigrate resume")
			if c.Seconds > 3 {
				p.t.Errorf("it took %.1f s", c.Seconds-1)
			}
			p.end("resume", "")
		}},
		scenario{"a second signal ends it at once", func(p place, _ *rand.Rand) {
			// The program that it waits for gets a second to end, and does not.
			c := p.at(formatting, `(
					sleep 1; pid=$(pgrep -x cryptsetup); kill -STOP $pid; kill -INT $VMMIGRATE_PID
					sleep 0.3; kill -INT $VMMIGRATE_PID; sleep 1; kill -CONT $pid
				) >/dev/null 2>&1 &`, "run", "--pbkdf-force-iterations", slowPBKDF)
			p.expect(c, -1)
			if c.Seconds > 2.3 {
				p.t.Errorf("it took %.1f s", c.Seconds-1.3)
			}
			p.end("resume", "")
		}},
	)
}
