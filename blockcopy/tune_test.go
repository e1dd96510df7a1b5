package blockcopy

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// fakeRun returns a run for tuned that copies rate(t) bytes a second.
func fakeRun(m *meter, used *[]tuning, rate func(tuning) int64) func(context.Context, tuning, func() bool) (bool, error) {
	return func(_ context.Context, t tuning, until func() bool) (bool, error) {
		*used = append(*used, t)
		for m.done.Load() < m.total && !until() {
			time.Sleep(10 * time.Millisecond)
			m.done.Add(rate(t) / 100)
		}
		return m.done.Load() < m.total, nil
	}
}

func TestALongCopyUsesWhatMeasuredFastest(t *testing.T) {
	for _, best := range candidates(true) {
		synctest.Test(t, func(t *testing.T) {
			var used []tuning
			m := newMeter(0, 1<<40, time.Now())
			list := demand{hashing: true, chunk: ChunkSize, align: 512}.plans()
			got, err := tuned(t.Context(), list, m, fakeRun(m, &used, func(t tuning) int64 {
				if t == best {
					return 2 << 30
				}
				return 1 << 30
			}))
			if err != nil || got != best || used[len(used)-1] != best {
				t.Fatalf("chose %v of %v, the best is %v", got, used, best)
			}
		})
	}
}

func TestAShortCopyIsNotSpentOnMeasuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used []tuning
		m := newMeter(0, 9<<30, time.Now())
		if _, err := tuned(t.Context(), demand{hashing: true, chunk: ChunkSize, align: 512}.plans(), m, fakeRun(m, &used, func(tuning) int64 { return 1 << 30 })); err != nil {
			t.Fatal(err)
		}
		if len(used) != 1 {
			t.Fatalf("9 s of work were tried with %v", used)
		}
	})
}

func TestASlowDeviceIsMeasuredNoLongerThanPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used []tuning
		m := newMeter(0, 1<<30, time.Now())
		begin := time.Now()
		var last time.Time
		_, err := tuned(t.Context(), demand{chunk: ChunkSize, align: 512}.plans(), m, func(ctx context.Context, c tuning, until func() bool) (bool, error) {
			last = time.Now()
			time.Sleep(500 * time.Millisecond) // one round of chunks
			return fakeRun(m, &used, func(tuning) int64 { return 10 << 20 })(ctx, c, until)
		})
		if err != nil || last.Sub(begin) > 2*time.Second {
			t.Fatalf("measuring took %s (%v)", last.Sub(begin), err)
		}
	})
}

func TestEveryTuningFitsTheBuffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		align := int64(512) << rapid.IntRange(0, 7).Draw(t, "align")
		chunk := align * rapid.Int64Range(1, arenaSize/align).Draw(t, "chunk")
		asked := tuning{workers: rapid.IntRange(0, MaxWorkers).Draw(t, "workers"), block: 512 * rapid.Int64Range(0, 1<<17).Draw(t, "block")}
		d := demand{hashing: rapid.Bool().Draw(t, "hashing"), asked: asked, chunk: chunk, align: align, maxRate: rapid.SampledFrom([]int64{0, 1, 1 << 20, 1 << 40}).Draw(t, "rate")}
		for range rapid.IntRange(0, 2).Draw(t, "known queues") {
			d.queues = append(d.queues, queue{
				physical: rapid.SampledFrom([]int64{0, 512, 4096, 1 << 20}).Draw(t, "physical"), optimal: rapid.SampledFrom([]int64{0, 33553920, 65536, 786432, 1 << 20}).Draw(t, "optimal"),
				transfer: rapid.SampledFrom([]int64{0, 4096, 1310720, 1 << 31}).Draw(t, "transfer"), requests: rapid.SampledFrom([]int64{0, 1, 64, 1023}).Draw(t, "requests"),
				rotational: rapid.Bool().Draw(t, "rotational"),
			})
		}
		list := d.plans()
		if len(list) == 0 {
			t.Fatal("nothing to try")
		}
		for _, got := range list {
			if got.workers < 1 || got.block < align || got.block%align != 0 || got.block > chunk || int64(got.workers)*got.block > arenaSize {
				t.Fatalf("%+v", got)
			}
			if asked.workers > 0 && got.workers > asked.workers {
				t.Fatalf("%d workers were asked for, not %d", asked.workers, got.workers)
			}
		}
	})
}

func TestNarrowFindsTheFirstBadUnit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]int64{512, 4096}).Draw(t, "unit")
		offset := unit * rapid.Int64Range(0, 100).Draw(t, "offset")
		length := rapid.Int64Range(1, 4<<20).Draw(t, "length")
		bad := offset + rapid.Int64Range(0, length-1).Draw(t, "bad byte")
		tries := 0
		at, n := narrow(offset, length, unit, func(at, length int64) bool {
			tries++
			return at > bad || at+length <= bad
		})
		if at > bad || at+n <= bad || n > unit || (at-offset)%unit != 0 || at+n > offset+length {
			t.Fatalf("byte %d is bad, found %d bytes at %d", bad, n, at)
		}
		if tries > 100 {
			t.Fatalf("%d tries", tries)
		}
	})
	if at, n := narrow(512, 4096, 512, func(int64, int64) bool { return true }); at != 512 || n != 4096 {
		t.Fatalf("a fault that is gone was found: %d bytes at %d", n, at)
	}
}

func TestSamplesStayBoundedAndKeepEveryByte(t *testing.T) {
	now := time.Now()
	m := newMeter(0, 1<<50, now)
	for range 100_000 {
		now = now.Add(meterInterval)
		m.done.Add(1000)
		m.tick(now)
	}
	m.finish(now)
	var sum int64
	for _, s := range m.samples {
		sum += s.Bytes
	}
	if len(m.samples) > MaxSamples || sum < 99_000_000 || sum > 100_000_000 {
		t.Fatalf("%d samples of %d bytes in all", len(m.samples), sum)
	}
	if low, _, high := Rates(m.samples); low != 2000 || high != 2000 {
		t.Fatalf("rates from %v to %v, not 2000", low, high)
	}
}

func TestAStoppedProcessIsNoSlowDevice(t *testing.T) {
	now := time.Now()
	m := newMeter(0, 1<<40, now)
	tick := func(d time.Duration, n int64) Progress {
		now = now.Add(d)
		m.done.Add(n)
		return m.tick(now)
	}
	for range 20 {
		tick(meterInterval, 1000)
	}
	tick(time.Hour, 1000) // SIGSTOP, SIGCONT
	p := tick(meterInterval, 1000)
	if p.BytesPerSecond != 2000 {
		t.Fatalf("%v bytes a second, not 2000", p.BytesPerSecond)
	}
	if low, _, _ := Rates(m.samples); low != 2000 {
		t.Fatalf("the pause counts as a sample of %v", low)
	}
}

func TestTheKernelZerosOnlyIfItIsFasterAndTellsTheTruth(t *testing.T) {
	zero := func(d *disk, offset, length int64) error {
		d.put(make([]byte, length), offset)
		return nil
	}
	for _, c := range []struct {
		name    string
		zeroOut func(d *disk, offset, length int64) error
		write   time.Duration
		asked   bool
	}{
		{"faster", zero, time.Second, true},
		{"slower", func(d *disk, offset, length int64) error { time.Sleep(time.Second); return zero(d, offset, length) }, time.Millisecond, false},
		{"not at all", func(*disk, int64, int64) error { return syscall.EOPNOTSUPP }, time.Second, false},
		{"leaving noise", func(*disk, int64, int64) error { return nil }, time.Second, false},
		{"in part", func(d *disk, offset, length int64) error { return zero(d, offset, length/2) }, time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source, target, job := small()
				clear(source.data)
				job.Source = mappedDisk{source}
				target.zeroOut = c.zeroOut
				target.writeFails = func(int64, int64) error { time.Sleep(c.write); return nil }
				r, err := Copy(t.Context(), job)
				if err != nil || r.Digest != digestOf(make([]byte, 20*512), 512) {
					t.Fatalf("%v, digest %s", err, r.Digest)
				}
				for i, b := range target.durable {
					if b != 0 {
						t.Fatalf("byte %d is not zero", i)
					}
				}
				if source.reads > 0 || r.Holes != 20*512 {
					t.Fatalf("%d reads of a source without data", source.reads)
				}
				if asked := r.Zeroed > 10*512; asked != c.asked {
					t.Fatalf("the kernel was asked to zero %d bytes", r.Zeroed)
				}
				job.Done, job.Unchecked = nil, true
				if r, err := Copy(t.Context(), job); err != nil || r.Zeroed != 0 || r.Holes != 20*512 {
					t.Fatalf("%d bytes that nobody reads back were left to the kernel (%v)", r.Zeroed, err)
				}
			})
		})
	}
}

func TestAMapOfHolesThatFailsOrLiesAboutOrderReadsEverything(t *testing.T) {
	for name, mapped := range map[string]mappedDisk{
		"fails":            {&disk{mapFail: errors.New("no map")}},
		"range of nothing": {&disk{mapped: []span{{5, 5}, {0, 1 << 20}}}},
	} {
		h := newHoles(nil, 4096)
		h.mapped = mapped
		if got := h.within(0, 4096); len(got) != 1 || got[0] != (span{0, 4096}) {
			t.Errorf("%s: %v is read, not all", name, got)
		}
	}
}
