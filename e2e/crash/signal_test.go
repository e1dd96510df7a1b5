//go:build e2e

package crash

import (
	"math/rand/v2"
)

func signals() []variants {
	var kinds variants
	for _, one := range []struct{ name, ending string }{{"INT", "resume"}, {"TERM", "rollback"}, {"HUP", "resume"}} {
		kinds = append(kinds, scenario{"SIG" + one.name + " stops the copy within two seconds, then " + one.ending, func(p place, _ *rand.Rand) {
			c := p.at("copy vda: write payload #2", `kill -`+one.name+` $VMMIGRATE_PID`, "run", "--max-rate", slow)
			p.expect(c, 4, "interrupted", "vmmigrate resume", "vmmigrate rollback")
			if c.Seconds > 2 {
				p.t.Errorf("it took %.1f s", c.Seconds)
			}
			p.end(one.ending, "")
		}})
	}
	return []variants{
		kinds,
		{{"a signal stops a slow program", func(p place, _ *rand.Rand) {
			c := p.at(formatting, `(sleep 1; touch /tmp/since; kill -INT $VMMIGRATE_PID) >/dev/null 2>&1 &`,
				"run", "--pbkdf-force-iterations", slowPBKDF)
			p.expect(c, 4, "interrupted", "vmmigrate resume")
			if c.Seconds > 2 {
				p.t.Errorf("it took %.1f s", c.Seconds)
			}
			p.end("resume", "")
		}}},
		{{"a second signal ends it at once", func(p place, _ *rand.Rand) {
			// The program that it waits for gets a second to end, and does not.
			c := p.at(formatting, `(
					sleep 1; pid=$(pgrep -x cryptsetup); kill -STOP $pid; kill -INT $VMMIGRATE_PID
					sleep 0.3; touch /tmp/since; kill -INT $VMMIGRATE_PID; sleep 1; kill -CONT $pid
				) >/dev/null 2>&1 &`, "run", "--pbkdf-force-iterations", slowPBKDF)
			p.expect(c, -1)
			if c.Seconds > 1 {
				p.t.Errorf("it took %.1f s", c.Seconds)
			}
			p.end("resume", "")
		}}},
	}
}
