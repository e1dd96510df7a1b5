package blockcopy

import (
	"context"
	"sync"
	"time"
)

// Throttle spaces out blocks so that no more than its bytes begin in a second.
// Several copies and verifications may share one, which then keep to that
// together. The nil Throttle does not limit anything.
type Throttle struct {
	rate float64
	mu   sync.Mutex
	// next is when the next block may begin.
	next time.Time
}

// throttleBurst is how much of the time lost to a pause may be made up for.
const throttleBurst = 100 * time.Millisecond

// NewThrottle limits to rate bytes a second; it is nil for a rate of 0.
func NewThrottle(rate int64) *Throttle {
	if rate <= 0 {
		return nil
	}
	return &Throttle{rate: float64(rate)}
}

// Wait returns when n more bytes may begin, or the context's cause.
func (t *Throttle) Wait(ctx context.Context, n int64) error {
	if t == nil {
		return nil
	}
	return sleep(ctx, t.reserve(time.Now(), n))
}

// reserve returns how long to wait from now before n bytes may begin.
func (t *Throttle) reserve(now time.Time, n int64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if earliest := now.Add(-throttleBurst); t.next.Before(earliest) {
		t.next = earliest
	}
	at := t.next
	t.next = at.Add(time.Duration(float64(n) / t.rate * float64(time.Second)))
	return at.Sub(now)
}

// sleep waits for d or returns the context's cause.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
