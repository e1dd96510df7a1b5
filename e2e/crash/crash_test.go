//go:build e2e

package crash

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestNothingIsLost puts all faults that a running host survives to jobs, on
// two hosts at a time.
func TestNothingIsLost(t *testing.T) {
	places := make([]place, hosts)
	errs := make([]error, hosts)
	var group sync.WaitGroup
	for i := range places {
		group.Go(func() { places[i], errs[i] = newPlace(t) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	t.Run("killed at every instant", func(t *testing.T) { killAtEveryInstant(t, places) })
	if *faultFlag == "" {
		t.Run("while", func(t *testing.T) {
			tryAll(t, places, slices.Concat(diskFaults(), meddling(), signals()))
		})
	}
}

// scenario is one fault that is put to a job on a place where nothing has
// happened yet, and that leaves it so.
type scenario struct {
	name string
	// claim does it. random is for what is left to chance.
	claim func(p place, random *rand.Rand)
}

// tryAll tries scenarios, one at a time on each place.
func tryAll(t *testing.T, places []place, all []scenario) {
	free := make(chan place, len(places))
	for _, p := range places {
		if _, err := p.Shell(t.Context(), `[ -e /tmp/worlds ] || inside rehearse`); err != nil {
			t.Fatal(err)
		}
		free <- p
	}
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := <-free
			defer func() {
				if t.Failed() {
					if _, err := p.Run(t.Context(), "inside", "reset"); err != nil {
						t.Errorf("what comes after may fail for it: %v", err)
					}
				}
				free <- p
			}()
			began := time.Now()
			s.claim(place{p.Host, t, usual}, shared.random(s.name))
			t.Logf("%.1f s", time.Since(began).Seconds())
		})
	}
}
