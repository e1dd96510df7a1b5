//go:build e2e

package crash

import (
	"sync"
	"testing"
)

// TestNothingIsLost puts all faults that a running host can survive to jobs on
// two hosts at a time.
func TestNothingIsLost(t *testing.T) {
	places := make([]place, hosts)
	var group sync.WaitGroup
	for i := range places {
		group.Go(func() { places[i] = newPlace(t) })
	}
	group.Wait()
	if t.Failed() {
		return
	}
	t.Run("killed at every instant", func(t *testing.T) { killAtEveryInstant(t, places) })
}
