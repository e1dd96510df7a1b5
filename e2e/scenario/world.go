package scenario

import (
	"context"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// World is all on a host that vmmigrate may change and all that it must not,
// one fact a line: volume groups with their free space, volumes with their
// tags, device-mapper's devices with their tables (without keys), domains with
// their state, XML and snapshots, and the state folder's files with their
// digests.
type World struct{ facts []string }

// look prints the facts. A volume's open count is none: udev opens volumes
// when it likes. A running domain's CPU time and number are none either.
const look = `
vgs --noheadings --separator ' ' -o vg_name,vg_uuid,vg_free_count | sed 's/^ */vg /'
lvs --noheadings --separator ' ' -o vg_name,lv_name,lv_uuid,lv_size,segtype,lv_tags --units b | sed 's/^ */lv /'
dmsetup table | sort | sed 's/^/dm /'
virsh -q list --all --uuid | sort | while read -r uuid; do
	[ -n "$uuid" ] || continue
	virsh -q "dominfo $uuid; dumpxml --inactive --security-info $uuid; snapshot-list --name $uuid" |
		sed -n "/^Id:\|^CPU time:\|^Used memory:/d; /./s/^/domain $uuid /p"
done
find /var/lib/vmmigrate -printf 'state %p %y %m %s\n' | sort
find /var/lib/vmmigrate -type f -exec sha256sum {} + | sort | sed 's/^/state /'
`

// Look returns the world as it is on the host now.
func Look(ctx context.Context, h *testhost.Host) (World, error) {
	text, err := h.Shell(ctx, look)
	if err != nil {
		return World{}, err
	}
	return World{facts: strings.Split(text, "\n")}, nil
}

// Diff returns what has changed from before to w, "" if nothing has.
func (w World) Diff(before World) string { return cmp.Diff(before.facts, w.facts) }
