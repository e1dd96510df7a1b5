package migrate

import "testing"

func TestAnEncryptionIsTriedWhereItIsNotTheUsualOne(t *testing.T) {
	for what, c := range map[string]struct {
		change  func(*LUKSOptions)
		tried   bool
		refused bool
	}{
		"the usual one":           {func(*LUKSOptions) {}, false, false},
		"only another PBKDF":      {func(o *LUKSOptions) { o.PBKDF, o.PBKDFIterations = "pbkdf2", 1000 }, false, false},
		"another cipher":          {func(o *LUKSOptions) { o.Cipher = "serpent-xts-plain64" }, true, false},
		"a cipher that is no one": {func(o *LUKSOptions) { o.Cipher = "eas-xts-plain64" }, true, true},
		"a hash that is no one":   {func(o *LUKSOptions) { o.Hash = "sha99" }, true, true},
		"a key of a strange size": {func(o *LUKSOptions) { o.KeySize = 24 }, true, true},
	} {
		w := newWorld(t)
		chosen := options()
		c.change(&chosen.LUKS)
		facts := new(Facts)
		if err := w.env().GatherNamed(t.Context(), facts, chosen); err != nil {
			t.Fatal(err)
		}
		if why, tried := facts.Untaken[chosen.LUKS]; tried != c.tried || (why != "") != c.refused {
			t.Errorf("%s: tried %v, %q", what, tried, why)
		}
	}
}
