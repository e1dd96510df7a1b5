package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
)

// memoryTarget is the most that may be resident, in bytes, whatever the source.
const memoryTarget = 64 << 20

// promise is one of those that docs/PERFORMANCE.md lists: a ratio that
// has to be at least, or at most, so much.
type promise struct {
	what    string
	ratio   []float64
	least   float64
	most    float64
	because string
}

// promises takes their ratios from the rounds.
func promises(results map[string][]measurement) []promise {
	ratios := func(a, b []float64) []float64 {
		var s []float64
		for i := range min(len(a), len(b)) {
			s = append(s, a[i]/b[i])
		}
		return s
	}
	wall := func(name string) []float64 { return seconds(results[name]) }
	limit := combine(results[readOnly], results[writeOnly], func(r, w float64) float64 { return max(r, w) })
	extra := combine(results[withTarget], results[digestOnly], func(t, d float64) float64 { return t - d })
	var processor [2][]float64
	for i, name := range []string{copyOnly, tuned} {
		for _, m := range results[name] {
			processor[i] = append(processor[i], m.processor.Seconds())
		}
	}
	list := []promise{
		{what: "copying alone, of tuned qemu-img", ratio: ratios(wall(tuned), wall(copyOnly)), least: 1},
		{what: "copying alone, of the limit", ratio: ratios(limit, wall(copyOnly)), least: 0.95},
		{what: "with digests, of tuned qemu-img, which makes none", ratio: ratios(wall(tuned), wall(digestOnly)), least: 1},
		{what: "with digests, of the limit", ratio: ratios(limit, wall(digestOnly)), least: 0.95},
		{what: "verify target, in reads of the payload beyond a copy with digests", ratio: ratios(extra, wall(readBack)), most: 1.1},
		{what: "90% holes, of only writing", ratio: ratios(wall(writeOnly), wall(holesName)), least: 0.95},
		{what: "processor time of copying alone, of tuned qemu-img's", ratio: ratios(processor[0], processor[1]), most: 1.2},
	}
	var rss int64
	for name, all := range results {
		if !strings.HasPrefix(name, ours) {
			continue
		}
		for _, m := range all {
			rss = max(rss, m.memory)
		}
	}
	if rss > 0 {
		list = append(list, promise{what: "most resident memory, of 64 MiB", ratio: []float64{float64(rss) / memoryTarget}, most: 1, because: humanize.IBytes(uint64(rss))})
	}
	return list
}

// judge says of each promise whether it is kept here. A miss is no failure of
// the benchmark: it may be the machine's, and the page says what limits.
func judge(out io.Writer, results map[string][]measurement) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\ntarget\tmedian\tasked for\t")
	for _, x := range promises(results) {
		if len(x.ratio) == 0 {
			continue
		}
		got := median(x.ratio)
		asked, kept := fmt.Sprintf("at least %.2f", x.least), got >= x.least
		if x.most > 0 {
			asked, kept = fmt.Sprintf("at most %.2f", x.most), got <= x.most
		}
		verdict := "missed"
		if kept {
			verdict = "met"
		}
		fmt.Fprintf(t, "%s\t%.2f\t%s\t%s\t%s\n", x.what, got, asked, verdict, x.because)
	}
	_ = t.Flush() // it writes to where people look
}
