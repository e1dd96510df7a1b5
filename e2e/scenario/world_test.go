//go:build e2e

package scenario

import "testing"

// A comparison that can't fail proves nothing: each kind of change that the
// scenarios rely on must show, and its undoing must not.
func TestTheWorldShowsEveryKindOfChange(t *testing.T) {
	s := set(t, Options{})
	before := s.look(t)
	for _, change := range []struct{ claim, do, undo string }{
		{"a volume", `lvcreate -q --yes -Wn -l 1 -n new vg0`, `lvremove -q --yes vg0/new`},
		{"a tag", `lvchange -q --addtag t vg0/lvimap_hd0`, `lvchange -q --deltag t vg0/lvimap_hd0`},
		{"a mapping", `dmsetup create new --table '0 8 error'`, `dmsetup remove --retry new`},
		{"a domain's title", `virsh -q desc imap --config --title x`, `virsh -q desc imap --config --title 'Mail of a customer'`},
		{"a domain's autostart", `virsh -q autostart imap`, `virsh -q autostart --disable imap`},
		{"a file in the state folder", `mkdir /var/lib/vmmigrate/a; echo x >/var/lib/vmmigrate/a/b`, `rm -r /var/lib/vmmigrate/a`},
	} {
		t.Run(change.claim, func(t *testing.T) {
			s.sh(t, change.do)
			if s.look(t).Diff(before) == "" {
				t.Error("it does not show")
			}
			s.sh(t, change.undo)
			s.unchanged(t, before)
		})
	}
}
