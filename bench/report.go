package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

func heading(out io.Writer, o options, d *devices) {
	var u unix.Utsname
	_ = unix.Uname(&u) // only for people to read
	processor := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(b), "\n") {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				processor = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	fmt.Fprintf(out, "%s from and to %s, %d rounds; %d × %s, Linux %s, %s\n", humanize.IBytes(uint64(o.size)), d.kind, o.rounds,
		runtime.NumCPU(), processor, unix.ByteSliceToString(u.Release[:]), runtime.Version())
}

// report prints medians, and medians of the ratios within each round.
func report(out io.Writer, size int64, list []contender, results map[string][]measurement) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tMB/s\tlowest\thighest\t× tuned qemu-img\t× limit\t× read+write\tCPU s/GiB\tpeak RSS")
	limit := combine(results[readOnly], results[writeOnly], func(r, w float64) float64 { return max(r, w) })
	both := combine(results[readOnly], results[writeOnly], func(r, w float64) float64 { return r + w })
	for _, c := range list {
		m := results[c.name]
		wall := seconds(m)
		var processor []float64
		var rss int64
		for _, x := range m {
			processor = append(processor, x.processor.Seconds()/(float64(size)/(1<<30)))
			rss = max(rss, x.memory)
		}
		mb := float64(size) / 1e6
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%s\t%s\t%s\t%.2f\t%s\n",
			c.name, mb/median(wall), mb/slices.Max(wall), mb/slices.Min(wall),
			ratio(seconds(results[tuned]), wall), ratio(limit, wall), ratio(both, wall),
			median(processor), humanize.IBytes(uint64(rss)))
	}
	_ = t.Flush() // it writes to where people look
}

func seconds(list []measurement) []float64 {
	var s []float64
	for _, m := range list {
		s = append(s, m.wall.Seconds())
	}
	return s
}

// combine makes one time a round out of those of two contenders.
func combine(a, b []measurement, how func(a, b float64) float64) []float64 {
	var s []float64
	for i := range min(len(a), len(b)) {
		s = append(s, how(a[i].wall.Seconds(), b[i].wall.Seconds()))
	}
	return s
}

// ratio is how many times as fast as a reference something is: the median over
// the rounds, in each of which both ran.
func ratio(reference, wall []float64) string {
	var s []float64
	for i := range min(len(reference), len(wall)) {
		s = append(s, reference[i]/wall[i])
	}
	if len(s) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", median(s))
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
