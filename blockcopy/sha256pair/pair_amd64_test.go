package sha256pair

import (
	"os"
	"strings"
	"testing"
)

// Without this, a pair that is wrong would be left alone and nobody the wiser.
func TestAProcessorWithTheInstructionsUsesThem(t *testing.T) {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	if has := strings.Contains(string(b), " sha_ni"); has != supported() {
		t.Errorf("the kernel says %v and cpuid says %v", has, supported())
	}
	if supported() && !right() {
		t.Error("pair does not compute SHA-256")
	}
}
