package lvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

func TestGroupsAreReadWithAllTheirDisks(t *testing.T) {
	client, _ := scripted(t, answer{cmd: "vgs ", file: "vgs.json"})
	got, err := client.VGs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []VG{
		{
			Name: "vg-two", UUID: "08q2Ya-n8Tq-44ov-ABM3-ekQB-Y8hZ-3NPkUi", Size: 624951296, Free: 612368384, ExtentSize: 4 << 20, FreeExtents: 146, ExtentCount: 149, PVCount: 1,
			PVs: []PV{{Name: "/dev/ubdc", Size: 624951296, Free: 612368384, FreeExtents: 146, Allocatable: true, Major: 98, Minor: 32}},
		},
		{
			Name: "vg0", UUID: "UVBcwf-bXVj-aC7A-Ho0t-6iXg-jayS-6YgDNA", Size: 1256194048, Free: 1214251008, ExtentSize: 1 << 20, FreeExtents: 1158, ExtentCount: 1198, PVCount: 2,
			PVs: []PV{
				{Name: "/dev/ubda", Size: 628097024, Free: 586153984, FreeExtents: 559, Allocatable: true, Major: 98},
				{Name: "/dev/ubdb", Size: 628097024, Free: 628097024, FreeExtents: 599, Allocatable: true, Major: 98, Minor: 16},
			},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(PV{})); diff != "" {
		t.Error(diff)
	}
}

func TestVolumesAreReadOnceWhateverTheirSegments(t *testing.T) {
	client, _ := scripted(t, answer{cmd: "lvs ", file: "lvs.json"})
	got, err := client.LVs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []LV{
		{VG: "vg0", VGUUID: "UVBcwf-bXVj-aC7A-Ho0t-6iXg-jayS-6YgDNA", Name: "lin", UUID: "OLlazq-1mMg-foYB-cjtb-sWKL-67hi-y5LZdX", Path: "/dev/vg0/lin", DMPath: "/dev/mapper/vg0-lin", Size: 41943040, Type: "linear", Tags: []string{"second", "vmmigrate.job=abc"}, Active: true, Open: true, Attr: "-wi-ao----", Major: 254},
		{VG: "vg0", VGUUID: "UVBcwf-bXVj-aC7A-Ho0t-6iXg-jayS-6YgDNA", Name: "pool", UUID: "eecXcr-f4tl-VK3x-wjdG-tJ0G-E5er-Xcc4RP", DMPath: "/dev/mapper/vg0-pool", Size: 104857600, Type: "thin-pool", Active: true, Open: true, Attr: "twi-aotz--", DataPercent: 12.5, MetadataPercent: 11.91, Major: 254, Minor: 4},
		{VG: "vg0", VGUUID: "UVBcwf-bXVj-aC7A-Ho0t-6iXg-jayS-6YgDNA", Name: "sn", UUID: "96mUQM-cym9-unRn-ReL0-AEjF-syPN-lz9ZnQ", Path: "/dev/vg0/sn", DMPath: "/dev/mapper/vg0-sn", Size: 314572800, Type: "thin", Attr: "Vwi---tz-k", Pool: "pool", Origin: "th", Major: -1, Minor: -1},
		{VG: "vg-two", VGUUID: "08q2Ya-n8Tq-44ov-ABM3-ekQB-Y8hZ-3NPkUi", Name: "dash-ed", UUID: "yOj4MD-aAIL-eR5K-30hL-L43K-KxY9-nq1VYo", Path: "/dev/vg-two/dash-ed", DMPath: "/dev/mapper/vg--two-dash--ed", Size: 12582912, Type: "linear", Active: true, ReadOnly: true, Attr: "-ri-a-----", Major: 254, Minor: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLookingIsMarkedAsChangingNothing(t *testing.T) {
	client, script := scripted(t, answer{cmd: "vgs ", file: "vgs.json"}, answer{cmd: "lvs ", file: "lvs.json"}, answer{cmd: "pvs ", file: "pvs.json"})
	client.numbers = func(string) (int, int, bool) { return 254, 2, true }
	ctx := t.Context()
	_, _ = client.VGs(ctx)
	_, _ = client.VG(ctx, "vg0")
	_, _ = client.LVs(ctx)
	_, _ = client.LV(ctx, "vg0", "lin")
	_, _ = client.ByTag(ctx, "x")
	_, _ = client.LVByPath(ctx, "/dev/vg0/lin")
	_, _ = client.On(ctx, "/dev/mapper/cr_g")
	if len(script.ran) != 7 || len(script.changes()) != 0 {
		t.Errorf("of %d commands these change something: %q", len(script.ran), script.changes())
	}
}

func TestANameThatCouldBeAnOptionIsNone(t *testing.T) {
	client, script := scripted(t, answer{cmd: "lvs ", stderr: "Failed to find logical volume \"vg0/-rf\""})
	for _, name := range []string{"-rf", "--all", "@tag", "a/b", ""} {
		var missing *NotFoundError
		if _, err := client.LV(t.Context(), "vg0", name); !errors.As(err, &missing) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := client.VG(t.Context(), name); !errors.As(err, &missing) {
			t.Errorf("group %q: %v", name, err)
		}
	}
	if len(script.ran) != 0 {
		t.Errorf("ran %v", script.ran)
	}
}

type runnerFunc func(command.Cmd) (command.Result, error)

func (f runnerFunc) Run(_ context.Context, cmd command.Cmd) (command.Result, error) { return f(cmd) }

func mustRead(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAVolumeIsFoundByAnyNameOfItsDevice(t *testing.T) {
	client, _ := scripted(t, answer{cmd: "lvs ", file: "lvs.json"})
	client.numbers = func(path string) (int, int, bool) { return 254, 1, path == "/dev/dm-1" || path == "/dev/disk/by-id/x" }
	for path, want := range map[string]string{
		"/dev/vg-two/dash-ed": "dash-ed", "/dev/mapper/vg--two-dash--ed": "dash-ed", "/dev/dm-1": "dash-ed", "/dev/disk/by-id/x": "dash-ed",
		"/dev/vg0/sn": "sn", "/dev/mapper/vg0-pool": "pool",
	} {
		if got, err := client.LVByPath(t.Context(), path); err != nil || got.Name != want {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
	for _, path := range []string{"", "/dev/vg0", "/dev/dm-9", "lin", "/var/lib/libvirt/images/a.img"} {
		var missing *NotFoundError
		if got, err := client.LVByPath(t.Context(), path); !errors.As(err, &missing) || missing.Name != path {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
}

// held builds a sysfs in which devices have holders.
func held(t *testing.T, holders map[string]string) string {
	t.Helper()
	sys := t.TempDir()
	for number, uuid := range holders {
		folder := filepath.Join(sys, "dev/block", number, "holders/dm-9/dm")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "uuid"), []byte(uuid+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return sys
}

func TestOnlyTheGuestsGroupThatIsActiveOnOurDeviceIsDeactivated(t *testing.T) {
	for _, test := range []struct {
		claim, device string
		minor         int
		want          []string
	}{
		{"the copy that is active is, by UUID and not by its name, which the host's group has too", "/dev/mapper/cr_g", 2, []string{"vgchange --yes --activate n --select vg_uuid=Ng9bdM-j3Lv-yrM9-YZjd-mAMM-CzQc-lXbM39"}},
		{"a second copy of the same group, of which nothing is active, is not", "/dev/mapper/cr_h", 5, nil},
	} {
		t.Run(test.claim, func(t *testing.T) {
			client, script := scripted(t, answer{cmd: "pvs ", file: "pvs.json"}, answer{cmd: "vgchange "})
			client.numbers = func(string) (int, int, bool) { return 254, test.minor, true }
			client.sys = held(t, map[string]string{"254:2": "LVM-Ng9bdMj3LvyrM9YZjdmAMMCzQclXbM39agQGLf4IIcp1vz5fOvSrzxxxxxxxxxxx", "254:5": "CRYPT-LUKS2-x"})
			if _, err := client.Deactivate(t.Context(), test.device); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(test.want, script.changes()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAGuestsGroupInUseIsSaidToBe(t *testing.T) {
	client, _ := scripted(t, answer{cmd: "pvs ", file: "pvs.json"}, answer{cmd: "vgchange ", stderr: `Logical volume vg0/root contains a filesystem in use.
  Can't deactivate volume group "vg0" with 1 open logical volume(s)`})
	client.numbers = func(string) (int, int, bool) { return 254, 2, true }
	client.sys = held(t, map[string]string{"254:2": "LVM-Ng9bdMj3LvyrM9YZjdmAMMCzQclXbM39agQG"})
	var used *InUseError
	if _, err := client.Deactivate(t.Context(), "/dev/mapper/cr_g"); !errors.As(err, &used) || used.VG != "vg0" || used.Name != "" {
		t.Error(err)
	}
}

func TestWhatIsNoBlockDeviceHasNoGroups(t *testing.T) {
	client, script := scripted(t)
	var missing *NotFoundError
	if _, err := client.On(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.As(err, &missing) {
		t.Error(err)
	}
	if _, err := client.Deactivate(t.Context(), "/dev/null"); !errors.As(err, &missing) {
		t.Error(err)
	}
	if len(script.ran) != 0 {
		t.Errorf("ran %v", script.ran)
	}
}

func TestAReportThatMakesNoSenseIsAnErrorThatNamesTheField(t *testing.T) {
	for field, change := range map[string][2]string{
		"vg_size":        {`"1256194048"`, `"1.2g"`},
		"vg_free_count":  {`"1158"`, `"-1"`},
		"pv_allocatable": {`"pv_allocatable":"1"`, `"pv_allocatable":"allocatable"`},
		"vg_name":        {`"vg_name"`, `"name"`},
	} {
		_, err := parseVGs([]byte(strings.ReplaceAll(mustRead(t, "vgs.json"), change[0], change[1])))
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, text := range []string{"", "{}", "[]", `{"report":[{"vg":{}}]}`, `{"report":[{"vg":[1]}]}`, "Volume group not found", `{"report":null}`} {
		if got, err := parseVGs([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzReport(f *testing.F) {
	for _, file := range []string{"vgs.json", "lvs.json", "pvs.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, report []byte) {
		groups, err := parseVGs(report)
		if err == nil {
			for _, g := range groups {
				if g.Size < 0 || g.Free < 0 || g.FreeExtents < 0 {
					t.Errorf("%+v", g)
				}
			}
		}
		if volumes, err := parseLVs(report); err == nil {
			for _, v := range volumes {
				if v.Size < 0 || v.Major < -1 || v.DataPercent < 0 || v.DataPercent > 100 {
					t.Errorf("%+v", v)
				}
			}
		}
		_ = fmt.Sprint(groups)
	})
}
