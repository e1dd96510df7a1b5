package lvmtest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// Env is what Conformance runs against.
type Env struct {
	Client Client
	// VG is a group with at least 64 MiB free, all of which the suite may
	// use; it leaves it as it was.
	VG string
}

// Conformance checks what every Client has to do. It needs no more than one
// disk in the group.
func Conformance(t *testing.T, env Env) {
	t.Helper()
	for _, test := range []struct {
		claim string
		run   func(*testing.T, Env)
	}{
		{"a volume that was made is listed with all it was made with", made},
		{"a volume is found by its tag, its name and its path", found},
		{"a name that is taken is refused and the volume kept", taken},
		{"a volume that does not fit is refused with the numbers and nothing made", full},
		{"a volume takes from its group just what Size said", cost},
		{"only a volume that bears the tag is removed", ours},
		{"removing what is not there is no error", gone},
		{"what is not there is a *NotFoundError of its kind", missing},
		{"names LVM does not take are refused before it is asked", names},
		{"a device that is no guest's disk has no groups on it", bare},
	} {
		t.Run(test.claim, func(t *testing.T) { test.run(t, env) })
	}
}

const tag = "vmmigrate.job=conformance"

// make is a volume of so many bytes of payload, removed when the test ends.
func (e Env) make(t *testing.T, name string, payload int64) lvm.LV {
	t.Helper()
	volume, err := e.Client.Create(t.Context(), e.spec(t, name, payload))
	if err != nil {
		t.Fatalf("make %s: %v", name, err)
	}
	e.cleanup(t, name)
	return volume
}

func (e Env) cleanup(t *testing.T, name string) {
	t.Cleanup(func() {
		if err := e.Client.Remove(context.WithoutCancel(t.Context()), e.VG, name, tag); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	})
}

func (e Env) spec(t *testing.T, name string, payload int64) lvm.Spec {
	t.Helper()
	sizing, err := lvm.Size(lvm.SizeRequest{Payload: payload, VG: e.group(t)})
	if err != nil {
		t.Fatalf("size %s: %v", name, err)
	}
	return lvm.Spec{VG: e.VG, Name: name, Size: sizing.Size, Tags: []string{tag, "second"}}
}

func (e Env) group(t *testing.T) lvm.VG {
	t.Helper()
	group, err := e.Client.VG(t.Context(), e.VG)
	if err != nil {
		t.Fatalf("look at %s: %v", e.VG, err)
	}
	return group
}

func made(t *testing.T, env Env) {
	volume := env.make(t, "con-made_1.x+y", 5_000_000)
	listed, err := env.Client.LV(t.Context(), env.VG, "con-made_1.x+y")
	if err != nil {
		t.Fatal(err)
	}
	if volume.UUID == "" || listed.UUID != volume.UUID {
		t.Errorf("made UUID %q, listed %q", volume.UUID, listed.UUID)
	}
	if listed.Path != "/dev/"+env.VG+"/con-made_1.x+y" || listed.Type != "linear" || !listed.Active || listed.Open || listed.ReadOnly {
		t.Errorf("listed as %+v", listed)
	}
	if listed.Size < 5_000_000 || listed.Size%env.group(t).ExtentSize != 0 {
		t.Errorf("listed with %d bytes", listed.Size)
	}
	if !listed.HasTag(tag) || !listed.HasTag("second") || len(listed.Tags) != 2 {
		t.Errorf("listed with the tags %q", listed.Tags)
	}
}

func found(t *testing.T, env Env) {
	volume := env.make(t, "con-found", 1<<20)
	tagged, err := env.Client.ByTag(t.Context(), tag)
	if err != nil || len(tagged) != 1 || tagged[0].UUID != volume.UUID {
		t.Errorf("by tag: %+v, %v", tagged, err)
	}
	if none, err := env.Client.ByTag(t.Context(), "vmmigrate.job=other"); err != nil || len(none) != 0 {
		t.Errorf("by another tag: %+v, %v", none, err)
	}
	for _, path := range []string{volume.Path, volume.DMPath} {
		if one, err := env.Client.LVByPath(t.Context(), path); err != nil || one.UUID != volume.UUID {
			t.Errorf("by %s: %+v, %v", path, one, err)
		}
	}
	all, err := env.Client.LVs(t.Context())
	if err != nil || !slices.ContainsFunc(all, func(v lvm.LV) bool { return v.UUID == volume.UUID }) {
		t.Errorf("not among all: %v, %v", all, err)
	}
}

func taken(t *testing.T, env Env) {
	volume := env.make(t, "con-taken", 1<<20)
	_, err := env.Client.Create(t.Context(), env.spec(t, "con-taken", 2<<20))
	var exists *lvm.ExistsError
	if !errors.As(err, &exists) || exists.VG != env.VG || exists.Name != "con-taken" {
		t.Errorf("made again: %v", err)
	}
	if now, err := env.Client.LV(t.Context(), env.VG, "con-taken"); err != nil || now.UUID != volume.UUID || now.Size != volume.Size {
		t.Errorf("became %+v, %v", now, err)
	}
}

func full(t *testing.T, env Env) {
	group := env.group(t)
	need := group.Free + max(group.ExtentSize, 4096)
	_, err := env.Client.Create(t.Context(), lvm.Spec{VG: env.VG, Name: "con-full", Size: need, Tags: []string{tag}})
	var full *lvm.NoSpaceError
	if !errors.As(err, &full) || full.VG != env.VG || full.Need != need || full.Free != group.Free {
		t.Errorf("made: %v (need %d, free %d)", err, need, group.Free)
	}
	if left, err := env.Client.ByTag(t.Context(), tag); err != nil || len(left) != 0 {
		t.Errorf("left behind: %+v, %v", left, err)
	}
	exact, err := env.Client.Create(t.Context(), lvm.Spec{VG: env.VG, Name: "con-exact", Size: group.Free, Tags: []string{tag}})
	if err != nil || exact.Size != group.Free {
		t.Fatalf("all that is free: %+v, %v", exact, err)
	}
	env.cleanup(t, "con-exact")
}

func cost(t *testing.T, env Env) {
	before := env.group(t)
	sizing, err := lvm.Size(lvm.SizeRequest{Payload: 3_333_333, Header: 16 << 20, VG: before})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Client.Create(t.Context(), lvm.Spec{VG: env.VG, Name: "con-cost", Size: sizing.Size, Tags: []string{tag}}); err != nil {
		t.Fatal(err)
	}
	env.cleanup(t, "con-cost")
	if after := env.group(t); before.FreeExtents-after.FreeExtents != sizing.Extents {
		t.Errorf("took %d extents, Size said %d", before.FreeExtents-after.FreeExtents, sizing.Extents)
	}
}

func ours(t *testing.T, env Env) {
	volume := env.make(t, "con-ours", 1<<20)
	for _, other := range []string{"vmmigrate.job=other", "", "vmmigrate.job"} {
		err := env.Client.Remove(t.Context(), env.VG, "con-ours", other)
		var not *lvm.NotOursError
		if !errors.As(err, &not) || not.Name != "con-ours" || not.Tag != other || len(not.Tags) != 2 {
			t.Errorf("remove with tag %q: %v", other, err)
		}
	}
	if now, err := env.Client.LV(t.Context(), env.VG, "con-ours"); err != nil || now.UUID != volume.UUID {
		t.Errorf("became %+v, %v", now, err)
	}
}

func gone(t *testing.T, env Env) {
	env.make(t, "con-gone", 1<<20)
	for range 2 {
		if err := env.Client.Remove(t.Context(), env.VG, "con-gone", tag); err != nil {
			t.Error(err)
		}
	}
	if err := env.Client.Remove(t.Context(), "con-no-such-group", "x", tag); err != nil {
		t.Error(err)
	}
}

func missing(t *testing.T, env Env) {
	var not *lvm.NotFoundError
	if _, err := env.Client.VG(t.Context(), "con-no-such-group"); !errors.As(err, &not) || not.Kind != "volume group" {
		t.Errorf("group: %v", err)
	}
	if _, err := env.Client.LV(t.Context(), env.VG, "con-none"); !errors.As(err, &not) || not.Kind != "logical volume" {
		t.Errorf("volume: %v", err)
	}
	for _, path := range []string{"", "/dev/null", "/dev/" + env.VG, "/dev/" + env.VG + "/con-none", "/etc/passwd"} {
		if v, err := env.Client.LVByPath(t.Context(), path); !errors.As(err, &not) {
			t.Errorf("path %q: %+v, %v", path, v, err)
		}
	}
	if _, err := env.Client.Create(t.Context(), lvm.Spec{VG: "con-no-such-group", Name: "x", Size: 64 << 20}); !errors.As(err, &not) || not.Kind != "volume group" {
		t.Errorf("made in no group: %v", err)
	}
	spec := env.spec(t, "con-thin", 1<<20)
	spec.Type, spec.ThinPool = lvm.Thin, "con-no-pool"
	if _, err := env.Client.Create(t.Context(), spec); !errors.As(err, &not) || not.Kind != "thin pool" {
		t.Errorf("made in no pool: %v", err)
	}
	spec = env.spec(t, "con-pv", 1<<20)
	spec.PVs = []string{"/dev/no-such-disk"}
	if _, err := env.Client.Create(t.Context(), spec); !errors.As(err, &not) || not.Kind != "physical volume" {
		t.Errorf("made on no disk: %v", err)
	}
}

func names(t *testing.T, env Env) {
	for _, name := range []string{"-rf", "", ".", "täst", "a b", "x_mlog", "snapshot1", "@tag", "a/b", "../x"} {
		_, err := env.Client.Create(t.Context(), env.spec(t, name, 1<<20))
		var bad *lvm.NameError
		if !errors.As(err, &bad) || bad.Name != name {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func bare(t *testing.T, env Env) {
	volume := env.make(t, "con-bare", 1<<20)
	groups, err := env.Client.On(t.Context(), volume.Path)
	if err != nil || len(groups) != 0 {
		t.Errorf("on it: %+v, %v", groups, err)
	}
	if done, err := env.Client.Deactivate(t.Context(), volume.Path); err != nil || len(done) != 0 {
		t.Errorf("deactivated %q, %v", done, err)
	}
}
