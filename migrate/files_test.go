package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// luksDir is the folder for files in a world.
const luksDir = "/srv/luks"

// made is a file in that folder.
type made struct {
	size  int64
	inode string
}

// withFolder has the VM imap, off, with one disk, and no volume group: it goes
// to a file.
func withFolder(t *testing.T) *world {
	t.Helper()
	w := newWorldIn(t, scratch(t), 4096*3)
	w.folder = luksDir
	w.withFiles()
	return w
}

// withFiles lets files be made in the folder.
func (w *world) withFiles() {
	w.made = make(map[string]made)
	resolve := w.luks.Resolve
	w.luks.Resolve = func(path string) string {
		if file, there := w.file(path); there {
			return "inode " + file.inode
		}
		return resolve(path)
	}
}

func (w *world) file(path string) (made, bool) {
	w.filed.Lock()
	defer w.filed.Unlock()
	file, there := w.made[path]
	return file, there
}

// fileOf is the path of the file that a device's true name stands for, or "".
func (w *world) fileOf(device string) string {
	w.filed.Lock()
	defer w.filed.Unlock()
	for path, file := range w.made {
		if "inode "+file.inode == device {
			return path
		}
	}
	return ""
}

// worldFiles implements Files.
type worldFiles struct{ w *world }

var _ Files = worldFiles{}

func (f worldFiles) Folder(_ context.Context, path string) (FolderFacts, error) {
	return port(f.w, "file: folder", func() (FolderFacts, error) {
		if isImage(path) {
			folder := FolderFacts{Has: make(map[string]bool)}
			device, _ := f.w.on(filepath.Join(path, "x"))
			f.w.mu.Lock()
			defer f.w.mu.Unlock()
			for name := range f.w.images[device] {
				folder.Has[name] = true
			}
			return folder, nil
		}
		if path == MountDir {
			folder := FolderFacts{Has: make(map[string]bool)}
			for _, dir := range f.w.fs.Dirs() {
				folder.Has[filepath.Base(dir)] = true
			}
			return folder, nil
		}
		if path != luksDir || f.w.made == nil && !f.w.unmounted {
			return FolderFacts{}, fs.ErrNotExist
		}
		f.w.filed.Lock()
		defer f.w.filed.Unlock()
		if f.w.unmounted {
			return FolderFacts{Device: "8:2", Inode: "77", Free: 100 * mib}, nil
		}
		folder := FolderFacts{Device: "8:1", Inode: "2", Free: 100 * mib, Has: make(map[string]bool)}
		for name := range f.w.made {
			folder.Has[filepath.Base(name)] = true
		}
		return folder, nil
	})
}

func (f worldFiles) Make(_ context.Context, path string, size int64) (string, error) {
	return port(f.w, "act: make file", func() (string, error) {
		f.w.mustIntend(CreateVolume, Format)
		f.w.filed.Lock()
		defer f.w.filed.Unlock()
		if _, there := f.w.made[path]; there {
			return "", fs.ErrExist
		}
		f.w.inodes++
		f.w.made[path] = made{size: size, inode: fmt.Sprint(f.w.inodes)}
		return f.w.made[path].inode, nil
	})
}

func (f worldFiles) Move(_ context.Context, from, to string) error {
	return does(f.w, "act: name file", func() error {
		if isImage(from) {
			return f.w.moveImage(from, to)
		}
		f.w.mustIntend(CreateVolume, Format)
		f.w.filed.Lock()
		defer f.w.filed.Unlock()
		if _, there := f.w.made[to]; there {
			return fs.ErrExist
		}
		f.w.made[to] = f.w.made[from]
		delete(f.w.made, from)
		return nil
	})
}

func (f worldFiles) Remove(_ context.Context, path string) error {
	return does(f.w, "act: remove file", func() error {
		if isImage(path) {
			return f.w.removeImage(path)
		}
		f.w.mustIntend(CreateVolume, Format)
		f.w.filed.Lock()
		file, there := f.w.made[path]
		delete(f.w.made, path)
		f.w.filed.Unlock()
		f.w.mu.Lock()
		f.w.forget("inode " + file.inode)
		f.w.mu.Unlock()
		if there {
			f.w.luks.Forget("inode " + file.inode)
		}
		return nil
	})
}

func TestAFileIsMadeWholeForItsOwnerAloneAndReplacesNothing(t *testing.T) {
	h, ctx, dir := Host{}, t.Context(), t.TempDir()
	part, path := filepath.Join(dir, ".part"), filepath.Join(dir, "imap.img")
	inode, err := h.Make(ctx, part, 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(part, &stat); err != nil || stat.Mode&0o777 != 0o600 || stat.Size != 3<<20 || stat.Blocks*512 < 3<<20 || fmt.Sprint(stat.Ino) != inode {
		t.Errorf("%+v, %v", stat, err)
	}
	if _, err := h.Make(ctx, part, 3<<20); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second of that name: %v", err)
	}
	if err := os.WriteFile(path, []byte("somebody's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.Move(ctx, part, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over somebody's file: %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "somebody's" {
		t.Errorf("it holds %q", text)
	}
	for range 2 {
		if err := h.Remove(ctx, path); err != nil {
			t.Error(err)
		}
	}
	if err := h.Move(ctx, part, path); err != nil {
		t.Error(err)
	}
	if facts, err := h.Inspect(ctx, path); err != nil || inodeOf(facts) != inode {
		t.Errorf("%+v, %v", facts, err)
	}
}

func TestAFileThatDoesNotFitIsNotLeft(t *testing.T) {
	dir := t.TempDir()
	if _, err := (Host{}).Make(t.Context(), filepath.Join(dir, "x"), 1<<55); err == nil {
		t.Fatal("it was made")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left is %v", left)
	}
}

func TestAFolderTellsWhatIsAgainstIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	facts, err := Host{}.Folder(t.Context(), dir)
	if err != nil || !facts.Loose || !facts.Has["taken"] || facts.Free <= 0 || facts.Network {
		t.Errorf("%+v, %v", facts, err)
	}
	if facts, err := (Host{}).Folder(t.Context(), "/dev/shm"); err != nil || !facts.Volatile || facts.System != "tmpfs" {
		t.Errorf("/dev/shm: %+v, %v", facts, err)
	}
	if _, err := (Host{}).Folder(t.Context(), filepath.Join(dir, "taken")); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a file: %v", err)
	}
	if _, err := (Host{}).Folder(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

// inFolder asks for files in a folder with room for just the first disk.
func (s *situation) inFolder(change func(*FolderFacts)) {
	folder := FolderFacts{Device: "8:1", Inode: "2", Free: gib + 16*mib, Has: map[string]bool{}}
	change(&folder)
	s.options.Dir = luksDir
	s.facts.Folders = map[string]FolderFacts{luksDir: folder}
	s.facts.VGs = nil
}

// folderCases are folders that are refused.
func folderCases() []struct {
	when, says string
	code       Code
	change     func(*FolderFacts)
} {
	return []struct {
		when, says string
		code       Code
		change     func(*FolderFacts)
	}{
		{"it is not there", "mkdir -m 0700 /srv/luks", TargetMissing, func(f *FolderFacts) { f.Err = fs.ErrNotExist }},
		{"it is none", "can't be used: it is no folder", TargetUnfit, func(f *FolderFacts) { f.Err = errors.New("it is no folder") }},
		{"it is in memory", "in memory (tmpfs)", TargetUnfit, func(f *FolderFacts) { f.Volatile, f.System = true, "tmpfs" }},
		{"it is read-only", "mounted read-only", TargetUnfit, func(f *FolderFacts) { f.ReadOnly = true }},
		{"others may write there", "chmod go-w /srv/luks", TargetUnfit, func(f *FolderFacts) { f.Loose = true }},
		{"the name is taken", "has a file imap-vda-luks.img already", TargetTaken, func(f *FolderFacts) { f.Has["imap-vda-luks.img"] = true }},
		{"it lacks a byte", "1,090,519,040 bytes are needed and 1,090,519,039 are free", TargetSmall, func(f *FolderFacts) { f.Free-- }},
	}
}

func folderClaims() []claim {
	var all []claim
	for _, c := range folderCases() {
		all = append(all, claim{code: c.code, when: "the folder asked for: " + c.when, given: func(s *situation) { s.inFolder(c.change) }})
	}
	return all
}

func TestAFolderThatIsNoSafePlaceIsRefused(t *testing.T) {
	for _, c := range folderCases() {
		s := imap(t)
		s.inFolder(c.change)
		if plan := s.plan(); len(plan.Blockers) != 1 || !strings.Contains(plan.Blockers[0].String(), c.says) {
			t.Errorf("%s: %v", c.when, plan.Blockers)
		}
	}
}

func TestAHostWithoutAGroupPutsDisksIntoFiles(t *testing.T) {
	s := imap(t)
	s.inFolder(func(*FolderFacts) {})
	plan := s.plan()
	if len(plan.Blockers) > 0 {
		t.Fatal(plan.Blockers)
	}
	volume := plan.Disks[0].Volume
	if volume.Path != luksDir+"/imap-vda-luks.img" || volume.Size != gib+16*mib || plan.Disks[0].Offset != 16*mib || volume.VG != "" {
		t.Errorf("%+v", plan.Disks[0])
	}
	if origin := plan.edit().Origin.Disks[0]; origin.Path != volume.Path {
		t.Errorf("the metadata say %+v", origin)
	}
}

func TestTheFilesOfABatchShareTheRoomOfTheirFolder(t *testing.T) {
	s := imap(t)
	s.inFolder(func(*FolderFacts) {})
	s.addVM("web", "44444444-2222-4333-8444-555555555555", rawDisk("vda", "/dev/vg0/web", ""))
	decider := s.decider()
	var full []bool
	for _, name := range []string{"imap", "web"} {
		plan, err := decider.Decide(name, s.options)
		if err != nil {
			t.Fatal(err)
		}
		full = append(full, codes(plan.Blockers)[TargetSmall])
	}
	if !slices.Equal(full, []bool{false, true}) {
		t.Errorf("of two that fit alone no room is left for: %v", full)
	}
}

func TestAJobThatIsTakenBackRemovesItsOwnFileAlone(t *testing.T) {
	w := withFolder(t)
	before := w.look()
	plan := w.planned()
	if _, err := w.run(plan, CreateVolume); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	path := plan.Disks[0].Volume.Path
	theirs := made{size: 5, inode: "4711"}
	w.made[path] = theirs
	var conflict *ConflictError
	if _, err := w.resume(plan.Job); !errors.As(err, &conflict) {
		t.Errorf("resumed with another file of that name: %v", err)
	}
	if w.made[path] != theirs || len(w.jobs()) > 0 {
		t.Errorf("the file is %+v, and the jobs %v", w.made[path], w.jobs())
	}
	delete(w.made, path)
	w.wantSame(before, "without the other file")
}

func TestAFileBelowWhatIsNotMountedIsNotTakenForGone(t *testing.T) {
	w := withFolder(t)
	before := w.look()
	plan := w.planned()
	if _, err := w.run(plan, Verify); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	w.luks.Reboot()
	w.unmounted = true
	there := w.made
	w.made = nil
	var conflict *ConflictError
	if _, err := w.resume(plan.Job); !errors.As(err, &conflict) || len(w.made) > 0 {
		t.Errorf("resumed: %v, and made was %v", err, w.made)
	}
	if err := w.rollback(plan.Job, false); !errors.As(err, &conflict) {
		t.Errorf("rolled back: %v", err)
	}
	w.unmounted, w.made = false, there
	w.mustRollback(plan.Job, "mounted again")
	w.wantSame(before, "mounted again")
}
