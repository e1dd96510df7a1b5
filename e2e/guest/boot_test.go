package guest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const console = "GRUB loading...\r\nGUEST up\r\nSAYS all is well\r\n" +
	"DISK vda 512 bytes SHA256 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n"

func TestAConsoleIsReadForWhatTheGuestSaw(t *testing.T) {
	got, err := parse(console + "GUEST done\r\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Says: "all is well", Disks: map[string]DiskSum{
		"vda": {Size: 512, SHA256: strings.Repeat("0123456789abcdef", 4)},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestAGuestThatStopsHalfWayHasNotBooted(t *testing.T) {
	if _, err := parse(console); err == nil {
		t.Fatal("no error")
	}
}

func TestADomainTakesAnyName(t *testing.T) {
	xml, err := Spec{Name: `<mail> & "co"`, Root: "/dev/vg0/root"}.XML()
	if err != nil || !strings.Contains(xml, "<name>&lt;mail&gt; &amp; &quot;co&quot;</name>") {
		t.Fatal(xml, err)
	}
}
