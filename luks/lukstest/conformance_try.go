package lukstest

import (
	"errors"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

func tried(t *testing.T, env Env) {
	for _, kind := range []luks.Type{luks.LUKS2, luks.LUKS1, ""} {
		good := spec("")
		good.Type, good.PBKDF = kind, ""
		if err := env.Client.Try(t.Context(), good); err != nil {
			t.Errorf("%q: %v", kind, err)
		}
		for what, change := range map[string]func(*luks.FormatSpec){
			"cipher":   func(s *luks.FormatSpec) { s.Cipher = "eas-xts-plain64" },
			"hash":     func(s *luks.FormatSpec) { s.Hash = "sha99" },
			"key size": func(s *luks.FormatSpec) { s.KeySize = 24 },
		} {
			bad := good
			change(&bad)
			var refused *luks.RefusedError
			if err := env.Client.Try(t.Context(), bad); !errors.As(err, &refused) || refused.Reason == "" {
				t.Errorf("%q, %s: %v", kind, what, err)
			}
		}
	}
}
