//go:build e2e

package scenario

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
)

// The main job: a guest on plain disks becomes one on encrypted disks, and
// what it reads there is what was on the plain ones.
func TestAGuestMovesOntoEncryptedVolumesAndBoots(t *testing.T) {
	s := set(t, Options{})
	ctx := t.Context()

	before := s.look(t)
	originalXML := s.sh(t, `virsh dumpxml --inactive --security-info imap`)
	source := guest.Report{Says: guest.Says, Disks: map[string]guest.DiskSum{}}
	for name, path := range map[string]string{"vda": s.Guest.Root, "vdb": s.Guest.Data} {
		size, sum, err := s.DiskSum(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		source.Disks[name] = guest.DiskSum{Size: size, SHA256: sum}
	}

	step := func(claim string, check func(t *testing.T)) {
		t.Helper()
		if !t.Run(claim, check) {
			t.FailNow() // what follows builds on it
		}
	}
	step("the guest boots from its plain disks and reads what is there", func(t *testing.T) {
		s.boots(t, "imap", source)
		s.unchanged(t, before)
	})
	step("plan shows the move and changes nothing", func(t *testing.T) {
		r, err := s.VMMigrate(ctx, "plan", "--vm", "imap", "--xml")
		if err != nil || r.ExitCode != Done {
			t.Fatal(r, err)
		}
		for _, part := range []string{"imap-luks", s.Guest.Root, s.Guest.Data, "vg0/imap-vda-luks", "vg0/imap-vdb-luks", s.Guest.ISO, "cdrom", "aes-xts-plain64"} {
			if !strings.Contains(r.Stdout, part) {
				t.Errorf("plan does not mention %q:\n%s", part, r.Stdout)
			}
		}
		s.unchanged(t, before)
	})
	var events []Event
	step("run ends with code 0 and tells the speed on the way", func(t *testing.T) {
		r, err := s.Migrate(ctx, "imap", "--output", "json")
		if err != nil || r.ExitCode != Done {
			t.Fatal(r, err)
		}
		if events, err = Events(r.Stdout); err != nil {
			t.Fatal(err)
		}
		if last := events[len(events)-1]; last.Event != "job-done" || last.Clone != "imap-luks" {
			t.Errorf("the last event is %+v", last)
		}
		t.Logf("seconds outside copy, verify and format: %.1f", secondsOutside(events, "copy", "verify", "format"))
		for _, event := range events {
			if event.Event == "progress" && event.Step == "copy" && event.BytesPerSecond > 0 {
				return
			}
		}
		t.Error("no progress event tells a speed")
	})
	step("every payload has its source's bytes and no others", func(t *testing.T) {
		s.sh(t, `cmp "$1" /dev/mapper/cr_imap_vda`, s.Guest.Root)
		// The raw file is no multiple of 4096 bytes: the payload is rounded
		// up to one, and what is behind the source's end reads as zeros.
		s.sh(t, `
			size=$(stat -c %s "$1"); rounded=$(((size + 4095) / 4096 * 4096))
			[ "$(blockdev --getsize64 /dev/mapper/cr_imap_vdb)" = "$rounded" ]
			cmp -n "$size" "$1" /dev/mapper/cr_imap_vdb
			tail -c "$((rounded - size))" /dev/mapper/cr_imap_vdb | cmp -n "$((rounded - size))" - /dev/zero`, s.Guest.Data)
	})
	step("the documented shell lines give the digests that run told", func(t *testing.T) {
		lines := shellBlocks(t, "../../docs/verification.md")
		disks := events[len(events)-1].Disks
		if len(lines) != len(disks) || len(disks) != 2 {
			t.Fatalf("%d blocks of shell lines for %d disks", len(lines), len(disks))
		}
		for i, disk := range disks {
			if got := strings.Fields(s.sh(t, lines[i])); len(got) != 2 || got[0] != disk.Digest {
				t.Errorf("%s has the digest %s, and this gives %q:\n%s", disk.Disk, disk.Digest, got, lines[i])
			}
			if disk.Min <= 0 || disk.Median < disk.Min || disk.Max < disk.Median {
				t.Errorf("%s was copied at %d, %d and %d bytes a second", disk.Disk, disk.Min, disk.Median, disk.Max)
			}
		}
	})
	step("the volumes are LUKS2 as promised", func(t *testing.T) {
		for _, disk := range []string{"vda", "vdb"} {
			dump := s.sh(t, `cryptsetup luksDump "/dev/vg0/imap-$1-luks"; cryptsetup status "cr_imap_$1"`, disk)
			for _, part := range []string{"Version:       \t2", "cipher: aes-xts-plain64", "Cipher key: 512 bits", "AF hash:    sha512", "sector: 512 [bytes]", "keysize: 512 bits"} {
				if !strings.Contains(dump, part) {
					t.Errorf("%s: no %q in\n%s", disk, part, dump)
				}
			}
		}
	})
	step("the original and its disks are as they were", func(t *testing.T) {
		if diff := cmp.Diff(originalXML, s.sh(t, `virsh dumpxml --inactive --security-info imap`)); diff != "" {
			t.Error(diff)
		}
		for name, path := range map[string]string{"vda": s.Guest.Root, "vdb": s.Guest.Data} {
			if size, sum, err := s.DiskSum(ctx, path); err != nil || (guest.DiskSum{Size: size, SHA256: sum}) != source.Disks[name] {
				t.Errorf("%s has changed: %v", path, err)
			}
		}
	})
	step("the clone's XML differs where it has to and nowhere else", func(t *testing.T) {
		s.differsAsIntended(t, originalXML, s.sh(t, `virsh dumpxml --inactive --security-info imap-luks`))
	})
	step("the clone boots from its encrypted disks and reads what the original did", func(t *testing.T) {
		s.boots(t, "imap-luks", source)
	})
	step("rollback undoes all of it", func(t *testing.T) {
		if r, err := s.VMMigrate(ctx, "rollback", "imap", "--yes"); err != nil || r.ExitCode != Done {
			t.Fatal(r, err)
		}
		s.unchanged(t, before)
	})
}

// boots boots a guest and compares what it read with what it ought to have read.
func (s *Stage) boots(t *testing.T, name string, want guest.Report) {
	t.Helper()
	report, err := guest.Boot(t.Context(), s.Host, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s booted and powered off in %.1f s", name, report.Took.Seconds())
	report.Took = 0
	if diff := cmp.Diff(want, report); diff != "" {
		t.Fatal(diff)
	}
}

// differsAsIntended holds the clone's XML against the original's with each
// intended change made by hand, as text.
func (s *Stage) differsAsIntended(t *testing.T, original, clone string) {
	t.Helper()
	uuid, mac := between(clone, "<uuid>", "</uuid>"), between(clone, "<mac address='", "'/>")
	if strings.Contains(original, uuid) || strings.Contains(original, mac) || !strings.HasPrefix(mac, "52:54:00:") {
		t.Errorf("UUID %s and MAC %s are not new", uuid, mac)
	}
	origin := between(clone, "    <vmmigrate:clone", "</vmmigrate:clone>\n")
	replace := strings.NewReplacer(
		"<name>imap</name>", "<name>imap-luks</name>",
		"<uuid>"+between(original, "<uuid>", "</uuid>"), "<uuid>"+uuid,
		"  </metadata>", "    <vmmigrate:clone"+origin+"</vmmigrate:clone>\n  </metadata>",
		"<source dev='"+s.Guest.Root+"'/>", "<source dev='/dev/mapper/cr_imap_vda'/>",
		"<disk type='file' device='disk'>", "<disk type='block' device='disk'>",
		"<source file='"+s.Guest.Data+"'/>", fmt.Sprintf(`<source dev='/dev/mapper/cr_imap_vdb'>
        <slices>
          <slice type='storage' offset='0' size='%d'/>
        </slices>
      </source>`, guest.DataSize),
		guest.MAC, mac,
		"imap-serial.log", "imap-luks-serial.log",
	)
	if diff := cmp.Diff(strings.Split(replace.Replace(original), "\n"), strings.Split(clone, "\n")); diff != "" {
		t.Error(diff)
	}
}

// shellBlocks are the blocks of shell lines on a page.
func shellBlocks(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, part := range strings.Split(string(text), "```sh\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	return blocks
}

// between returns the text between two marks.
func between(text, begin, end string) string {
	_, text, _ = strings.Cut(text, begin)
	text, _, _ = strings.Cut(text, end)
	return text
}

// secondsOutside adds up what the steps took, without those named.
func secondsOutside(events []Event, without ...string) float64 {
	var sum float64
	for _, event := range events {
		if event.Event == "step-done" && !strings.Contains(strings.Join(without, " "), event.Step) {
			sum += event.Seconds
		}
	}
	return sum
}
