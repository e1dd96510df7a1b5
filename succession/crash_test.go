package succession

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// endings are the ways in which a person ends what a killed process has left.
func endings() map[string]func(*world, Job, bool) error {
	return map[string]func(*world, Job, bool) error{
		"resume":   func(w *world, job Job, _ bool) error { _, err := w.Resume(w.t.Context(), job.ID); return err },
		"rollback": func(w *world, job Job, _ bool) error { return w.Rollback(w.t.Context(), job.ID) },
		"again": func(w *world, job Job, undo bool) error {
			_, err := w.Cutover(w.t.Context(), job.Exchange.Holder.Before.Name, undo)
			return err
		},
	}
}

// At whatever instant vmmigrate is killed, each guest has a definition, both are
// off, and all three endings bring one of the two worlds about, whole. Instants
// are every call of libvirt's that changes something, before and after, and
// every record of the journal. Killed a second time while it ends, it still does.
func TestACutoverKilledAtAnyInstantIsFinishedOrTakenBack(t *testing.T) {
	for _, undo := range []bool{false, true} {
		begun := func(t *testing.T) *world {
			w := newWorld(t)
			if undo {
				_, err := w.Cutover(t.Context(), "imap-luks", false)
				no(t, err)
			}
			return w
		}
		act := func(w *world) func() error {
			return func() error {
				_, err := w.Cutover(w.t.Context(), map[bool]string{false: "imap-luks", true: "imap"}[undo], undo)
				return err
			}
		}
		whole := begun(t)
		before := whole.look()
		where, err := whole.dies(0, act(whole))
		if where != "" || err != nil {
			t.Fatal(where, err)
		}
		after, instants := whole.look(), whole.instants
		if instants < 60 {
			t.Fatalf("%d instants only: %v", instants, whole.names)
		}
		for at := 1; at <= instants; at++ {
			// What only looks leaves no other world than what comes before it.
			if what := whole.names[at-1]; what != "clock" && !strings.HasPrefix(what, "after ") && !changes(what) {
				continue
			}
			for i, name := range []string{"resume", "rollback", "again"} {
				// Around a change all three; at a record they take turns.
				if what := whole.names[at-1]; what == "clock" && at%3 != i {
					continue
				}
				end := endings()[name]
				t.Run(fmt.Sprintf("undo=%v %d %s", undo, at, name), func(t *testing.T) {
					w := begun(t)
					where, err := w.dies(at, act(w))
					if where == "" || err != nil {
						t.Fatalf("not killed: %v", err)
					}
					forward := false
					for again := 7; ; again += 7 {
						w.nothingIsLost(t, where)
						job := w.unfinished(t)
						if job == nil {
							forward = false
							break
						}
						forward = true
						killed, err := w.dies(again, func() error { return end(w, *job, undo) })
						if killed != "" {
							continue
						}
						if rolling := (*HalfError)(nil); err != nil && asHalf(err, &rolling) && rolling.Back {
							err = w.Rollback(t.Context(), job.ID)
							forward = false
						}
						if err != nil {
							t.Fatalf("killed at %s: %v", where, err)
						}
						break
					}
					now := w.look()
					if d := cmp.Diff(before, now); d != "" && cmp.Diff(after, now) != "" {
						t.Errorf("killed at %s, it is neither as before nor as after:\n%s\n%s", where, d, cmp.Diff(after, now))
					}
					if gone := name != "rollback" && forward; gone && cmp.Diff(after, now) != "" {
						t.Errorf("killed at %s, it did not go on: %s", where, w.standing())
					}
				})
			}
		}
	}
}

func changes(instant string) bool {
	for _, call := range []string{"Define", "Redefine", "Undefine", "SetAutostart"} {
		if instant == "before "+call {
			return true
		}
	}
	return false
}

func asHalf(err error, half **HalfError) bool {
	found, ok := err.(*HalfError) //nolint:errorlint // Resume and Cutover return it bare
	*half = found
	return ok
}

func (w *world) unfinished(t *testing.T) *Job {
	t.Helper()
	jobs, err := Jobs(w.Store)
	no(t, err)
	for _, job := range jobs {
		if job.Unfinished() {
			return &job
		}
	}
	return nil
}

// nothingIsLost: both guests are defined, under whatever name, each TPM's state
// is somewhere, and nobody else was touched.
func (w *world) nothingIsLost(t *testing.T, where string) {
	t.Helper()
	standing := w.standing()
	for _, guest := range []string{"=plain", "=clone", "web=web"} {
		if !strings.Contains(standing, guest) {
			t.Errorf("killed at %s: %s", where, standing)
		}
	}
	var states []string
	for name, text := range w.look() {
		if strings.HasPrefix(name, "tpm ") {
			states = append(states, text)
		}
	}
	if len(states) != 2 || states[0] == states[1] {
		t.Errorf("killed at %s, the TPMs' states are %q", where, states)
	}
}
