package luks_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/luks"
)

func TestMapperNamesAreThoseOfDeviceMapper(t *testing.T) {
	for _, good := range []string{"cr_imap_vda", "a", "a-b", "#+-.:=@_", "...", strings.Repeat("x", 127)} {
		if err := luks.ValidMapper(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "control", "-x", "a b", "a/b", "ä", "a\x00", "a\\x20", strings.Repeat("x", 128)} {
		var name *luks.NameError
		if err := luks.ValidMapper(bad); !errors.As(err, &name) || name.Name != bad || name.Reason == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestMapperNamesAreValidStableAndDistinct(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.SampledFrom([]rune("ab-_.+ äß\"'/\x00\n@木9m#")), 0, 250, -1), rapid.SampledFrom([]string{"control", ".", "..", "-", "cr-", "cr-deadbeef"}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		for _, in := range []string{a, b} {
			name := luks.MapperName(in)
			if err := luks.ValidMapper(name); err != nil || len(name) > 80 {
				t.Errorf("%q became %q: %v", in, name, err)
			}
			if luks.MapperName(in) != name {
				t.Errorf("%q became two names", in)
			}
			if luks.ValidMapper(in) == nil && len(in) <= 80 && !strings.Contains(in, "-") && name != in {
				t.Errorf("%q is valid and became %q", in, name)
			}
		}
		if a != b && luks.MapperName(a) == luks.MapperName(b) {
			t.Errorf("%q and %q both became %q", a, b, luks.MapperName(a))
		}
	})
}

func TestATypeIsKnownByItsName(t *testing.T) {
	for text, want := range map[string]luks.Type{"": luks.LUKS2, "luks2": luks.LUKS2, "luks1": luks.LUKS1} {
		if got, err := luks.ParseType(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := luks.ParseType("luks"); err == nil {
		t.Error("luks is taken")
	}
	if luks.HeaderSize(luks.LUKS1) != 2<<20 || luks.HeaderSize(luks.LUKS2) != 16<<20 {
		t.Error("the headers have other sizes than cryptsetup gives them")
	}
}
