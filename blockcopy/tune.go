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
	// tuneGain is how much better than what is known a candidate must be to
	// replace it: less is noise.
	tuneGain = 1.05
	// tuneWorth is how many bytes must be left for measuring to pay.
	tuneWorth = 256 << 20
)

// usual is what is right for most devices, and what measuring starts from.
var usual = tuning{workers: 4, block: 1 << 20}

// candidates are tried in this order for as long as there is time.
func candidates() []tuning {
	return []tuning{
		usual,
		{workers: 8, block: 1 << 20},
		{workers: 4, block: 4 << 20},
		{workers: 8, block: 4 << 20},
		{workers: 4, block: 256 << 10},
		{workers: 2, block: 1 << 20},
		{workers: 16, block: 512 << 10},
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

// tuned runs the work: first a while with each candidate, then all that is left
// with the best. run works with a tuning until until says stop or the work ends.
func tuned(ctx context.Context, list []tuning, m *meter, worth bool, run func(context.Context, tuning, func() bool) (more bool, err error)) (tuning, error) {
	best := list[0]
	if worth && len(list) > 1 {
		begin := time.Now()
		var rate float64
		for _, t := range list {
			if time.Since(begin)+tuneSlice > tuneTime {
				break
			}
			start, before := time.Now(), m.done.Load()
			more, err := run(ctx, t, func() bool { return time.Since(start) >= tuneSlice })
			if err != nil || !more {
				return best, err
			}
			if r := float64(m.done.Load()-before) / time.Since(start).Seconds(); r > rate*tuneGain {
				best, rate = t, r
			}
		}
	}
	_, err := run(ctx, best, func() bool { return false })
	return best, err
}

// plans returns the tunings to try for a job. Where the rate is limited there
// is nothing to measure: few workers and small blocks keep it even.
func plans(job tuning, chunk, align, maxRate int64) []tuning {
	if maxRate > 0 {
		even := tuning{workers: min(2, runtime.GOMAXPROCS(0)), block: max(64<<10, min(1<<20, maxRate/20))}
		return []tuning{even.fit(job, chunk, align)}
	}
	var list []tuning
	seen := map[tuning]bool{}
	for _, t := range candidates() {
		t = t.fit(job, chunk, align)
		if !seen[t] {
			seen[t] = true
			list = append(list, t)
		}
	}
	return list
}
