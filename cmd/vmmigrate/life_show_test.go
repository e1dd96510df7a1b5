package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/luks"
)

// hosts is a report of two clones, one of them in trouble, and an orphan.
func hosts() lifecycle.Report {
	disk := func(target string) lifecycle.DiskStatus {
		return lifecycle.DiskStatus{
			Target: target, Volume: "vg0/imap-" + target + "-luks", LUKS: "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d01", Device: "/dev/mapper/cr_imap_" + target,
			Type: "luks2", Cipher: "aes-xts-plain64", KeySize: 512, KeySlots: []lifecycle.SlotStatus{{Slot: 0, PBKDF: "argon2id"}, {Slot: 3, PBKDF: "pbkdf2"}},
		}
	}
	good, bad, moved := disk("vda"), disk("vdb"), disk("vda")
	good.Open, good.Discard = true, lifecycle.DiscardStatus{VM: true, Crypt: true}
	good.Backup = &lifecycle.BackupStatus{File: "/root/header", Made: testTime().Add(-72 * time.Hour), There: true}
	bad.Type, bad.Cipher, bad.KeySize, bad.KeySlots = "", "", 0, []lifecycle.SlotStatus{}
	bad.Err = &lifecycle.HeaderLostError{Clone: "imap-luks", Disk: "vdb", Volume: bad.Volume, LUKS: bad.LUKS}
	moved.Volume, moved.RecordedVolume, moved.OpenAs, moved.Discard = "vg1/mail", "vg0/web-vda-luks", "rescue", lifecycle.DiscardStatus{VM: true}
	moved.Backup = &lifecycle.BackupStatus{File: "/media/stick/header", Made: testTime().Add(-5 * time.Hour)}
	return lifecycle.Report{
		Clones: []lifecycle.Status{
			{Name: "imap-luks", UUID: "3f9c2d10-0f3e-4a55-9a7e-2b8c51f0aa02", State: "running", Access: lifecycle.AccessRunning, Autostart: true, Original: lifecycle.Original{Name: "imap", State: lifecycle.OriginalThere, Disks: []string{}}, Disks: []lifecycle.DiskStatus{good, bad}},
			{Name: "web-luks", State: "shut off", Access: lifecycle.AccessUnlocked, Original: lifecycle.Original{Name: "web", State: lifecycle.OriginalGone, Disks: []string{}}, Disks: []lifecycle.DiskStatus{moved}, Boot: &lifecycle.BootStatus{
				Method: boot.KeyFile, With: "/etc/keys/web", Unit: "vmmigrate-guest@web.service", Active: "failed", Again: "key-file:/etc/keys/web",
				Problems: []string{"its unit is disabled", "/etc/crypttab has lost its line for cr_web_vda"},
			}},
		},
		LostBoots: []lifecycle.LostBoot{{Clone: "mail-luks", Job: testJob, Unit: "vmmigrate-guest@mail.service"}}, BootProblem: "/etc/crypttab: permission denied",
		Orphans: []lifecycle.Orphan{{VG: "vg0", LV: "old-vda-luks", Job: testJob, Size: 1 << 30}, {VG: "vg0", LV: "web-vda-luks", Job: testJob, Size: 2 << 30, Definition: "/var/lib/vmmigrate/jobs/" + testJob + "/clone.xml"}},
	}
}

func TestStatusReadsWell(t *testing.T) {
	var out bytes.Buffer
	s := &session{streams: streams{out: &out, err: io.Discard}, machine: testMachine()}
	report := hosts()
	s.explainDisks(&report)
	if err := s.statusText(report, testTime()); err != nil {
		t.Fatal(err)
	}
	if err := s.statusText(lifecycle.Report{}, testTime()); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/status.golden", out.String())
}

func TestTheDocumentsOfTheLifeAfterTheMoveFitTheirSchemas(t *testing.T) {
	fit := func(schema string, document any) {
		t.Helper()
		_, out := printing("")
		if err := writeDocument(out, document); err != nil {
			t.Fatal(err)
		}
		if judge(t, schema, out.Bytes()) != 1 {
			t.Errorf("%s: not one document", schema)
		}
	}
	s, _ := printing("")
	report := hosts()
	s.explainDisks(&report)
	fit("status.schema.json", report)
	fit("status.schema.json", lifecycle.Report{Clones: []lifecycle.Status{}, Orphans: []lifecycle.Orphan{}, LostBoots: []lifecycle.LostBoot{}})
	trim := lifecycle.Trim{VM: "imap-luks", Disks: []lifecycle.DiskTrim{
		{Target: "vda", Layers: []lifecycle.TrimLayer{{Layer: lifecycle.LayerGuest, Name: "vda", Passes: true, Why: "x"}}},
		{Target: "vdb", Layers: []lifecycle.TrimLayer{}, StopsAt: lifecycle.LayerCrypt, Err: errors.New("x")},
	}}
	for i := range trim.Disks {
		s.trimNext(trim.VM, &trim.Disks[i])
	}
	fit("trim.schema.json", trim)
	fit("header-backup.schema.json", headerBackupDocument{[]lifecycle.Backup{{File: "/root/header", Made: testTime(), Type: luks.LUKS2}}})
	for _, verdict := range []lifecycle.Verdict{lifecycle.Current, lifecycle.SameKeys, lifecycle.Outdated, lifecycle.Damaged, lifecycle.Missing, lifecycle.LiveDamaged} {
		fit("header-check.schema.json", headerCheckDocument{VM: "imap-luks", Checks: []lifecycle.HeaderCheck{{Disk: "vda", Verdict: verdict, Notes: []string{}}}})
	}
}

func TestEveryEventOfTheLifeAfterTheMoveIsALineOfItsSchemaAndASentence(t *testing.T) {
	s, out := printing("")
	r := s.lifeReporter()
	var text bytes.Buffer
	people := &session{streams: streams{out: &text, err: &text}}
	aloud := people.lifeReporter()
	names := []lifecycle.EventName{
		lifecycle.Unlocked, lifecycle.Locked, lifecycle.Started, lifecycle.Stopped, lifecycle.Stopping, lifecycle.Unchanged, lifecycle.Warning,
		lifecycle.HeaderSaved, lifecycle.HeaderRestored, lifecycle.KeyAdded, lifecycle.KeyRemoved, lifecycle.KeyFits,
		lifecycle.Configured, lifecycle.BootEnabled, lifecycle.BootDisabled,
	}
	for _, name := range names {
		e := lifecycle.Event{Event: name, Time: testTime(), VM: "imap\x1b[31m", Disk: "vda", Message: "words", Elapsed: 1234 * time.Millisecond}
		r.report(e)
		aloud.report(e)
	}
	failures := append(lifeCases(), bootCases()...)
	for _, c := range failures {
		r.failedOnly("imap-luks", c.err)
	}
	if n := judge(t, "life-events.schema.json", out.Bytes()); n != len(names)+len(failures) {
		t.Errorf("%d lines", n)
	}
	if lines := strings.Count(text.String(), "\n"); lines != len(names) || strings.Contains(text.String(), "\x1b") || strings.Contains(text.String(), string(lifecycle.KeyAdded)) {
		t.Errorf("%d lines for people:\n%q", lines, text.String())
	}
}

func TestQuietTellsOfWarningsAlone(t *testing.T) {
	var out, errs bytes.Buffer
	s := &session{streams: streams{out: &out, err: &errs}, quiet: true}
	r := s.lifeReporter()
	r.report(lifecycle.Event{Event: lifecycle.Unlocked, VM: "imap-luks"})
	r.report(lifecycle.Event{Event: lifecycle.Warning, VM: "imap-luks", Message: "the volume was renamed"})
	if out.Len() > 0 || errs.String() != "vmmigrate: warning: imap-luks: the volume was renamed\n" {
		t.Errorf("%q, %q", out.String(), errs.String())
	}
}

func TestAnAgeIsInTheLargestUnitThatFits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", time.Second: "just now", 59 * time.Minute: "59 min old", 47 * time.Hour: "47 h old", 49 * time.Hour: "2 days old", 1000 * time.Hour: "41 days old",
	} {
		if got := age(d); got != want {
			t.Errorf("%s is %q, not %q", d, got, want)
		}
	}
}

func TestSeveralClonesThatFailAreSummedUp(t *testing.T) {
	var errs bytes.Buffer
	s := &session{streams: streams{out: io.Discard, err: &errs}, machine: testMachine()}
	lost := &lifecycle.RunningError{Clone: "b", State: "running"}
	fails := func(name string) error {
		if name == "b" {
			return lost
		}
		return nil
	}
	for _, together := range []bool{false, true} {
		errs.Reset()
		err := s.eachClone(t.Context(), []string{"a", "b", "c"}, together, s.lifeReporter(), func(_ context.Context, name string) error { return fails(name) })
		var some *clonesError
		if !errors.As(err, &some) || some.failed != 1 || some.all != 3 || !errors.Is(err, error(lost)) || explain(err).exit != exitSomeFailed {
			t.Errorf("%v", err)
		}
		if !strings.Contains(errs.String(), `"b" is running`) {
			t.Errorf("told %q", errs.String())
		}
	}
	if err := s.eachClone(t.Context(), []string{"b"}, false, s.lifeReporter(), func(_ context.Context, name string) error { return fails(name) }); !reflect.DeepEqual(err, error(lost)) {
		t.Errorf("%v", err)
	}
}
