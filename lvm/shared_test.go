package lvm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

const (
	hostsUUID  = "UVBcwf-bXVj-aC7A-Ho0t-6iXg-jayS-6YgDNA"
	guestsUUID = "08q2Ya-n8Tq-44ov-ABM3-ekQB-Y8hZ-3NPkUi"
)

// twice is a client on a host where the group vg0 exists twice, as a guest's
// does once its disk is open: the second lies on the disk 98:32. Both have a
// volume named lin.
func twice(t *testing.T) (*Client, *script) {
	t.Helper()
	_, s := scripted(t)
	rename := strings.NewReplacer(`"vg-two"`, `"vg0"`, "vg--two-dash--ed", "vg0-lin", "/dev/vg-two/dash-ed", "/dev/vg0/lin", "dash-ed", "lin")
	runner := runnerFunc(func(cmd command.Cmd) (command.Result, error) {
		s.ran = append(s.ran, cmd)
		switch cmd.Name {
		case "vgs", "lvs":
			return command.Result{Stdout: []byte(rename.Replace(mustRead(t, cmd.Name+".json")))}, nil
		}
		return command.Result{}, nil
	})
	client := New(runner)
	client.sys = t.TempDir()
	return client, s
}

// stack makes a device of a number rest on others, top down, each a kernel's
// name and a device-mapper UUID, or none.
func stack(t *testing.T, sys, number, uuid string, below ...[2]string) {
	t.Helper()
	device := filepath.Join(sys, "dev/block", number)
	for {
		if err := os.MkdirAll(filepath.Join(device, "dm"), 0o700); err != nil {
			t.Fatal(err)
		}
		if uuid != "" {
			if err := os.WriteFile(filepath.Join(device, "dm/uuid"), []byte(uuid+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if len(below) == 0 {
			return
		}
		device, uuid, below = filepath.Join(device, "slaves", below[0][0]), below[0][1], below[1:]
	}
}

func TestAGroupInsideAGuestsDiskIsTold(t *testing.T) {
	for claim, test := range map[string]struct {
		uuid  string
		below [][2]string
		want  bool
	}{
		"on an opened volume on a logical volume":       {"CRYPT-LUKS2-x", [][2]string{{"dm-1", "LVM-x"}, {"sda1", ""}}, true},
		"on a partition of one":                         {"part1-CRYPT-x", [][2]string{{"dm-3", "CRYPT-LUKS2-x"}, {"dm-1", "LVM-x"}}, true},
		"on an opened volume in a file":                 {"CRYPT-LUKS2-x", [][2]string{{"loop0", ""}}, true},
		"on the host's own encrypted disk":              {"CRYPT-LUKS2-x", [][2]string{{"sda3", ""}}, false},
		"on the host's multipath disk":                  {"mpath-x", [][2]string{{"sdb", ""}}, false},
		"on a loop device, as hosts for trying have it": {"", nil, false},
		"on a plain disk":                               {"", nil, false},
	} {
		client, _ := scripted(t, answer{cmd: "vgs ", file: "vgs.json"})
		client.sys = t.TempDir()
		stack(t, client.sys, "98:32", test.uuid, test.below...)
		groups, err := client.VGs(t.Context())
		if err != nil || groups[0].Guest != test.want || groups[1].Guest {
			t.Errorf("%s: %v and %v, %v", claim, groups[0].Guest, groups[1].Guest, err)
		}
		if test.want && !strings.Contains(groups[0].Unfit(), "guest") {
			t.Errorf("%s: %s", claim, groups[0].Unfit())
		}
	}
}

func TestOfTwoGroupsOfOneNameTheHostsIsMeant(t *testing.T) {
	client, script := twice(t)
	stack(t, client.sys, "98:32", "CRYPT-LUKS2-x", [2]string{"dm-1", "LVM-x"})
	if group, err := client.VG(t.Context(), "vg0"); err != nil || group.UUID != hostsUUID {
		t.Errorf("%+v, %v", group, err)
	}
	if volume, err := client.LV(t.Context(), "vg0", "lin"); err != nil || volume.VGUUID != hostsUUID {
		t.Errorf("%+v, %v", volume, err)
	}
	// By name, lvm2 would refuse all of these.
	if _, err := client.Create(t.Context(), Spec{VG: "vg0", Name: "lin", Size: 41943040}); err != nil {
		t.Error(err)
	}
	if err := client.Remove(t.Context(), "vg0", "lin", "second"); err != nil {
		t.Error(err)
	}
	want := []string{
		"lvcreate --devices=/dev/ubda,/dev/ubdb --yes --wipesignatures y --type linear --size 41943040b --name=lin -- vg0",
		"lvremove --yes --select lv_uuid=OLlazq-1mMg-foYB-cjtb-sWKL-67hi-y5LZdX",
	}
	if diff := cmp.Diff(want, script.changes()); diff != "" {
		t.Error(diff)
	}
}

func TestOfTwoGroupsThatCannotBeToldApartNoneIsTouched(t *testing.T) {
	client, script := twice(t)
	want := error(&AmbiguousError{Name: "vg0", UUIDs: []string{guestsUUID, hostsUUID}})
	_, vgErr := client.VG(t.Context(), "vg0")
	_, lvErr := client.LV(t.Context(), "vg0", "lin")
	_, createErr := client.Create(t.Context(), Spec{VG: "vg0", Name: "x", Size: 1 << 20})
	for what, err := range map[string]error{"group": vgErr, "volume": lvErr, "create": createErr, "remove": client.Remove(t.Context(), "vg0", "lin", "second")} {
		if diff := cmp.Diff(want, err); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	// A volume that only one of the two has is that one's.
	if volume, err := client.LV(t.Context(), "vg0", "sn"); err != nil || volume.VGUUID != hostsUUID {
		t.Errorf("%+v, %v", volume, err)
	}
	if len(script.changes()) != 0 {
		t.Errorf("ran %q", script.changes())
	}
	var ambiguous *AmbiguousError
	if !errors.As(vgErr, &ambiguous) || !strings.Contains(vgErr.Error(), guestsUUID) {
		t.Error(vgErr)
	}
}

func TestTheSectorsOfAGroupsDisksAreTheKernels(t *testing.T) {
	client, _ := scripted(t, answer{cmd: "vgs ", file: "vgs.json"})
	client.sys = t.TempDir()
	// A partition has no queue of its own: it is in its disk's folder.
	for path, text := range map[string]string{"devices/ubdb/queue/logical_block_size": "4096\n", "devices/ubdb/ubdb1/partition": "1\n"} {
		path = filepath.Join(client.sys, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	number := filepath.Join(client.sys, "dev/block/98:32")
	if err := errors.Join(os.MkdirAll(filepath.Dir(number), 0o700), os.Symlink("../../devices/ubdb/ubdb1", number)); err != nil {
		t.Fatal(err)
	}
	groups, err := client.VGs(t.Context())
	if err != nil || groups[0].PVs[0].Sector != 4096 || len(groups[1].Sectors()) != 0 {
		t.Errorf("%+v, %v", groups, err)
	}
	group := VG{PVs: []PV{{Sector: 4096}, {Sector: 512}, {}, {Sector: 4096}}}
	if got := group.Sectors(); !slices.Equal(got, []int64{512, 4096}) {
		t.Error(got)
	}
}
