package luks

import (
	"testing"
	"time"
)

func TestTheKernelsNameOfACipher(t *testing.T) {
	for cipher, want := range map[string]string{
		"aes-xts-plain64": "xts(aes)", "serpent-xts-plain64": "xts(serpent)", "aes-cbc-essiv:sha256": "cbc(aes)",
		"xchacha12,aes-adiantum-plain64": "adiantum(xchacha12,aes)", "capi:xts(aes)-plain64": "xts(aes)",
	} {
		if got, err := kernelName(cipher); got != want || err != nil {
			t.Errorf("%s is %q, %v", cipher, got, err)
		}
	}
	for _, cipher := range []string{"", "aes", "-xts", "aes-"} {
		if got, err := kernelName(cipher); err == nil {
			t.Errorf("%q is %q", cipher, got)
		}
	}
}

func TestSpeedIsMeasuredOrSaysWhyNot(t *testing.T) {
	begin := time.Now()
	rate, err := Speed(t.Context(), "aes-xts-plain64", 512, 20*time.Millisecond)
	if (err == nil) != (rate > 0) {
		t.Errorf("%g bytes a second, %v", rate, err)
	}
	t.Logf("%.0f bytes a second, %v", rate, err)
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if rate, err := Speed(t.Context(), "rot13-xts-plain64", 512, time.Millisecond); err == nil || rate != 0 {
		t.Errorf("a cipher that is none: %g, %v", rate, err)
	}
}
