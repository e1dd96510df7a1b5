package blockcopy

import (
	"context"
	"runtime"
	"time"
)

const (
	maxWorkers = 64
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
			{workers: 8, block: 4 << 20},
			{workers: 16, block: 512 << 10},
			{workers: 2, block: 4 << 20},
			{workers: 4, block: 256 << 10},
			{workers: 32, block: 1 << 20},
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

// fit bounds t by what was asked for, the chunk, the alignment and the arena.
func (t tuning) fit(job tuning, chunk, align int64) tuning {
	if job.workers > 0 {
		t.workers = job.workers
	}
	if job.block > 0 {
		t.block = job.block
	}
	t.block = max(min(t.block, chunk)/align*align, align)
	t.workers = max(1, min(t.workers, maxWorkers, int(arenaSize/t.block)))
	return t
}

// plans returns the tunings to try for a job. Where the rate is limited there
// is nothing to measure: few workers and small blocks keep it even.
func plans(hashing bool, job tuning, chunk, align, maxRate int64) []tuning {
	if maxRate > 0 {
		even := tuning{workers: min(2, runtime.GOMAXPROCS(0)), block: max(64<<10, min(1<<20, maxRate/20))}
		return []tuning{even.fit(job, chunk, align)}
	}
	var list []tuning
	seen := map[tuning]bool{}
	for _, t := range candidates(hashing) {
		t = t.fit(job, chunk, align)
		if !seen[t] {
			seen[t] = true
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
