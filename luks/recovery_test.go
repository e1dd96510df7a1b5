package luks

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestARecoveryKeyIs256BitsThatAPersonCanType(t *testing.T) {
	form := regexp.MustCompile(`^([cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}$`)
	key, err := NewRecoveryKey(bytes.NewReader(append(bytes.Repeat([]byte{0x0f}, 16), bytes.Repeat([]byte{0xf1}, 16)...)))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(key.Bytes()); !form.MatchString(text) || text != strings.Repeat("cvcvcvcv-", 4)+"vbvbvbvb-vbvbvbvb-vbvbvbvb-vbvbvbvb" {
		t.Errorf("%q", text)
	}
	if _, err := NewRecoveryKey(strings.NewReader("too little")); err == nil {
		t.Error("a key was made of too few random bytes")
	}
}
