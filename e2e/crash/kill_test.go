//go:build e2e

package crash

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// entry is a fault, and the step it belongs to.
type entry struct {
	Fault   string `json:"fault"`
	Step    string `json:"step"`
	Disk    string `json:"disk"`
	What    string `json:"what"`
	Changes bool   `json:"changes"`
}

// tables are the faults of a job and of its rollback.
type tables struct {
	Forward  []entry `json:"forward"`
	Backward []entry `json:"backward"`
}

// orders tell a host what to do to a job.
type orders struct {
	Ending string   `json:"ending"`
	Faults []string `json:"faults"`
}

// tormentor is `inside torment` at work on a host.
type tormentor struct {
	tables tables
	to     *json.Encoder
	from   *bufio.Scanner
}

func torment(t *testing.T, p place) (*tormentor, error) {
	stdin, feed := io.Pipe()
	results, stdout := io.Pipe()
	c := p.Command("inside", "torment")
	c.Stdin, c.Stdout = stdin, stdout
	if err := c.Start(); err != nil {
		return nil, err
	}
	go func() {
		_, err := c.Wait(t.Context())
		if err == nil {
			err = io.EOF
		}
		_ = stdout.CloseWithError(err) // it never fails
	}()
	t.Cleanup(func() { _ = feed.Close() }) // it never fails
	m := &tormentor{to: json.NewEncoder(feed), from: bufio.NewScanner(results)}
	m.from.Buffer(nil, 16<<20)
	return m, m.read(&m.tables)
}

func (m *tormentor) read(into any) error {
	if !m.from.Scan() {
		if m.from.Err() == nil {
			return io.ErrUnexpectedEOF
		}
		return m.from.Err()
	}
	return json.Unmarshal(m.from.Bytes(), into)
}

func (m *tormentor) do(o orders) (r result, err error) {
	if err = m.to.Encode(o); err == nil {
		err = m.read(&r)
	}
	return r, err
}

// killAtEveryInstant is the first claim: whatever vmmigrate is about to do when
// it is killed, or is having done, its job ends well.
func killAtEveryInstant(t *testing.T, places []place) {
	crew := make([]*tormentor, len(places))
	var group sync.WaitGroup
	errs := make([]error, len(places))
	for i, p := range places {
		group.Go(func() { crew[i], errs[i] = torment(t, p) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	table := crew[0].tables
	for _, other := range crew[1:] {
		if d := cmp.Diff(table, other.tables); d != "" {
			t.Errorf("a job without a fault does not do the same things each time:\n%s", d)
		}
	}
	show(t, table)
	everyStepHasFaults(t, table)

	work := chooseOrders(table)
	missed := carryOut(t, crew, work)
	// What a job with several kills did not come by is tried alone.
	var alone []orders
	for _, name := range missed {
		ending := "resume"
		if !slices.ContainsFunc(table.Forward, func(e entry) bool { return e.Fault == name }) {
			ending = "back"
		}
		alone = append(alone, orders{ending, []string{name}})
	}
	for _, name := range carryOut(t, crew, alone) {
		t.Errorf("never came to pass: %s", name)
	}
}

// show prints the table of faults.
func show(t *testing.T, table tables) {
	for _, e := range slices.Concat(table.Forward, table.Backward) {
		mark := " "
		if e.Changes {
			mark = "*"
		}
		t.Logf("%s %s", mark, e.Fault)
	}
}

func everyStepHasFaults(t *testing.T, table tables) {
	for _, step := range migrate.StepNames() {
		if !slices.ContainsFunc(table.Forward, func(e entry) bool { return e.Step == string(step) && e.Changes }) {
			t.Errorf("no fault is tried at the step %s: does the job of the crash tests come by it?", step)
		}
	}
}

// stride is how far apart in the table the kills of one job lie, so that each
// resumed job does something before it is killed again.
const stride = 12

// chooseOrders makes the work of a table. To be resumed, a job is killed at
// several faults in turn: all of the table's are tried. To be rolled back it is
// killed once, before each record and around each program; what lies between
// leaves no other world. A rollback is itself killed at all of its faults.
func chooseOrders(table tables) []orders {
	var work []orders
	if *faultFlag != "" {
		for _, e := range table.Forward {
			if strings.Contains(e.Fault, *faultFlag) {
				work = append(work, orders{"resume", []string{e.Fault}}, orders{"rollback", []string{e.Fault}})
			}
		}
		for _, e := range table.Backward {
			if strings.Contains(e.Fault, *faultFlag) {
				work = append(work, orders{"back", []string{e.Fault}})
			}
		}
		return work
	}
	for _, chain := range chains(table.Forward, stride) {
		work = append(work, orders{"resume", chain})
	}
	for _, chain := range chains(table.Backward, 2) {
		work = append(work, orders{"back", chain})
	}
	for _, e := range table.Forward {
		program := strings.HasPrefix(e.What, "run ") || strings.HasPrefix(e.What, "ask ")
		if e.Changes && (program || strings.HasPrefix(e.What, "write journal")) {
			work = append(work, orders{"rollback", []string{e.Fault}})
		}
	}
	return work
}

func chains(table []entry, stride int) [][]string {
	all := make([][]string, min(stride, len(table)))
	for i, e := range table {
		all[i%stride] = append(all[i%stride], e.Fault)
	}
	return all
}

// carryOut has the crew work through the orders, and returns the faults that
// did not come to pass.
func carryOut(t *testing.T, crew []*tormentor, work []orders) (missed []string) {
	queue := make(chan orders, len(work))
	for _, o := range work {
		queue <- o
	}
	close(queue)
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, m := range crew {
		group.Go(func() {
			for o := range queue {
				r, err := m.do(o)
				mu.Lock()
				if err != nil {
					t.Errorf("%s after %q: %v", o.Ending, o.Faults, err)
					mu.Unlock()
					return
				}
				missed = append(missed, r.Missed...)
				mu.Unlock()
				shared.tally.add(len(r.Steps), r)
				if r.Error != "" {
					t.Errorf("%s\n%s", r.Name, r.Error)
				}
				t.Logf("%.1f s, %d faults: %s", r.Seconds, len(r.Steps), brief(r.Name))
			}
		})
	}
	group.Wait()
	return missed
}

func brief(s string) string {
	if len(s) > 120 {
		return fmt.Sprintf("%s… (%d characters)", s[:120], len(s))
	}
	return s
}
