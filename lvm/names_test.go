package lvm_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/lvm"
)

func TestNamesAreValidAsLVMSays(t *testing.T) {
	// Each was tried with lvcreate of lvm2 2.03.16.
	for _, good := range []string{"a", "imap_hd0", "a.b", "x+y", "lvol0", "...", "9", "a-", strings.Repeat("a", 100)} {
		if err := lvm.ValidName("vg0", good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", ".", "..", "-rf", "a b", "bä", "x@y", "x:y", "a/b", "a\n", "snapshot", "snapshotx", "pvmove0", "x_mlog", "x_mimage", "x_rimage.", "xx_rmeta",
		"x_tdata", "x_tmeta", "x_cdata", "x_cmeta", "x_corig", "x_vorigin", "x_pmspare", "x_wcorig", "x_cvol", "x_vdata", "x_imeta", "x_iorig",
		strings.Repeat("a", 128), "a" + strings.Repeat("-", 80),
	} {
		var name *lvm.NameError
		if err := lvm.ValidName("vg0", bad); !errors.As(err, &name) || name.Name != bad || name.Reason == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := lvm.ValidName(strings.Repeat("v", 100), "twenty_characters..."); err == nil {
		t.Error("a name that is too long only with its group's is taken")
	}
	for name, good := range map[string]bool{"vg0": true, "vg-two": true, "-vg": false, "": false, "a b": false, "..": false} {
		if err := lvm.ValidVGName(name); (err == nil) != good {
			t.Errorf("group %q: %v", name, err)
		}
	}
}

func TestSanitiseKeepsWhatItCan(t *testing.T) {
	for in, want := range map[string]string{
		"imap-vda-luks":              "imap-vda-luks",
		"mail server (alt)-vda-luks": "mail_server_alt_-vda-luks-bc1a0202",
		"-rf":                        "rf-686c39ac",
		"täst":                       "t_st-6db94e19",
		"":                           "lv-e3b0c442",
		"äöü":                        "lv-bc329dbf",
		"snapshot1":                  "lv.snapshot1-cd3b9ab2",
		"a_mlog":                     "a.mlog-5874ef5d",
		"web-deadbeef":               "web-deadbeef-efe82c03",
	} {
		if got := lvm.Sanitise(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestSanitisedNamesAreValidStableAndDistinct(t *testing.T) {
	alphabet := rapid.SampledFrom([]rune("ab-_.+ äß\"'/\x00\n@木9m"))
	text := rapid.OneOf(
		rapid.String(),
		rapid.StringOfN(alphabet, 0, 250, -1),
		rapid.SampledFrom([]string{"x_mlog", "_mlog", "a_mlog_mlog", "snapshot", "pvmove", "lv.", ".", "..", "-", "_", "__mlogmlog", "_m_mloglog"}),
	)
	vg := strings.Repeat("v", 34)
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		for _, in := range []string{a, b} {
			name := lvm.Sanitise(in)
			if err := lvm.ValidName(vg, name); err != nil {
				t.Errorf("%q became %q: %v", in, name, err)
			}
			if again := lvm.Sanitise(in); again != name {
				t.Errorf("%q became %q and %q", in, name, again)
			}
			if lvm.ValidName(vg, in) == nil && len(in) < 40 && !strings.Contains(in, "-") && name != in {
				t.Errorf("%q is valid and became %q", in, name)
			}
			if lvm.Sanitise(name) == name && name != in {
				t.Errorf("%q and %q have one name, %q", in, name, name)
			}
		}
		if a != b && lvm.Sanitise(a) == lvm.Sanitise(b) {
			t.Errorf("%q and %q both became %q", a, b, lvm.Sanitise(a))
		}
	})
}
