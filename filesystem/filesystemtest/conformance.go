package filesystemtest

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vmmigrate/vmmigrate/filesystem"
)

// Env is what Conformance runs against.
type Env struct {
	Client Client
	// Device and Other are block devices of at least 400 MiB that the suite may
	// overwrite, and Folder an empty folder that it may use.
	Device, Other, Folder string
	// Size is that of Device in bytes.
	Size int64
	// Put makes a file, and Link a symbolic link to an empty folder.
	Put, Link func(t *testing.T, path string)
	// Hold uses the file system mounted at dir until release is called.
	Hold func(t *testing.T, dir string) (release func())
}

// Conformance checks what every Client has to do.
func Conformance(t *testing.T, env Env) {
	t.Helper()
	for _, test := range []struct {
		claim string
		run   func(*testing.T, Env)
	}{
		{"a device bears the file system that was made on it last", identified},
		{"what was made is mounted, known by its device, and unmounted", mounted},
		{"what is mounted is not mounted over", over},
		{"a folder with something in it is left alone", full},
		{"a symbolic link is not followed", linked},
		{"only the file system of that device is unmounted", foreign},
		{"what is in use stays mounted, and who uses it is told", held},
		{"a device with nothing on it is not mounted", blank},
		{"a device that is not there is told", missing},
	} {
		t.Run(test.claim, func(t *testing.T) { test.run(t, env) })
	}
}

const uuid, second = "8f9c1a52-31d7-4c07-9a0e-52a1d9a0b3c1", "8f9c1a52-31d7-4c07-9a0e-52a1d9a0b3c2"

// mount makes a file system on a device and mounts it, until the test ends.
func (e Env) mount(t *testing.T, device string, kind filesystem.Type, dir string) {
	t.Helper()
	e.make(t, device, kind, uuid)
	err := e.Client.MakeDir(t.Context(), dir)
	if err == nil {
		err = e.Client.Mount(t.Context(), filesystem.MountSpec{Device: device, Dir: dir, Type: kind})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(e.Client.Unmount(ctx, dir, device), e.Client.RemoveDir(ctx, dir)); err != nil {
			t.Error(err)
		}
	})
}

func (e Env) make(t *testing.T, device string, kind filesystem.Type, uuid string) {
	t.Helper()
	if err := e.Client.Make(t.Context(), filesystem.Spec{Device: device, Size: e.Size, Type: kind, UUID: uuid}); err != nil {
		t.Fatal(err)
	}
}

func (e Env) wantMounts(t *testing.T, device string, want ...string) {
	t.Helper()
	if got, err := e.Client.Mounts(t.Context(), device); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s is mounted at %q and not %q: %v", device, got, want, err)
	}
}

func identified(t *testing.T, env Env) {
	for i, kind := range []filesystem.Type{filesystem.Ext4, filesystem.XFS, filesystem.Ext4} {
		want := []string{uuid, second, uuid}[i]
		env.make(t, env.Device, kind, want)
		if got, err := env.Client.Identify(t.Context(), env.Device); err != nil || !got.Is(kind, want) || got.Is(kind, "x") || got.Is("vfat", want) {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
	}
	if err := env.Client.Make(t.Context(), filesystem.Spec{Device: env.Device, Size: env.Size, Type: "vfat", UUID: uuid}); err == nil {
		t.Error("a file system of another kind was made")
	}
}

func mounted(t *testing.T, env Env) {
	for _, kind := range filesystem.Types {
		t.Run(string(kind), func(t *testing.T) {
			dir := filepath.Join(env.Folder, "a folder, "+string(kind))
			env.wantMounts(t, env.Device)
			env.mount(t, env.Device, kind, dir)
			env.wantMounts(t, env.Device, dir)
			size, free, err := env.Client.Free(t.Context(), dir)
			if err != nil || size > env.Size || size < env.Size/2 || free <= 0 || free > size {
				t.Errorf("%d of %d bytes are free on a device of %d: %v", free, size, env.Size, err)
			}
			if err := env.Client.RemoveDir(t.Context(), dir); err == nil {
				t.Error("a folder that is mounted on was removed")
			}
			if err := env.Client.Unmount(t.Context(), dir, env.Device); err != nil {
				t.Fatal(err)
			}
			env.wantMounts(t, env.Device)
			if err := env.Client.Unmount(t.Context(), dir, env.Device); err != nil {
				t.Errorf("what is not mounted: %v", err)
			}
		})
	}
}

func over(t *testing.T, env Env) {
	dir := filepath.Join(env.Folder, "over")
	env.mount(t, env.Device, filesystem.Ext4, dir)
	env.make(t, env.Other, filesystem.Ext4, second)
	env.Put(t, filepath.Join(dir, "file"))
	var bad *filesystem.DirError
	err := env.Client.Mount(t.Context(), filesystem.MountSpec{Device: env.Other, Dir: dir, Type: filesystem.Ext4})
	if !errors.As(err, &bad) || bad.Dir != dir {
		t.Errorf("%v", err)
	}
	if err := env.Client.MakeDir(t.Context(), dir); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	env.wantMounts(t, env.Device, dir)
}

func full(t *testing.T, env Env) {
	dir := filepath.Join(env.Folder, "full")
	if err := env.Client.MakeDir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := env.Client.MakeDir(t.Context(), dir); err != nil {
		t.Errorf("an empty one: %v", err)
	}
	env.Put(t, filepath.Join(dir, "file"))
	env.make(t, env.Device, filesystem.Ext4, uuid)
	var bad *filesystem.DirError
	if err := env.Client.MakeDir(t.Context(), dir); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	if err := env.Client.Mount(t.Context(), filesystem.MountSpec{Device: env.Device, Dir: dir, Type: filesystem.Ext4}); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	if err := env.Client.RemoveDir(t.Context(), dir); err == nil {
		t.Error("a folder with something in it was removed")
	}
	if err := env.Client.RemoveDir(t.Context(), filepath.Join(env.Folder, "none")); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func linked(t *testing.T, env Env) {
	dir := filepath.Join(env.Folder, "link")
	env.Link(t, dir)
	env.make(t, env.Device, filesystem.Ext4, uuid)
	var bad *filesystem.DirError
	if err := env.Client.MakeDir(t.Context(), dir); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	if err := env.Client.Mount(t.Context(), filesystem.MountSpec{Device: env.Device, Dir: dir, Type: filesystem.Ext4}); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	env.wantMounts(t, env.Device)
}

func foreign(t *testing.T, env Env) {
	dir := filepath.Join(env.Folder, "foreign")
	env.mount(t, env.Device, filesystem.Ext4, dir)
	if err := env.Client.Unmount(t.Context(), dir, env.Other); err != nil {
		t.Errorf("%v", err)
	}
	env.wantMounts(t, env.Device, dir)
	env.wantMounts(t, env.Other)
}

func held(t *testing.T, env Env) {
	dir := filepath.Join(env.Folder, "held")
	env.mount(t, env.Device, filesystem.Ext4, dir)
	release := env.Hold(t, dir)
	var busy *filesystem.BusyError
	if err := env.Client.Unmount(t.Context(), dir, env.Device); !errors.As(err, &busy) || busy.Dir != dir || len(busy.Holders) == 0 {
		t.Errorf("%v", err)
	}
	env.wantMounts(t, env.Device, dir)
	release()
	if err := env.Client.Unmount(t.Context(), dir, env.Device); err != nil {
		t.Error(err)
	}
}

func blank(t *testing.T, env Env) {
	dir := filepath.Join(env.Folder, "blank")
	if err := env.Client.MakeDir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	env.make(t, env.Device, filesystem.XFS, uuid)
	var failed *filesystem.MountError
	err := env.Client.Mount(t.Context(), filesystem.MountSpec{Device: env.Device, Dir: dir, Type: filesystem.Ext4})
	if !errors.As(err, &failed) || failed.Device != env.Device {
		t.Errorf("%v", err)
	}
	if err := env.Client.RemoveDir(t.Context(), dir); err != nil {
		t.Error(err)
	}
}

func missing(t *testing.T, env Env) {
	none := env.Device + "-none"
	_, err := env.Client.Mounts(t.Context(), none)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := env.Client.Unmount(t.Context(), filepath.Join(env.Folder, "x"), none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := env.Client.Identify(t.Context(), none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
