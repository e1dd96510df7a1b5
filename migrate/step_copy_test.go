package migrate

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// resultOf is a copy of samples of so many MiB, a second each.
func resultOf(mib ...int64) blockcopy.Result {
	r := blockcopy.Result{Elapsed: time.Duration(len(mib)) * time.Second}
	for _, n := range mib {
		r.Samples = append(r.Samples, blockcopy.Sample{Elapsed: time.Second, Bytes: n << 20})
	}
	return r
}

func TestASpeedIsThatOfAllRunsOfACopy(t *testing.T) {
	var note copyNote
	note.add(resultOf(10, 20))
	note.add(resultOf(5, 30, 40))
	if note.Seconds != 5 || note.Min != 5<<20 || note.Median != 20<<20 || note.Max != 40<<20 || len(note.Samples) != 5 {
		t.Fatalf("%+v", note)
	}
}

func TestTheSamplesOfALongCopyStayFewAndKeepEveryByte(t *testing.T) {
	var mib []int64
	var sum int64
	for range 2001 {
		n := rand.Int64N(1000)
		mib, sum = append(mib, n), sum+n<<20
	}
	var note copyNote
	note.add(resultOf(mib...))
	var seconds float64
	for _, s := range note.Samples {
		sum, seconds = sum-s.Bytes, seconds+s.Seconds
	}
	if sum != 0 || seconds != 2001 || len(note.Samples) > notedSamples || len(note.Samples) < notedSamples/2 {
		t.Fatalf("%d samples of %v s lack %d bytes", len(note.Samples), seconds, sum)
	}
}

func TestTheSamplesOfAStoppedCopyAreKeptForItsEnd(t *testing.T) {
	const size = 5 * blockcopy.ChunkSize
	rehearsal := newWorldIn(t, scratch(t), size)
	plan := rehearsal.planned()
	if _, err := rehearsal.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	at, writes := -1, 0
	for i, name := range rehearsal.names {
		if name == "bytes: write" {
			writes++
			if writes == 3*blockcopy.ChunkSize/testBlock {
				at = i
			}
		}
	}
	if at < 0 {
		t.Fatalf("%d writes", writes)
	}

	w := newWorldIn(t, scratch(t), size)
	before := w.look()
	plan = w.planned()
	w.arm(at, interrupt)
	var stopped *InterruptedError
	if _, err := w.run(plan, ""); !errors.As(err, &stopped) {
		t.Fatalf("not interrupted: %v", err)
	}
	w.disarm()
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "resumed")
	var note copyNote
	for _, record := range w.journals()[plan.Job] {
		if record.Kind == journal.Note && record.Step == string(Copy) {
			note = copyNote{}
			if err := json.Unmarshal(record.Data, &note); err != nil {
				t.Fatal(err)
			}
		}
	}
	var sum int64
	for _, s := range note.Samples {
		sum += s.Bytes
	}
	if sum < size || len(note.Samples) < 2 || note.Digest == "" {
		t.Fatalf("%+v are the samples of %d bytes", note, int64(size))
	}
}
