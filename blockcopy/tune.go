package blockcopy

import (
	"context"
	"runtime"
	"slices"
	"time"
)

const (
	// MaxWorkers is the most workers that a copy may have.
	MaxWorkers = 64
	// tuneTime is how long measuring may take in all, and tuneSlice how long
	// one candidate is tried at least.
	tuneTime  = time.Second
	tuneSlice = 120 * time.Millisecond
	// tuneWorth is how much longer the copy must be expected to last for
	// measuring to pay: trying what turns out worse costs time too.
	tuneWorth = 10 * tuneTime
	// tuneGain is how much better than what is known a candidate must be to
	// replace it: less is noise.
	tuneGain = 1.05
)

// candidates are tried in this order for as long as there is time. The first
// of either list did best or close to it on every device that was measured
// (docs/PERFORMANCE.md), and is what a short copy uses. Hashing likes blocks
// that are still in the processor's cache when they are hashed and written;
// without it, fewer and larger calls win.
func candidates(hashing bool) []tuning {
	if hashing {
		return []tuning{
			{workers: 8, block: 1 << 20},
			{workers: 4, block: 1 << 20},
			{workers: 4, block: 4 << 20},
			{workers: 16, block: 512 << 10},
			{workers: 2, block: 4 << 20},
			{workers: 4, block: 256 << 10},
			{workers: 16, block: 1 << 20},
		}
	}
	return []tuning{
		{workers: 16, block: 2 << 20},
		{workers: 8, block: 4 << 20},
		{workers: 8, block: 1 << 20},
		{workers: 2, block: 4 << 20},
		{workers: 32, block: 1 << 20},
		{workers: 4, block: 1 << 20},
	}
}

// demand is what a tuning has to fit.
type demand struct {
	// hashing says that each block is hashed.
	hashing bool
	// asked is what the caller wants, 0 where it is left to us.
	asked tuning
	// chunk and align bound a block, in bytes.
	chunk, align int64
	maxRate      int64
	// queues are those of the devices, as far as they are known.
	queues []queue
}

// fit bounds t by what was asked for, the chunk, the alignment, the memory and
// the devices' queues.
func (d demand) fit(t tuning) tuning {
	unit := d.align
	for _, q := range d.queues {
		// Half a physical block costs the disk a read before the write.
		if q.physical > unit && d.chunk%q.physical == 0 {
			unit = q.physical
		}
	}
	if d.asked.block > 0 {
		t.block, unit = d.asked.block, d.align
	} else {
		for _, q := range d.queues {
			// A RAID computes parity from whole stripes without reading.
			if q.optimal > 0 && d.chunk%q.optimal == 0 {
				t.block = (t.block + q.optimal - 1) / q.optimal * q.optimal
			}
		}
	}
	t.block = max(min(t.block, d.chunk)/unit*unit, unit)
	if d.hashing {
		t.workers = min(t.workers, int(measuredSize/t.block))
	}
	for _, q := range d.queues {
		// What finds the queue full waits in front of it, where the I/O of
		// guests waits too, in no order.
		if q.requests > 0 && q.transfer > 0 {
			t.workers = min(t.workers, int(q.requests/((t.block+q.transfer-1)/q.transfer)))
		}
	}
	if d.asked.workers > 0 {
		t.workers = d.asked.workers
	}
	t.workers = max(1, min(t.workers, MaxWorkers, int(arenaSize/t.block)))
	return t
}

// plans returns the tunings to try for a job. Where the rate is limited there
// is nothing to measure: few workers and small blocks keep it even. Where a
// disk has heads to move, those with few workers come first.
func (d demand) plans() []tuning {
	if d.maxRate > 0 {
		even := tuning{workers: min(2, runtime.GOMAXPROCS(0)), block: max(64<<10, min(1<<20, d.maxRate/20))}
		return []tuning{d.fit(even)}
	}
	choice := candidates(d.hashing)
	if slices.ContainsFunc(d.queues, func(q queue) bool { return q.rotational }) {
		slices.SortStableFunc(choice, func(a, b tuning) int { return a.workers - b.workers })
	}
	var list []tuning
	for _, t := range choice {
		if t = d.fit(t); !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// tuned runs the work: first a while with each candidate, then all that is left
// with the best. run works with a tuning until until says stop or the work
// ends, and tells whether there is more.
func tuned(ctx context.Context, list []tuning, m *meter, run func(ctx context.Context, t tuning, until func() bool) (more bool, err error)) (tuning, error) {
	best, rate, begin := list[0], 0.0, time.Now()
	for i, t := range list {
		if i > 0 && time.Since(begin)+tuneSlice > tuneTime {
			break
		}
		start, before := time.Now(), m.done.Load()
		measure := func() float64 { return float64(m.done.Load()-before) / time.Since(start).Seconds() }
		more, err := run(ctx, t, func() bool {
			if time.Since(start) < tuneSlice || len(list) == 1 {
				return false
			}
			// Only the first candidate may learn that there is too little
			// left; it goes on then without a pause.
			return i > 0 || float64(m.total-m.done.Load()) > measure()*tuneWorth.Seconds()
		})
		if err != nil || !more {
			return best, err
		}
		if r := measure(); r > rate*tuneGain {
			best, rate = t, r
		}
	}
	_, err := run(ctx, best, func() bool { return false })
	return best, err
}
