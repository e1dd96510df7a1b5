//go:build e2e

package crash

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestNothingIsLost puts all faults that a running host survives to jobs, on
// several hosts at a time.
func TestNothingIsLost(t *testing.T) {
	places := make([]place, *hostsFlag)
	errs := make([]error, *hostsFlag)
	var group sync.WaitGroup
	for i := range places {
		group.Go(func() { places[i], errs[i] = newPlace(t) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	t.Run("killed at every instant", func(t *testing.T) { killAtEveryInstant(t, places) })
	if *faultFlag != "" || *jobFlag != "" {
		return
	}
	t.Run("disks", func(t *testing.T) { tryAll(t, places, "disks that fail, lie or are full", diskFaults()) })
	t.Run("daemons", func(t *testing.T) { tryAll(t, places, "daemons that hang or die", daemons()) })
	t.Run("people", func(t *testing.T) { tryAll(t, places, "people who meddle", people()) })
	t.Run("signals", func(t *testing.T) { tryAll(t, places, "signals", signals()) })
}

// scenario is one fault that is put to a job on a place where nothing has
// happened yet, and that leaves it so.
type scenario struct {
	name string
	// claim does it. random is for what is left to chance.
	claim func(p place, random *rand.Rand)
}

// variants are scenarios that differ in where or how a fault strikes and not in
// what it is. A share of the suite tries one of them, which the seed decides.
type variants []scenario

// tryAll tries scenarios, one at a time on each place.
func tryAll(t *testing.T, places []place, part string, all []variants) {
	var chosen []scenario
	known := 0
	for _, these := range all {
		known += len(these)
		if *shareFlag > 1 {
			these = these[int(shared.seed)%len(these):][:1]
		}
		chosen = append(chosen, these...)
	}
	tally := shared.tally.begin(part, known)
	free := make(chan place, len(places))
	for _, p := range places {
		if _, err := p.Shell(t.Context(), `[ -e /tmp/worlds ] || inside rehearse`); err != nil {
			t.Fatal(err)
		}
		free <- p
	}
	for _, s := range chosen {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := <-free
			began := time.Now()
			r := result{Name: s.name}
			defer func() {
				if t.Failed() {
					r.Error = "it failed"
					if _, err := p.Run(t.Context(), "inside", "reset"); err != nil {
						t.Errorf("what comes after may fail for it: %v", err)
					}
				}
				r.Seconds = time.Since(began).Seconds()
				tally.add(1, r)
				t.Logf("%.1f s", r.Seconds)
				free <- p
			}()
			s.claim(place{p.Host, t, usual, &r.Bytes}, shared.random(s.name))
		})
	}
}
