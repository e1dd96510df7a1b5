package lvm

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

const looks = "vgs "

func TestAVolumeIsMadeByOneCommandThatTagsAndWipes(t *testing.T) {
	for _, test := range []struct {
		claim string
		spec  Spec
		want  string
	}{
		{
			"linear",
			Spec{VG: "vg0", Name: "lin", Size: 41943040, Tags: []string{"vmmigrate.job=abc", "b"}},
			"lvcreate --yes --wipesignatures y --type linear --size 41943040b --addtag=vmmigrate.job=abc --addtag=b --name=lin -- vg0",
		},
		{
			"striped over two disks when not told",
			Spec{VG: "vg0", Name: "lin", Size: 41943040, Type: Striped},
			"lvcreate --yes --wipesignatures y --type striped --stripes 2 --size 41943040b --name=lin -- vg0",
		},
		{
			"a mirror on given disks",
			Spec{VG: "vg0", Name: "lin", Size: 41943040, Type: RAID1, Mirrors: 2, PVs: []string{"/dev/ubda", "/dev/ubdb"}},
			"lvcreate --yes --wipesignatures y --type raid1 --mirrors 2 --size 41943040b --name=lin -- vg0 /dev/ubda /dev/ubdb",
		},
		{
			"a striped mirror",
			Spec{VG: "vg0", Name: "lin", Size: 41943040, Type: RAID10, Stripes: 4},
			"lvcreate --yes --wipesignatures y --type raid10 --stripes 4 --mirrors 1 --size 41943040b --name=lin -- vg0",
		},
		{
			"thin",
			Spec{VG: "vg0", Name: "lin", Size: 41943040, Type: Thin, ThinPool: "pool"},
			"lvcreate --yes --wipesignatures y --type thin --thinpool=pool --virtualsize 41943040b --name=lin -- vg0",
		},
	} {
		t.Run(test.claim, func(t *testing.T) {
			client, script := scripted(t, vg0Only(t)...)
			if made, err := client.Create(t.Context(), test.spec); err != nil || made.UUID == "" {
				t.Errorf("%+v, %v", made, err)
			}
			if diff := cmp.Diff([]string{test.want}, script.changes()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// vg0Only answers with a group and a volume that was made.
func vg0Only(t *testing.T) []answer {
	t.Helper()
	return []answer{{cmd: looks, file: "vg0.json"}, {cmd: "lvcreate "}, {cmd: "lvs ", file: "lin.json"}}
}

func TestWhatLvcreateWouldRoundOrRefuseIsNotTried(t *testing.T) {
	for claim, spec := range map[string]Spec{
		"a size of no whole extents":  {VG: "vg0", Name: "a", Size: 1<<20 + 512},
		"a size of no whole stripes":  {VG: "vg0", Name: "a", Size: 3 << 20, Type: Striped},
		"no size":                     {VG: "vg0", Name: "a"},
		"a thin volume of no pool":    {VG: "vg0", Name: "a", Size: 1 << 20, Type: Thin},
		"an unknown layout":           {VG: "vg0", Name: "a", Size: 1 << 20, Type: "raid0"},
		"a name with a dash in front": {VG: "vg0", Name: "-rf", Size: 1 << 20},
		"a group of no name":          {Name: "a", Size: 1 << 20},
	} {
		client, script := scripted(t, vg0Only(t)...)
		if _, err := client.Create(t.Context(), spec); err == nil {
			t.Errorf("%s is made", claim)
		}
		if len(script.changes()) != 0 {
			t.Errorf("%s: ran %q", claim, script.changes())
		}
	}
}

func TestAGroupThatTakesNoVolumesIsRefusedWithTheReason(t *testing.T) {
	for field, word := range map[string]string{`"vg_exported":"0"`: "exported", `"vg_partial":"0"`: "missing", `"vg_shared":"0"`: "shared", `"vg_clustered":"0"`: "shared", `"vg_permissions":"writeable"`: "read-only"} {
		text := strings.ReplaceAll(mustRead(t, "vg0.json"), field, strings.NewReplacer(`"0"`, `"1"`, "writeable", "read-only").Replace(field))
		runner := runnerFunc(func(cmd command.Cmd) (command.Result, error) {
			if !cmd.ReadOnly {
				t.Errorf("ran %s", cmd)
			}
			return command.Result{Stdout: []byte(text)}, nil
		})
		if _, err := New(runner).Create(t.Context(), Spec{VG: "vg0", Name: "a", Size: 1 << 20}); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestLvcreatesWordsAreUnderstood(t *testing.T) {
	const mib = 1 << 20
	for words, want := range map[string]error{
		`  Logical Volume "a" already exists in volume group "vg0"`:                                                   &ExistsError{VG: "vg0", Name: "a"},
		`Volume group "vg0" has insufficient free space (559 extents): 40960 required.`:                               &NoSpaceError{VG: "vg0", Need: 40960 * mib, Free: 559 * mib},
		`Insufficient free space: 1196 extents needed, but only 1158 available`:                                       &NoSpaceError{VG: "vg0", Need: 1196 * mib, Free: 1158 * mib},
		`Insufficient suitable allocatable extents for logical volume a: 10 more required`:                            &NoSpaceError{VG: "vg0", Need: 8 * mib, Free: 1158 * mib},
		"Using default stripesize 64.00 KiB.\n  Number of stripes (2) must not exceed number of physical volumes (1)": &NoSpaceError{VG: "vg0", Need: 8 * mib, Free: 1158 * mib},
		"Volume group \"vg0\" not found\n  Cannot process volume group vg0":                                           &NotFoundError{Kind: "volume group", Name: "vg0"},
		`Physical Volume "/dev/nosuch" not found in Volume Group "vg0".`:                                              &NotFoundError{Kind: "physical volume", Name: "/dev/nosuch"},
		`Pool nopool not found in Volume group vg0.`:                                                                  &NotFoundError{Kind: "thin pool", Name: "vg0/nopool"},
	} {
		client, _ := scripted(t, answer{cmd: looks, file: "vg0.json"}, answer{cmd: "lvcreate ", stderr: words})
		_, err := client.Create(t.Context(), Spec{VG: "vg0", Name: "a", Size: 8 * mib})
		if diff := cmp.Diff(want, err); diff != "" {
			t.Errorf("%s\n%s", words, diff)
		}
	}
}

func TestWordsOfNoMeaningStayTheCommandsOwnError(t *testing.T) {
	client, _ := scripted(t, answer{cmd: looks, file: "vg0.json"}, answer{cmd: "lvcreate ", stderr: "device-mapper: create ioctl failed"})
	var said *command.Error
	if _, err := client.Create(t.Context(), Spec{VG: "vg0", Name: "a", Size: 8 << 20}); !errors.As(err, &said) || said.ExitCode != failed {
		t.Error(err)
	}
	// The same words mean nothing when another exit code came with them.
	other := &command.Error{ExitCode: 3, Stderr: `Volume group "vg0" not found`}
	if err := recognise(other, "vg0", ""); !errors.Is(err, other) {
		t.Error(err)
	}
	if full := noSpace(other, VG{}, 1); full != nil {
		t.Error(full)
	}
}

func TestAVolumeOfAnotherSizeThanAskedIsAnError(t *testing.T) {
	client, _ := scripted(t, vg0Only(t)...)
	if made, err := client.Create(t.Context(), Spec{VG: "vg0", Name: "lin", Size: 8 << 20}); err == nil || made.Size != 41943040 {
		t.Errorf("%+v, %v", made, err)
	}
}

func TestAVolumeIsRemovedByTagAndUUID(t *testing.T) {
	client, script := scripted(t, answer{cmd: "lvs ", file: "lin.json"}, answer{cmd: "lvremove "})
	if err := client.Remove(t.Context(), "vg0", "lin", "vmmigrate.job=abc"); err != nil {
		t.Error(err)
	}
	want := []string{"lvremove --yes --select lv_uuid=OLlazq-1mMg-foYB-cjtb-sWKL-67hi-y5LZdX"}
	if diff := cmp.Diff(want, script.changes()); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutTheTagNothingIsRemoved(t *testing.T) {
	client, script := scripted(t, answer{cmd: "lvs ", file: "lin.json"}, answer{cmd: "lvremove "})
	for _, tag := range []string{"", "vmmigrate.job=other", "vmmigrate.job=ab", "vmmigrate.job=abc,second"} {
		err := client.Remove(t.Context(), "vg0", "lin", tag)
		want := error(&NotOursError{VG: "vg0", Name: "lin", Tag: tag, Tags: []string{"second", "vmmigrate.job=abc"}})
		if diff := cmp.Diff(want, err); diff != "" {
			t.Error(diff)
		}
	}
	if len(script.changes()) != 0 {
		t.Errorf("ran %q", script.changes())
	}
}

func TestRemovingSettlesWithWhatIsThere(t *testing.T) {
	for words, want := range map[string]error{
		"": nil,
		`Failed to find logical volume "vg0/lin"`:           nil,
		"Logical volume vg0/lin is used by another device.": &InUseError{VG: "vg0", Name: "lin"},
		"Logical volume vg0/lin in use.":                    &InUseError{VG: "vg0", Name: "lin"},
		"Can't remove locked logical volume vg0/lin.":       &MovingError{VG: "vg0", Name: "lin"},
	} {
		client, _ := scripted(t, answer{cmd: "lvs ", file: "lin.json"}, answer{cmd: "lvremove ", stderr: words})
		if diff := cmp.Diff(want, client.Remove(t.Context(), "vg0", "lin", "vmmigrate.job=abc")); diff != "" {
			t.Errorf("%q\n%s", words, diff)
		}
	}
	client, script := scripted(t, answer{cmd: "lvs ", file: "lin.json"})
	if err := client.Remove(t.Context(), "vg0", "gone", "x"); err != nil || len(script.changes()) != 0 {
		t.Errorf("%v, ran %q", err, script.changes())
	}
}

// What bears no tag of ours goes only if it still is the very volume that is meant.
func TestAVolumeThatIsMeantByItsUUIDIsRemovedIfNothingElseOfItChanged(t *testing.T) {
	client, script := scripted(t, answer{cmd: "lvs ", file: "lin.json"}, answer{cmd: "lvremove "})
	all, err := client.LVs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	is := all[0]
	for _, other := range []LV{{VG: "vg1", Name: is.Name, Size: is.Size}, {VG: is.VG, Name: "other", Size: is.Size}, {VG: is.VG, Name: is.Name, Size: is.Size + 1}} {
		var changed *ChangedError
		if err := client.RemoveExactly(t.Context(), other.VG, other.Name, is.UUID, other.Size); !errors.As(err, &changed) || changed.Now.UUID != is.UUID {
			t.Errorf("%+v: %v", other, err)
		}
	}
	if err := client.RemoveExactly(t.Context(), is.VG, is.Name, "another", is.Size); err != nil || len(script.changes()) != 0 {
		t.Errorf("%v, ran %q", err, script.changes())
	}
	if err := client.RemoveExactly(t.Context(), is.VG, is.Name, is.UUID, is.Size); err != nil {
		t.Error(err)
	}
	if want := []string{"lvremove --yes --select lv_uuid=" + is.UUID}; !cmp.Equal(script.changes(), want) {
		t.Errorf("ran %q", script.changes())
	}
	client, _ = scripted(t, answer{cmd: "lvs ", file: "lin.json"}, answer{cmd: "lvremove ", stderr: "Logical volume vg0/lin in use."})
	var used *InUseError
	if err := client.RemoveExactly(t.Context(), is.VG, is.Name, is.UUID, is.Size); !errors.As(err, &used) {
		t.Error(err)
	}
}

func TestErrorsSayWhatIsTheMatter(t *testing.T) {
	for err, want := range map[error]string{
		&NotFoundError{Kind: "volume group", Name: "x"}:                  `there is no volume group "x"`,
		&ExistsError{VG: "a", Name: "b"}:                                 `volume group "a" already has a logical volume "b"`,
		&NoSpaceError{VG: "a", Need: 2, Free: 1}:                         `volume group "a" has not enough room: 2 bytes are needed and 1 can be used`,
		&NoSpaceError{VG: "a", Pool: "p", Need: 2}:                       `thin pool "a/p" has not enough room: 2 bytes are needed and 0 can be used`,
		&NotOursError{VG: "a", Name: "b", Tag: "t", Tags: []string{"u"}}: `logical volume "a/b" does not bear the tag "t" (it bears ["u"]), so it is not ours to remove`,
		&InUseError{VG: "a", Name: "b"}:                                  `logical volume "a/b" is in use`,
		&InUseError{VG: "a"}:                                             `a logical volume of volume group "a" is in use`,
		&NameError{Name: "-", Reason: "it starts with a dash"}:           `"-" can't be an LVM name: it starts with a dash`,
	} {
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	}
}

// With --yes lvremove takes a volume's snapshots along. One in a thin pool, and
// the hidden part of a volume with a cache, are none that would go.
func TestAVolumeWithSnapshotsIsKeptWithThem(t *testing.T) {
	for origin, want := range map[string]error{
		`"pool_lv":"", "origin":"lin"`:                    &SnapshotError{VG: "vg0", Name: "lin", Snapshots: []string{"sn"}},
		`"pool_lv":"pool", "origin":"lin"`:                nil,
		`"pool_lv":"[fast_cvol]", "origin":"[lin_corig]"`: nil,
	} {
		text := strings.ReplaceAll(mustRead(t, "lvs.json"), `"pool_lv":"pool", "origin":"th"`, origin)
		removed := 0
		client := New(runnerFunc(func(cmd command.Cmd) (command.Result, error) {
			if cmd.Name == "lvremove" {
				removed++
			}
			return command.Result{Stdout: []byte(text)}, nil
		}))
		all, err := client.LVs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, client.Remove(t.Context(), "vg0", "lin", "vmmigrate.job=abc")); diff != "" {
			t.Errorf("%s\n%s", origin, diff)
		}
		if diff := cmp.Diff(want, client.RemoveExactly(t.Context(), "vg0", "lin", all[0].UUID, all[0].Size)); diff != "" {
			t.Errorf("%s\n%s", origin, diff)
		}
		if gone := map[bool]int{true: 2}[want == nil]; removed != gone {
			t.Errorf("%s: %d were removed", origin, removed)
		}
	}
}
