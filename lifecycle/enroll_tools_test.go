package lifecycle

import (
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/boot"
)

// As cryptsetup 2.6 prints them: systemd's of a TPM, clevis's, and one whose
// slot was killed.
const tokensJSON = `{"keyslots":{},"tokens":{
"2":{"type":"systemd-tpm2","keyslots":["1"],"tpm2-blob":"x"},
"0":{"type":"clevis","keyslots":["3","4"],"jwe":{}},
"1":{"type":"systemd-recovery","keyslots":[]}}}`

func TestTokensAreReadFromAHeadersMetadata(t *testing.T) {
	tokens, err := parseTokens([]byte(tokensJSON))
	no(t, err)
	want := []Token{{ID: 0, Type: "clevis", Slots: []int{3, 4}}, {ID: 1, Type: "systemd-recovery"}, {ID: 2, Type: "systemd-tpm2", Slots: []int{1}}}
	if !slices.EqualFunc(tokens, want, func(a, b Token) bool { return a.ID == b.ID && a.Type == b.Type && slices.Equal(a.Slots, b.Slots) }) {
		t.Errorf("%+v", tokens)
	}
	if tokens, err := parseTokens([]byte(`{}`)); tokens != nil || err != nil {
		t.Errorf("%v, %v", tokens, err)
	}
	for _, bad := range []string{"", "[", `{"tokens":{"x":{}}}`, `{"tokens":{"1":{"keyslots":["y"]}}}`} {
		if tokens, err := parseTokens([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, tokens)
		}
	}
}

// As systemd-cryptenroll of systemd 252 says it.
func TestWhatAToolRemarksIsToldAndThatItIsDoneIsNot(t *testing.T) {
	got := remarksOf("Selected TPM2 PCRs are not initialized on this system.\nNew TPM2 token enrolled as key slot 1.\n")
	if !slices.Equal(got, []string{"Selected TPM2 PCRs are not initialized on this system."}) {
		t.Errorf("%q", got)
	}
}

func TestAKeyGoesToNoToolInItsArgumentsOrEnvironment(t *testing.T) {
	for unlock, want := range map[boot.Unlock]string{
		{Method: boot.TPM2, Device: "auto"}:                          "systemd-cryptenroll --unlock-key-file=/dev/fd/3 --tpm2-device=auto -- /dev/vg0/-x",
		{Method: boot.TPM2, Device: "swtpm:", PCRs: "0+7"}:           "systemd-cryptenroll --unlock-key-file=/dev/fd/3 --tpm2-device=swtpm: --tpm2-pcrs=0+7 -- /dev/vg0/-x",
		{Method: boot.FIDO2, Device: "/dev/hidraw1"}:                 "systemd-cryptenroll --unlock-key-file=/dev/fd/3 --fido2-device=/dev/hidraw1 -- /dev/vg0/-x",
		{Method: boot.Tang, URL: "http://tang\"", Thumbprint: "thp"}: `clevis luks bind -k /dev/fd/3 -d /dev/vg0/-x tang '{"thp":"thp","url":"http://tang\""}'`,
	} {
		cmd := enrollCommand("/dev/vg0/-x", unlock, key(t, passphrase))
		if cmd.String() != want || cmd.Env != nil || cmd.Stdin != nil || len(cmd.Files) != 1 || string(cmd.Files[0]) != passphrase || strings.Contains(cmd.String(), passphrase) {
			t.Errorf("%s:\n%s\n%s", unlock, cmd, want)
		}
		if cmd.Terminal != (unlock.Method == boot.FIDO2) || cmd.ReadOnly {
			t.Errorf("%+v", cmd)
		}
	}
}
