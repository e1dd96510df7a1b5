package blockcopy

import (
	"context"
	"sync"
	"time"
)

// throttle spaces out blocks so that no more than rate bytes begin in a
// second. The nil throttle does not.
type throttle struct {
	rate float64
	mu   sync.Mutex
	// next is when the next block may begin.
	next time.Time
}

// throttleBurst is how much of the time lost to a pause may be made up for.
const throttleBurst = 100 * time.Millisecond

func newThrottle(rate int64) *throttle {
	if rate <= 0 {
		return nil
	}
	return &throttle{rate: float64(rate)}
}

// wait returns when n more bytes may begin, or the context's cause.
func (t *throttle) wait(ctx context.Context, n int64) error {
	if t == nil {
		return nil
	}
	return sleep(ctx, t.reserve(time.Now(), n))
}

// reserve returns how long to wait from now before n bytes may begin.
func (t *throttle) reserve(now time.Time, n int64) time.Duration {
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
