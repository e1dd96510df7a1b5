package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/migrate"
)

var everything = told{steps: true, progress: true, outcome: true}

func plainly(next string) string { return next }

// journey are the events of a whole migration of one VM with two disks, which
// are copied side by side, once each second.
func journey(vm string) []migrate.Event {
	const total = 1 << 30
	now := testTime()
	var all []migrate.Event
	tell := func(e migrate.Event) {
		e.Time, e.Job, e.VM, e.Disks = now, testJob, vm, 2
		if e.Disk != "" {
			e.DiskIndex = 1 + strings.Index("ab", strings.TrimPrefix(e.Disk, "vd"))
		}
		all = append(all, e)
	}
	step := func(name migrate.StepName, disk string, took time.Duration, message string) {
		tell(migrate.Event{Event: migrate.StepStarted, Step: name, Disk: disk})
		tell(migrate.Event{Event: migrate.StepDone, Step: name, Disk: disk, Duration: took, Message: message})
	}
	tell(migrate.Event{Event: migrate.JobStarted, Total: 2 * total})
	tell(migrate.Event{Event: migrate.Warning, Message: "autostart is set; only the original starts with the host"})
	step(migrate.Preflight, "", 300*time.Millisecond, "")
	step(migrate.CreateVolume, "vda", 400*time.Millisecond, "vg0/imap-vda-luks, 1.0 GiB")
	step(migrate.Format, "vda", 2*time.Second, "")
	tell(migrate.Event{Event: migrate.StepStarted, Step: migrate.Copy, Disk: "vda"})
	tell(migrate.Event{Event: migrate.StepStarted, Step: migrate.Copy, Disk: "vdb"})
	for second := int64(1); second <= 32; second++ {
		now = now.Add(time.Second)
		for _, disk := range []string{"vda", "vdb"} {
			eta := time.Duration(32-second) * time.Second
			if second == 1 {
				eta = -1
			}
			tell(migrate.Event{Event: migrate.Progress, Step: migrate.Copy, Disk: disk, Bytes: total / 32 * second, Total: total, BytesPerSecond: total / 32, ETA: eta})
		}
	}
	tell(migrate.Event{Event: migrate.StepDone, Step: migrate.Copy, Disk: "vda", Duration: 32 * time.Second})
	tell(migrate.Event{Event: migrate.StepDone, Step: migrate.Copy, Disk: "vdb", Duration: 32 * time.Second})
	step(migrate.Define, "", 500*time.Millisecond, vm+"-luks")
	summary := &migrate.Summary{Clone: vm + "-luks", Seconds: 40}
	for _, disk := range []string{"vda", "vdb"} {
		summary.Disks = append(summary.Disks, migrate.DiskSummary{
			Target: disk, Bytes: total, Seconds: 32, Min: 20 << 20, Median: 32 << 20, Max: 40 << 20,
			Digest: strings.Repeat("ab", 32), Verified: migrate.VerifyTarget, Mapper: "cr_" + vm + "_" + disk, Device: "/dev/mapper/cr_" + vm + "_" + disk,
		})
	}
	tell(migrate.Event{Event: migrate.JobDone, Duration: 40 * time.Second, Summary: summary})
	return all
}

// watched shows events to a screen at a pace at which a bar is drawn now and
// then: it draws itself ten times a second at most.
func watched(s *screen, events []migrate.Event) {
	for i, e := range events {
		if e.Event == migrate.Progress && i%16 == 0 {
			time.Sleep(110 * time.Millisecond)
		}
		s.show(e)
	}
}

func TestAPipeGetsALineAStepAndOneEveryTenSeconds(t *testing.T) {
	var b strings.Builder
	s := newScreen(&b, everything, plainly)
	for _, e := range journey("imap") {
		s.show(e)
	}
	if strings.ContainsAny(b.String(), "\r\x1b") {
		t.Error("something of the bar is in the pipe")
	}
	golden(t, "testdata/screen/pipe.golden", b.String())
}

func TestQuietTellsOfWarningsAndTheOutcomeOnly(t *testing.T) {
	var b strings.Builder
	s := (&session{streams: streams{out: &b, err: &b}, quiet: true}).reporter()
	for _, e := range journey("imap") {
		s.Report(e)
	}
	golden(t, "testdata/screen/quiet.golden", b.String())
}

// The golden files show what stands on the terminal in the end; no line was
// ever wider than the terminal while the bar was at work.
func TestATerminalOfAnyWidthKeepsTheBarOnOneLine(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	for _, columns := range []int{20, 80, 200} {
		written := onTerminal(t, columns, func(tty *os.File) {
			watched(newScreen(tty, told{progress: true}, plainly), journey("imap"))
		})
		bars := strings.Count(written, "=>")
		lines, widest := painted(t, written)
		if bars == 0 || widest >= columns {
			t.Errorf("%d columns: %d bars, the widest line is %d columns", columns, bars, widest)
		}
		if left := strings.Join(lines, ""); left != "" {
			t.Errorf("%d columns: of the bar is left: %q", columns, left)
		}
		written = onTerminal(t, columns, func(tty *os.File) {
			s := newScreen(tty, everything, plainly)
			for _, e := range journey("täst") {
				s.show(e)
			}
		})
		lines, _ = painted(t, written)
		golden(t, fmt.Sprintf("testdata/screen/terminal-%d.golden", columns), show(lines))
	}
}

func TestATerminalThatShrinksKeepsTheBarOnOneLine(t *testing.T) {
	t.Setenv("TERM", "xterm")
	written := onTerminal(t, 120, func(tty *os.File) {
		s := newScreen(tty, told{progress: true}, plainly)
		events := journey("imap")
		watched(s, events[:len(events)/2])
		resize(t, tty, 40)
		_, _ = tty.WriteString("RESIZED")
		watched(s, events[len(events)/2:])
	})
	first, second, found := strings.Cut(written, "RESIZED")
	if !found {
		t.Fatalf("the terminal was never resized: %q", written)
	}
	if _, widest := painted(t, first); widest < 50 {
		t.Errorf("on 120 columns the line has %d only", widest)
	}
	if _, widest := painted(t, second); widest >= 40 {
		t.Errorf("after shrinking to 40 columns a line has %d", widest)
	}
}

func TestADumbTerminalGetsNoBar(t *testing.T) {
	t.Setenv("TERM", "dumb")
	written := onTerminal(t, 80, func(tty *os.File) {
		s := newScreen(tty, everything, plainly)
		for _, e := range journey("imap") {
			s.show(e)
		}
	})
	if strings.Contains(written, "\x1b") || strings.Contains(written, "[=") {
		t.Errorf("escape sequences or a bar on a dumb terminal: %q", written)
	}
}

func TestTwoVMsAtOnceAreToldApart(t *testing.T) {
	var b strings.Builder
	s := newScreen(&b, everything, plainly)
	first, second := journey("imap"), journey("web")
	for i := range first {
		s.show(first[i])
		e := second[i]
		e.Job = "20261122-093012-aaaa"
		s.show(e)
	}
	golden(t, "testdata/screen/two.golden", b.String())
}

func TestTheBarNeverJumpsBackWhileSomethingGoesOn(t *testing.T) {
	var g gauge
	at := func(disk string, bytes int64) {
		g.move(migrate.Event{Job: testJob, Step: migrate.Copy, Disk: disk, Bytes: bytes, Total: 100})
	}
	at("vda", 50)
	at("vdb", 10)
	if r := g.read(); r.bytes != 60 || r.total != 200 {
		t.Fatalf("%d of %d", r.bytes, r.total)
	}
	g.ended(migrate.Event{Job: testJob, Step: migrate.Copy, Disk: "vda"})
	if r := g.read(); r.bytes != 110 || r.total != 200 {
		t.Errorf("after one disk: %d of %d", r.bytes, r.total)
	}
	g.ended(migrate.Event{Job: testJob, Step: migrate.Copy, Disk: "vdb"})
	if r := g.read(); r.total != 0 {
		t.Errorf("after both: %d of %d", r.bytes, r.total)
	}
	at("vda", 1)
	g.dropped(testJob)
	if r := g.read(); r.total != 0 {
		t.Errorf("after the job failed: %d of %d", r.bytes, r.total)
	}
}

func TestNamesCantPaintTheTerminal(t *testing.T) {
	evil := "a\x1b[31m\r\nb\u202ec\x07"
	var b strings.Builder
	s := newScreen(&b, everything, plainly)
	for _, e := range journey(evil) {
		if e.Event == migrate.Warning {
			e.Message = evil
		}
		s.show(e)
	}
	advice{what: evil, details: []string{evil}, next: []string{evil}}.write(&b)
	l := &listing{headings: []string{"VM", "CLONE"}}
	l.add(evil, evil)
	l.add("täst", "x")
	b.WriteString(l.text(0))
	l.width = 5
	b.WriteString(l.text(0))
	if at := strings.IndexAny(b.String(), "\x1b\r\x07\u202e"); at >= 0 {
		t.Errorf("a control character of a name came through: %q", b.String()[max(0, at-40):at+10])
	}
}
