//go:build e2e

package scenario

import (
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
)

// names are what people call their VMs, or might.
var names = []string{"mail server (alt)", "-rf", "täst", `it's "$HOME"`, strings.Repeat("n", 200)}

func TestAVMOfAnyNameMovesAndComesBack(t *testing.T) {
	s := set(t, Options{})
	ctx := t.Context()
	s.sh(t, `lvcreate -q --yes -Wn -L 8M -n small vg0; head -c 8M /dev/urandom >/dev/vg0/small`)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			spec := guest.Spec{Name: name, Root: "/dev/vg0/small", ISO: guest.ISOPath, MAC: "52:54:00:00:00:02"}
			if err := guest.Define(ctx, s.Host, spec); err != nil {
				t.Fatal(err)
			}
			defer s.sh(t, `virsh -q undefine "--domain=$1"`, name)
			before := s.look(t)

			// The clone of a long name needs a name of its own: a file is
			// called after it, and 255 bytes are a file name's limit.
			clone := name + "-luks"
			r, err := s.Migrate(ctx, name)
			if err != nil || r.ExitCode != Done {
				t.Fatal(r, err)
			}
			if list := strings.Split(s.sh(t, `virsh -q list --all --name`), "\n"); !slices.Contains(list, clone) {
				t.Errorf("no clone %q in %q", clone, list)
			}
			payload := s.sh(t, `virsh dumpxml "--domain=$1" | sed -n "s|.*<source dev='\(/dev/mapper/.*\)'/>|\1|p"`, clone)
			s.sh(t, `cmp /dev/vg0/small "$1"`, payload)

			if r, err := s.VMMigrate(ctx, "rollback", "--yes", "--", name); err != nil || r.ExitCode != Done {
				t.Fatal(r, err)
			}
			s.unchanged(t, before)
		})
	}
}
