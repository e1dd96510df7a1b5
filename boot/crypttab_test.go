package boot

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

var two = []Entry{
	{Mapper: "cr_imap_vda", Source: "UUID=6c1b", Key: "/etc/keys/imap", Options: "luks,noauto,nofail"},
	{Mapper: "cr_imap_vdb", Source: "UUID=77aa", Key: "/etc/keys/imap", Options: "luks,noauto,nofail"},
}

// whole is a crypttab as people write it.
const whole = "# <target> <source> <key> <options>\r\n\n  root\tUUID=1234 none luks,discard\r\n;odd\n#cr_imap_vda x y\nswap /dev/sda2 /dev/urandom swap"

func TestWhatIsAddedIsTakenAwayAgainAndNothingElse(t *testing.T) {
	for _, before := range []string{"", "\n", whole, whole + "\n", "a", "a\r", "a\r\n", "\x00\xff\n"} {
		with := Add([]byte(before), "j1", two)
		if !bytes.HasPrefix(with, []byte(before)) {
			t.Errorf("%q: what was there was changed: %q", before, with)
		}
		if got := Ours(with, "j1"); !slices.Equal(got, two) {
			t.Errorf("%q: ours are %v", before, got)
		}
		if again := Add(with, "j1", two); !bytes.Equal(with, again) {
			t.Errorf("%q: the second time changes it: %q", before, again)
		}
		if after, removed := Remove(with, "j1"); string(after) != before || len(removed) != 2 {
			t.Errorf("%q became %q, and %v was removed", before, after, removed)
		}
		if after, removed := Remove(with, "j"); !bytes.Equal(after, with) || removed != nil {
			t.Errorf("%q: a job of a similar name removes %v", before, removed)
		}
	}
}

func TestTwoJobsMayBeTakenAwayInAnyOrder(t *testing.T) {
	other := []Entry{{Mapper: "cr_web_vda", Source: "UUID=9", Key: "none", Options: "luks"}}
	for _, before := range []string{"", whole, whole + "\n"} {
		both := Add(Add([]byte(before), "j1", two), "j2", other)
		a, _ := Remove(both, "j1")
		a, _ = Remove(a, "j2")
		b, _ := Remove(both, "j2")
		b, _ = Remove(b, "j1")
		if string(b) != before {
			t.Errorf("%q became %q", before, b)
		}
		// In the order that they came, the line end that was added for the
		// first stays: by then another's line stood behind it.
		if strings.TrimSuffix(string(a), "\n") != strings.TrimSuffix(before, "\n") {
			t.Errorf("%q became %q", before, a)
		}
	}
}

func TestALineThatSomebodyChangedSinceIsStillOursAndOneBehindItIsNot(t *testing.T) {
	with := string(Add([]byte("a"), "j1", two))
	with = strings.Replace(with, "cr_imap_vda UUID=6c1b /etc/keys/imap luks", "\tcr_imap_vda  UUID=6c1b\t/root/k tries=1,luks", 1) + "mine UUID=3 none luks\n"
	after, removed := Remove([]byte(with), "j1")
	if string(after) != "a\nmine UUID=3 none luks\n" {
		t.Errorf("%q", after)
	}
	if len(removed) != 2 || removed[0].Options != "tries=1,luks,noauto,nofail" || removed[0].Key != "/root/k" {
		t.Errorf("%+v", removed)
	}
	moved := "# vmmigrate j1 cr_imap_vda" + why + "\nmine UUID=3 none luks\ncr_imap_vda UUID=6c1b none luks\n"
	if after, removed := Remove([]byte(moved), "j1"); string(after) != "mine UUID=3 none luks\ncr_imap_vda UUID=6c1b none luks\n" || removed != nil {
		t.Errorf("%q, %v", after, removed)
	}
}

func TestALineOfTheSameMappingOrVolumeClashes(t *testing.T) {
	for line, clashes := range map[string]bool{
		"cr_imap_vda /dev/sdb none luks":                          true,
		"mail UUID=6C1B":                                          true,
		`mail UUID="6c1b" none`:                                   true,
		"mail /dev/disk/by-uuid/6c1b none":                        true,
		"mail /dev/vg0/imap-vda-luks none":                        true,
		"#cr_imap_vda /dev/sdb none":                              false,
		"cr_imap_vda2 /dev/sdb none":                              false,
		"cr_imap_vda":                                             false, // systemd passes over it too
		string(Add(nil, "j1", two)):                               false,
		"\n\n" + string(Add(nil, "j1", two)) + "x UUID=6c1b none": true,
	} {
		found, got := Clash([]byte(line), "j1", two[0], []string{"/dev/vg0/imap-vda-luks"})
		if got != clashes {
			t.Errorf("%q: %v, %+v", line, got, found)
		}
	}
}

func FuzzCrypttab(f *testing.F) {
	for _, text := range []string{"", "\n", "\r\n", whole, whole + "\n", string(Add([]byte("x"), "j1", two)), "# vmmigrate j1 cr_imap_vda" + newlineWhy, "# vmmigrate j1 \n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, before []byte) {
		clean, removed := Remove(before, "j1")
		if len(removed) == 0 && !bytes.Contains(before, []byte(mark+"j1 ")) && !bytes.Equal(clean, before) {
			t.Fatalf("nothing was ours and %q became %q", before, clean)
		}
		with := Add(before, "j1", two)
		if !bytes.HasPrefix(with, clean) {
			t.Fatalf("others' bytes were changed: %q, %q", before, with)
		}
		if again := Add(with, "j1", two); !bytes.Equal(again, with) {
			t.Fatalf("the second time changes it: %q, %q", with, again)
		}
		// What lies behind the last mark of a text that ends in one is ours
		// from then on; so the text is taken as it is without any.
		after, _ := Remove(Add(clean, "j1", two), "j1")
		if again, _ := Remove(clean, "j1"); !bytes.Equal(after, again) {
			t.Fatalf("%q became %q", clean, after)
		}
	})
}
