package main

import (
	"strings"
	"testing"
	"time"
)

func TestRatiosAreTakenWithinARound(t *testing.T) {
	// The machine was twice as slow in the second round, for both.
	if got := ratio([]float64{1, 2, 1}, []float64{2, 4, 2}); got != "0.50" {
		t.Errorf("ratio %s, want 0.50", got)
	}
	if got := ratio(nil, []float64{1}); got != "-" {
		t.Errorf("a ratio without a reference is %s", got)
	}
}

func TestTheLimitIsTheSlowerPass(t *testing.T) {
	of := func(list ...time.Duration) []measurement {
		var m []measurement
		for _, d := range list {
			m = append(m, measurement{wall: d})
		}
		return m
	}
	got := combine(of(time.Second, 3*time.Second), of(2*time.Second, time.Second), func(r, w float64) float64 { return max(r, w) })
	if len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("%v, want [2 3]", got)
	}
}

func TestNoDeviceCanBeNamedOnTheCommandLine(t *testing.T) {
	for _, args := range []string{"/dev/vda", "-size 1GiB /dev/vda", "-target /dev/vda", "-size 1", "-size much", "-rounds 0", "-rate 1GB -crypt"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
	o, err := parse(strings.Fields("-size 100MB -only dd -rate 500MB"))
	if err != nil || o.size != 95<<20 || o.rate != 500e6 || !wanted("dd, direct", o.only) || wanted("nbdcopy", o.only) {
		t.Errorf("%+v (%v)", o, err)
	}
}

func TestTheMedianOfAnEvenNumberIsBetweenTheMiddleTwo(t *testing.T) {
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("%v, want 2.5", got)
	}
}

func TestEachTargetIsJudgedByItsOwnRows(t *testing.T) {
	took := func(wall, processor float64, memory int64) []measurement {
		second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
		return []measurement{{wall: second(wall), processor: second(processor), memory: memory}}
	}
	results := map[string][]measurement{
		readOnly: took(1, 0, 0), writeOnly: took(2, 0, 0), readBack: took(1, 0, 0), tuned: took(2, 1, 1<<30),
		copyOnly: took(2, 1, 1<<20), digestOnly: took(4, 2, 1<<20), withTarget: took(5, 3, 1<<20), withFull: took(7, 4, 65<<20), holesName: took(2.2, 1, 1<<20),
	}
	var out strings.Builder
	judge(&out, results)
	var verdicts []string
	for line := range strings.Lines(out.String()) {
		for _, word := range []string{"met", "missed"} {
			if strings.Contains(line, " "+word) {
				verdicts = append(verdicts, word)
			}
		}
	}
	if got, want := strings.Join(verdicts, " "), "met met missed missed met missed met missed"; got != want {
		t.Errorf("%s, want %s:\n%s", got, want, out.String())
	}
}
