package migrate

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/luks"
)

// withImage has the VM imap, off, with one qcow2 disk that is to stay one.
func withImage(t *testing.T) *world {
	t.Helper()
	w := newWorldIn(t, scratch(t), 4096*3+512)
	w.layout = FilesystemLayout
	w.virt = newDomains()
	nvram := filepath.Join(w.files, "imap_VARS.fd")
	disk := strings.Replace(rawDisk("vda", "/dev/vg0/imap", ""), "type='raw'", "type='qcow2'", 1)
	w.virt.add(t, definition("imap", imapUUID, "<nvram>"+nvram+"</nvram>", disk+cdrom))
	w.chains = map[string]image.Chain{"/dev/vg0/imap": {{Path: "/dev/vg0/imap", Format: image.QCOW2, Block: true, Size: 4096*3 + 512, Cluster: 64 << 10}}}
	return w
}

// content names what lies on a payload: on a mapping's, until its volume is
// formatted anew or gone.
func (w *world) content(device string) (string, error) {
	mapping, err := w.luks.Mapping(context.Background(), strings.TrimPrefix(device, "/dev/mapper/"))
	if err != nil {
		return "", fs.ErrNotExist
	}
	return mapping.Device, nil
}

// forget drops all that lay in a volume. The caller holds mu.
func (w *world) forget(device string) {
	delete(w.payloads, device)
	delete(w.images, device)
	w.fs.Forget(device)
}

// on is the volume whose file system a path lies on, and the path's own name;
// nothing is mounted there where it is "".
func (w *world) on(path string) (device, name string) {
	mapping, _ := w.fs.At(filepath.Dir(path))
	if mapping == "" {
		return "", ""
	}
	device, err := w.content(mapping)
	if err != nil {
		return "", ""
	}
	return device, filepath.Base(path)
}

// image is the image at a path.
func (w *world) image(path string) *payload {
	device, name := w.on(path)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.images[device][name]
}

// filesystems implements Filesystems.
type filesystems struct{ w *world }

var _ Filesystems = filesystems{}

func (f filesystems) Make(ctx context.Context, spec filesystem.Spec) error {
	return does(f.w, "act: mkfs", func() error {
		f.w.mustIntend(MakeFilesystem)
		device, err := f.w.content(spec.Device)
		if err != nil {
			return err
		}
		f.w.mu.Lock()
		delete(f.w.images, device)
		f.w.mu.Unlock()
		return f.w.fs.Make(ctx, spec)
	})
}

func (f filesystems) Identify(ctx context.Context, device string) (filesystem.Identity, error) {
	return port(f.w, "fs: identify", func() (filesystem.Identity, error) { return f.w.fs.Identify(ctx, device) })
}

func (f filesystems) MakeDir(ctx context.Context, dir string) error {
	return does(f.w, "act: mkdir", func() error {
		f.w.mustIntend(Mount)
		return f.w.fs.MakeDir(ctx, dir)
	})
}

func (f filesystems) RemoveDir(ctx context.Context, dir string) error {
	return does(f.w, "act: rmdir", func() error {
		f.w.mustIntend(Mount)
		return f.w.fs.RemoveDir(ctx, dir)
	})
}

func (f filesystems) Mount(ctx context.Context, spec filesystem.MountSpec) error {
	return does(f.w, "act: mount", func() error {
		f.w.mustIntend(Mount)
		return f.w.fs.Mount(ctx, spec)
	})
}

func (f filesystems) Mounts(ctx context.Context, device string) ([]string, error) {
	return port(f.w, "fs: mounts", func() ([]string, error) { return f.w.fs.Mounts(ctx, device) })
}

func (f filesystems) Unmount(ctx context.Context, dir, device string) error {
	return does(f.w, "act: unmount", func() error {
		f.w.mustIntend(Mount, Open, Close)
		return f.w.fs.Unmount(ctx, dir, device)
	})
}

// worldImages implements Images.
type worldImages struct{ w *world }

var _ Images = worldImages{}

func (i worldImages) CreateImage(_ context.Context, path string, spec image.NewSpec) error {
	return does(i.w, "act: create image", func() error {
		i.w.mustIntend(CreateImage, Copy)
		device, name := i.w.on(path)
		if device == "" {
			return &fs.PathError{Op: "create", Path: path, Err: fs.ErrNotExist}
		}
		// Its header may be in a file: what is mounted is open.
		mappings, err := i.w.luks.Mappings(context.Background())
		if err != nil {
			return err
		}
		at := slices.IndexFunc(mappings, func(m luks.Mapping) bool { return m.Device == device })
		i.w.mu.Lock()
		defer i.w.mu.Unlock()
		if i.w.images[device] == nil {
			i.w.images[device] = make(map[string]*payload)
		}
		i.w.images[device][name] = &payload{header: mappings[at].UUID, live: make([]byte, spec.Size), synced: make([]byte, spec.Size)}
		return nil
	})
}

func (i worldImages) MendImage(_ context.Context, path string) error {
	return does(i.w, "act: mend image", func() error {
		i.w.mustIntend(Copy)
		p := i.w.image(path)
		if p == nil {
			return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.torn {
			return &image.Error{Path: path, Reason: "is damaged: its tables point nowhere"}
		}
		return nil
	})
}

func (i worldImages) NeededFor(_ context.Context, chain image.Chain, _ image.NewSpec) (int64, error) {
	return port(i.w, "image: measure", func() (int64, error) { return chain[0].Size, nil })
}

// moveImage and removeImage are Files' for a path on a file system of ours.
func (w *world) moveImage(from, to string) error {
	w.mustIntend(CreateImage, Copy)
	device, name := w.on(from)
	w.mu.Lock()
	defer w.mu.Unlock()
	images := w.images[device]
	if images[filepath.Base(to)] != nil {
		return fs.ErrExist
	}
	images[filepath.Base(to)] = images[name]
	delete(images, name)
	return nil
}

func (w *world) removeImage(path string) error {
	w.mustIntend(CreateImage, Copy)
	device, name := w.on(path)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.images[device], name)
	return nil
}

// isImage says whether a path is where file systems are mounted.
func isImage(path string) bool { return strings.HasPrefix(path, MountDir+"/") }

// imageOf is the copy of a disk that stays an image, whether it can be reached or
// not. The caller holds mu.
func (w *world) imageOf(disk *DiskPlan) *payload {
	return w.images[w.luks.Resolve(disk.Volume.Path)][filepath.Base(disk.Filesystem.Image)]
}

func TestAnImageThatAPowerCutDamagedIsCopiedAnew(t *testing.T) {
	w := withImage(t)
	before := w.look()
	plan := w.planned()
	w.during = func(context.Context, StepName) { w.broken.Store(true) }
	if _, err := w.run(plan, ""); err == nil {
		t.Fatal("the copy did not fail")
	}
	w.during = nil
	w.broken.Store(false)
	w.cutPower()
	for _, images := range w.images {
		for _, p := range images {
			p.torn = true
		}
	}
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	said := false
	for _, event := range w.events {
		said = said || event.Event == Warning && strings.Contains(event.Message, "the copy begins anew") && strings.Contains(event.Message, "is damaged")
	}
	if !said {
		t.Error("nobody is told")
	}
	w.wantMoved(before, plan, "resumed")
}

func TestAMountPointThatSomebodyUsesKeepsARollbackFromGoingOn(t *testing.T) {
	w := withImage(t)
	before := w.look()
	plan := w.planned()
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	w.disarm()
	mount := plan.Disks[0].Filesystem.Mount
	w.fs.Hold(mount, "process 4711 (sh)")
	err := w.rollback(plan.Job, false)
	if err == nil || !strings.Contains(err.Error(), mount) || !strings.Contains(err.Error(), "process 4711 (sh)") {
		t.Fatalf("%v", err)
	}
	w.fs.Hold(mount)
	w.mustRollback(plan.Job, "let go")
	w.wantSame(before, "let go")
}

func TestWhatSomebodyPutOnTheMountPointStays(t *testing.T) {
	w := withImage(t)
	plan := w.planned()
	w.disarm()
	mount := plan.Disks[0].Filesystem.Mount
	w.heard = func(event Event) {
		if event.Event == StepDone && event.Step == Open {
			w.fs.Put(mount + "/theirs")
		}
	}
	if _, err := w.run(plan, ""); err == nil || !strings.Contains(err.Error(), "has something in it") {
		t.Fatalf("%v", err)
	}
	if dirs := w.fs.Dirs(); len(dirs) != 1 || dirs[0] != mount || len(w.jobs()) > 0 {
		t.Errorf("left are %v and %v", dirs, w.jobs())
	}
}

func TestASnapshotKeepsARollbackFromTakingItAlong(t *testing.T) {
	w := withImage(t)
	plan := w.planned()
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	w.disarm()
	for device := range w.images {
		w.images[device]["vda.before-update"] = &payload{}
		var started *CloneStartedError
		if err := w.rollback(plan.Job, false); !errors.As(err, &started) || !strings.Contains(started.Evidence, "vda.before-update beside its image") {
			t.Errorf("%v", err)
		}
		delete(w.images[device], "vda.before-update")
	}
	w.mustRollback(plan.Job, "without it")
}

// An image that a clone was defined on is not made anew, whatever is the matter
// with it: it is the guest's by then.
func TestAnImageThatACloneWasDefinedOnIsNotMadeAnew(t *testing.T) {
	w := withImage(t)
	plan := w.undefined(t)
	for _, images := range w.images {
		for _, p := range images {
			p.torn = true
		}
	}
	var wrote *GuestWroteError
	if _, err := w.resume(plan.Job); !errors.As(err, &wrote) || !strings.Contains(wrote.Error(), plan.Disks[0].Filesystem.Image) {
		t.Errorf("%v", err)
	}
	if p := w.image(plan.Disks[0].Filesystem.Image); p == nil || !p.torn {
		t.Error("the image was made anew")
	}
}

func TestAFileSystemThatACloneWasDefinedOnIsNotMadeAnew(t *testing.T) {
	w := withImage(t)
	plan := w.undefined(t)
	for device := range w.images {
		w.fs.Forget(device)
	}
	var wrote *GuestWroteError
	if _, err := w.resume(plan.Job); !errors.As(err, &wrote) || !strings.Contains(wrote.Error(), "the ext4 of ") {
		t.Errorf("%v", err)
	}
}
