package migrate

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestWhatWentWrongInOtherLanesIsToldToo(t *testing.T) {
	lane := func(target string, step Step, err error) *laneFailure {
		return &laneFailure{act{step, &DiskPlan{Target: target}}, err}
	}
	read := lane("vda", copyDisk{}, syscall.EIO)
	differs := lane("vdb", verifyDisk{}, &DifferenceError{Disk: "vdb", Err: errors.New("chunk 7 differs")})
	other := lane("vdc", copyDisk{}, errLaneStopped)
	interruption := lane("vdd", copyDisk{}, &InterruptedError{Why: "SIGINT"})
	again := lane("vde", copyDisk{}, syscall.EIO)
	for what, c := range map[string]struct {
		failures []*laneFailure
		// disk is where the job is said to have stopped, and says what is said.
		disk, says string
	}{
		"no failure":                      {[]*laneFailure{nil, nil}, "", ""},
		"one of its own":                  {[]*laneFailure{other, nil, read}, "vda", "input/output error"},
		"an interruption of all":          {[]*laneFailure{interruption, interruption}, "vdd", "interrupted: SIGINT"},
		"an interruption after a failure": {[]*laneFailure{interruption, read}, "vda", "input/output error"},
		"a difference after a failure":    {[]*laneFailure{read, differs}, "vdb", "verification of vdb: chunk 7 differs\ncopy of vda failed too: input/output error"},
		"one cause of both":               {[]*laneFailure{read, again}, "vda", "input/output error"},
	} {
		got := joined(c.failures)
		switch {
		case got == nil && c.disk == "":
		case got == nil || got.act.disk.Target != c.disk || got.err.Error() != c.says:
			t.Errorf("%s: %+v", what, got)
		case strings.Contains(c.says, "differs"):
			var found *DifferenceError
			if !errors.As(got.err, &found) || !errors.Is(got.err, syscall.EIO) {
				t.Errorf("%s: %v lost a cause", what, got.err)
			}
		}
	}
}
