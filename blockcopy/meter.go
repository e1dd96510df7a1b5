package blockcopy

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// meterInterval is the time between two calls of Progress.
	meterInterval = 500 * time.Millisecond
	// sampleInterval is the shortest stretch a Sample stands for.
	sampleInterval = time.Second
	// rateWindow is how far back Progress.BytesPerSecond looks.
	rateWindow = 10 * time.Second
	// MaxSamples bounds Result.Samples: when there are more, each two
	// neighbours become one.
	MaxSamples = 2048
)

// meter counts bytes and turns them into progress and samples. done is counted
// by the workers; the rest belongs to one goroutine.
type meter struct {
	done  atomic.Int64
	total int64
	first int64
	begin time.Time

	recent  []reading
	samples []Sample
	sampled reading
	stretch time.Duration
	ticked  time.Time
}

// reading is the count at one moment.
type reading struct {
	at   time.Time
	done int64
}

func newMeter(done, total int64, now time.Time) *meter {
	m := &meter{total: total, first: done, begin: now, stretch: sampleInterval, ticked: now}
	m.done.Store(done)
	m.sampled = reading{now, done}
	m.recent = []reading{m.sampled}
	return m
}

// tick reads the count at now.
func (m *meter) tick(now time.Time) Progress {
	r := reading{now, m.done.Load()}
	// A tick that is this late means that the process stood still (SIGSTOP,
	// a suspended machine). That says nothing about the devices.
	if now.Sub(m.ticked) > 6*meterInterval {
		m.sampled, m.recent = r, nil
	}
	m.ticked = now
	if elapsed := now.Sub(m.sampled.at); elapsed >= m.stretch {
		m.add(Sample{At: m.sampled.at.Sub(m.begin), Elapsed: elapsed, Bytes: r.done - m.sampled.done})
		m.sampled = r
	}
	m.recent = append(m.recent, r)
	for len(m.recent) > 2 && now.Sub(m.recent[1].at) >= rateWindow {
		m.recent = m.recent[1:]
	}
	p := Progress{Done: min(r.done, m.total), Total: m.total}
	old := m.recent[0]
	if elapsed := now.Sub(old.at); elapsed > 0 && r.done > old.done {
		p.BytesPerSecond = float64(r.done-old.done) / elapsed.Seconds()
		p.ETA = time.Duration(float64(p.Total-p.Done) / p.BytesPerSecond * float64(time.Second))
	}
	return p
}

func (m *meter) add(s Sample) {
	m.samples = append(m.samples, s)
	if len(m.samples) <= MaxSamples {
		return
	}
	half := m.samples[:0]
	for i := 0; i+1 < len(m.samples); i += 2 {
		a, b := m.samples[i], m.samples[i+1]
		half = append(half, Sample{At: a.At, Elapsed: a.Elapsed + b.Elapsed, Bytes: a.Bytes + b.Bytes})
	}
	if len(m.samples)%2 == 1 {
		half = append(half, m.samples[len(m.samples)-1])
	}
	m.samples, m.stretch = half, 2*m.stretch
}

// finish takes the last stretch, if it is long enough to mean something or the
// only one.
func (m *meter) finish(now time.Time) {
	bytes, elapsed := m.done.Load()-m.sampled.done, now.Sub(m.sampled.at)
	if bytes > 0 && (elapsed >= m.stretch/2 || len(m.samples) == 0) {
		m.add(Sample{At: m.sampled.at.Sub(m.begin), Elapsed: elapsed, Bytes: bytes})
	}
}

// every calls do at each interval, until the function it returns is called,
// which waits for the last call to end.
func every(interval time.Duration, do func()) (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				do()
			}
		}
	})
	return func() {
		close(done)
		group.Wait()
	}
}
