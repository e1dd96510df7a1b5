//go:build e2e

package crash

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
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

// tables are the faults of a kind of jobs and of their rollback: all of the usual
// one, and of the others what they do and it does not.
type tables struct {
	Job      string  `json:"job"`
	Forward  []entry `json:"forward"`
	Backward []entry `json:"backward"`
}

// The kinds of jobs: see command inside.
const (
	usualJob    = "usual"
	recoveryJob = "recovery"
	layoutJob   = "layout"
)

// orders tell a host what to do to a job.
type orders struct {
	Ending string   `json:"ending"`
	Job    string   `json:"job"`
	Short  bool     `json:"short"`
	Faults []string `json:"faults"`
}

// tormentor is `inside torment` at work on a host.
type tormentor struct {
	tables []tables
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
	all := crew[0].tables
	for _, other := range crew[1:] {
		if d := cmp.Diff(all, other.tables); d != "" {
			t.Errorf("a job without a fault does not do the same things each time:\n%s", d)
		}
	}
	show(t, all)
	everyStepHasFaults(t, all)
	for _, table := range all {
		if *jobFlag != "" && *jobFlag != table.Job {
			continue
		}
		work, known := chooseOrders(table)
		if *faultFlag != "" {
			work, known = chooseByName(table)
		}
		part := shared.tally.begin("kill -9"+partOf[table.Job]+", then resume or rollback", known)
		missed := carryOut(t, crew, part, work)
		// What a job with several kills did not come by is tried alone.
		for _, o := range carryOut(t, crew, part, missed) {
			t.Errorf("never came to pass: %s", o.Faults)
		}
	}
}

var partOf = map[string]string{
	recoveryJob: " where a recovery key is made",
	layoutJob:   " where an image goes to a file system, with the header in a file",
}

// show prints the tables of faults.
func show(t *testing.T, all []tables) {
	for _, table := range all {
		for _, e := range slices.Concat(table.Forward, table.Backward) {
			mark := " "
			if e.Changes {
				mark = "*"
			}
			t.Logf("%s %s", mark, e.Fault)
		}
	}
}

// everyStepHasFaults holds the table against steps.go: a step that is new has to
// be in it. All that can be switched on is, so that no step hides behind an
// option; a layout is chosen and not switched on.
func everyStepHasFaults(t *testing.T, all []tables) {
	var options migrate.Options
	fields := reflect.ValueOf(&options).Elem()
	for i := range fields.NumField() {
		if field := fields.Field(i); field.Kind() == reflect.Bool {
			field.SetBool(true)
		}
	}
	options.Layout = migrate.FilesystemLayout
	for _, step := range migrate.StepNamesOf(options) {
		tried := slices.ContainsFunc(all, func(table tables) bool {
			return slices.ContainsFunc(table.Forward, func(e entry) bool { return e.Step == string(step) && e.Changes })
		})
		if !tried {
			t.Errorf("no fault is tried at the step %s: does the job of the crash tests come by it?", step)
		}
	}
}

// stride is how far apart in the table the kills of one job lie, so that each
// resumed job does something before it is killed again.
const stride = 12

// chooseOrders makes the work of a table, and says how many faults it holds. To be
// resumed, a job is killed at several faults in turn: all of the table's are
// tried. To be rolled back it is killed once, before each record and around each
// program that changes something; what lies between leaves no other world. A
// rollback is itself killed at all of its faults.
func chooseOrders(table tables) (work []orders, known int) {
	share := int(max(*shareFlag, 1))
	// A kind is a step, disk and thing done. Most things are done in the usual job
	// already: with an image it is a step, and a rollback is tried of any.
	kind := func(e entry) string {
		what, _, _ := strings.Cut(e.What, " ")
		return e.Step + " " + what
	}
	undone := kind
	if table.Job == layoutJob {
		kind = func(e entry) string { return e.Step }
		undone = func(entry) string { return "" }
	}
	add := func(ending string, faults []entry, kind func(entry) string, perJob int) {
		known += len(faults)
		for _, chain := range chains(inShare(faults, kind), perJob) {
			work = append(work, orders{Ending: ending, Job: table.Job, Faults: chain})
		}
	}
	resumed := 1
	if table.Job != recoveryJob {
		resumed = max(1, stride/share)
	}
	add("resume", table.Forward, kind, resumed)
	// Once the job's folder is renamed there is no job to be rolled back again:
	// what comes after is one kill a job, and all the same how long that was.
	gone := 1 + slices.IndexFunc(table.Backward, func(e entry) bool { return strings.HasPrefix(e.What, "rename ") })
	if gone == 0 {
		gone = len(table.Backward)
	}
	add("back", table.Backward[:gone], kind, max(1, 2/share))
	known += len(table.Backward) - gone
	for _, e := range inShare(table.Backward[gone:], kind) {
		work = append(work, orders{Ending: "back", Job: table.Job, Short: true, Faults: []string{e.Fault}})
	}
	lasting := ownWorlds(table.Forward)
	add("rollback", lasting, undone, len(lasting))
	return work, known
}

// chooseByName makes the work of a table's faults that the flag names.
func chooseByName(table tables) (work []orders, known int) {
	for _, e := range table.Forward {
		if strings.Contains(e.Fault, *faultFlag) {
			only := []string{e.Fault}
			work = append(work, orders{Ending: "resume", Job: table.Job, Faults: only}, orders{Ending: "rollback", Job: table.Job, Faults: only})
		}
	}
	for _, e := range table.Backward {
		if strings.Contains(e.Fault, *faultFlag) {
			work = append(work, orders{Ending: "back", Job: table.Job, Faults: []string{e.Fault}})
		}
	}
	return work, len(work)
}

// ownWorlds are the faults that leave a world of their own for a rollback.
func ownWorlds(table []entry) (own []entry) {
	for _, e := range table {
		program := strings.HasPrefix(e.What, "run ") || strings.HasPrefix(e.What, "ask ")
		if e.Changes && (program || strings.HasPrefix(e.What, "write journal")) {
			own = append(own, e)
		}
	}
	return own
}

// inShare are the faults of a table that this run tries: its share, and one of
// each kind that would have none.
func inShare(table []entry, kind func(entry) string) (in []entry) {
	covered := map[string]bool{}
	for i, e := range table {
		if shared.chosen(i) {
			covered[kind(e)] = true
		}
	}
	for i, e := range table {
		if shared.chosen(i) || !covered[kind(e)] {
			covered[kind(e)] = true
			in = append(in, e)
		}
	}
	return in
}

// chains deals the faults of a table to so many jobs.
func chains(table []entry, jobs int) [][]string {
	all := make([][]string, min(jobs, len(table)))
	for i, e := range table {
		all[i%len(all)] = append(all[i%len(all)], e.Fault)
	}
	return all
}

// carryOut has the crew work through the orders, and returns the faults that
// did not come to pass, each as an order of its own.
func carryOut(t *testing.T, crew []*tormentor, part *part, work []orders) (missed []orders) {
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
				for _, name := range r.Missed {
					missed = append(missed, orders{Ending: o.Ending, Job: o.Job, Short: o.Short, Faults: []string{name}})
				}
				mu.Unlock()
				part.add(len(r.Steps), r)
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
