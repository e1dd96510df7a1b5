package blockcopy

import (
	"sync"
	"time"
)

// zeroTrials is how often each way of zeroing a chunk is timed.
const zeroTrials = 3

// zeroing decides whether whole chunks of zeros are asked for of the kernel or
// written. Each way is timed on a few chunks, the asked-for ones are read back,
// and the kernel must be clearly faster to be used.
type zeroing struct {
	zeroer Zeroer

	mu             sync.Mutex
	decided        bool
	ask            bool
	asks, writes   int
	asked, written time.Duration
}

func newZeroing(job Job) *zeroing {
	z := &zeroing{}
	var ok bool
	if z.zeroer, ok = job.Target.(Zeroer); !ok || job.Unchecked {
		z.decided = true
	}
	return z
}

// choose says whether to ask for the next chunk, and whether it is a trial,
// whose time counts and which is read back.
func (z *zeroing) choose() (ask, trial bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.decided {
		return z.ask, false
	}
	return z.asks <= z.writes, true
}

// refuse ends asking: it failed, or left something that is not zero.
func (z *zeroing) refuse() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.decided, z.ask = true, false
}

// timed takes in how long a trial on a whole chunk took.
func (z *zeroing) timed(ask bool, d time.Duration) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if ask {
		z.asked = shorter(z.asks, z.asked, d)
		z.asks++
	} else {
		z.written = shorter(z.writes, z.written, d)
		z.writes++
	}
	if !z.decided && z.asks >= zeroTrials && z.writes >= zeroTrials {
		z.decided, z.ask = true, z.asked+z.asked/5 < z.written
	}
}

// shorter is the shortest of n times so far and d: what disturbs a trial only
// makes it longer.
func shorter(n int, least, d time.Duration) time.Duration {
	if n == 0 {
		return d
	}
	return min(least, d)
}
