package filesystemtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/vmmigrate/vmmigrate/filesystem"
)

// Fake is a Client in memory. Its methods may be used by many goroutines at once.
type Fake struct {
	// Content names what lies on a device, the same for as long as the bytes
	// on it mean the same: another volume key is another content. The error is
	// fs.ErrNotExist where there is no such device. nil is the device's name.
	Content func(device string) (string, error)
	// Held is told when a device comes to be held by a mount, and when it no
	// longer is; nil is nobody.
	Held func(device string, held bool)

	mu      sync.Mutex
	made    map[string]made
	dirs    map[string]*dir
	mounts  []mount
	options map[string]bool
}

type made struct {
	identity filesystem.Identity
	size     int64
}

// dir is a folder; files are in it, links lead away.
type dir struct {
	files []string
	link  bool
}

type mount struct {
	dir, device, content string
	holders              []string
}

// New is a Fake with nothing on it.
func New() *Fake {
	return &Fake{made: make(map[string]made), dirs: make(map[string]*dir), options: make(map[string]bool)}
}

func (f *Fake) content(device string) (string, error) {
	if f.Content == nil {
		return device, nil
	}
	content, err := f.Content(device)
	if err != nil {
		return "", &fs.PathError{Op: "stat", Path: device, Err: err}
	}
	return content, nil
}

// Make implements Client.
func (f *Fake) Make(ctx context.Context, spec filesystem.Spec) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !filesystem.Supported(spec.Type) {
		return fmt.Errorf("there is no mkfs for the file system %q", spec.Type)
	}
	content, err := f.content(spec.Device)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.mounts, func(m mount) bool { return m.device == spec.Device }) {
		return fmt.Errorf("%s is mounted", spec.Device)
	}
	f.made[content] = made{filesystem.Identity{Type: string(spec.Type), UUID: spec.UUID}, spec.Size}
	return nil
}

// Identify implements Client.
func (f *Fake) Identify(_ context.Context, device string) (filesystem.Identity, error) {
	content, err := f.content(device)
	if err != nil {
		return filesystem.Identity{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made[content].identity, nil
}

// top is what is mounted at a folder, or nil.
func (f *Fake) top(dir string) *mount {
	for i := range slices.Backward(f.mounts) {
		if f.mounts[i].dir == dir {
			return &f.mounts[i]
		}
	}
	return nil
}

// usable says why a folder can't be mounted on.
func (f *Fake) usable(path string) error {
	folder := f.dirs[path]
	switch {
	case folder == nil:
		return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case folder.link:
		return &filesystem.DirError{Dir: path, Reason: "is no folder"}
	case f.top(path) != nil:
		return &filesystem.DirError{Dir: path, Reason: "has something in it (another file system)"}
	case len(folder.files) > 0:
		return &filesystem.DirError{Dir: path, Reason: fmt.Sprintf("has something in it (%s)", folder.files[0])}
	}
	return nil
}

// MakeDir implements Client.
func (f *Fake) MakeDir(_ context.Context, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dirs[path] == nil {
		f.dirs[path] = &dir{}
	}
	return f.usable(path)
}

// RemoveDir implements Client.
func (f *Fake) RemoveDir(_ context.Context, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dirs[path] == nil {
		return nil
	}
	if f.top(path) != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: syscall.EBUSY}
	}
	if err := f.usable(path); err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: errors.Join(syscall.ENOTEMPTY, err)}
	}
	delete(f.dirs, path)
	return nil
}

// Mount implements Client.
func (f *Fake) Mount(_ context.Context, spec filesystem.MountSpec) error {
	content, err := f.content(spec.Device)
	if err != nil {
		return &filesystem.MountError{Device: spec.Device, Dir: spec.Dir, Type: spec.Type, Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(spec.Dir); err != nil {
		return err
	}
	if f.made[content].identity.Type != string(spec.Type) {
		return &filesystem.MountError{Device: spec.Device, Dir: spec.Dir, Type: spec.Type, Err: syscall.EINVAL}
	}
	f.mounts = append(f.mounts, mount{dir: spec.Dir, device: spec.Device, content: content})
	f.options[spec.Dir] = spec.Discard
	if f.Held != nil {
		f.Held(spec.Device, true)
	}
	return nil
}

// Mounts implements Client.
func (f *Fake) Mounts(_ context.Context, device string) ([]string, error) {
	if _, err := f.content(device); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var dirs []string
	for _, m := range f.mounts {
		if m.device == device {
			dirs = append(dirs, m.dir)
		}
	}
	return dirs, nil
}

// Unmount implements Client.
func (f *Fake) Unmount(_ context.Context, dir, device string) error {
	if _, err := f.content(device); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	top := f.top(dir)
	switch {
	case top == nil || top.device != device:
		return nil
	case len(top.holders) > 0:
		return &filesystem.BusyError{Dir: dir, Holders: top.holders}
	}
	f.mounts = slices.DeleteFunc(f.mounts, func(m mount) bool { return m.dir == dir && m.device == device })
	if f.Held != nil && !slices.ContainsFunc(f.mounts, func(m mount) bool { return m.device == device }) {
		f.Held(device, false)
	}
	return nil
}

// Free implements Client.
func (f *Fake) Free(_ context.Context, dir string) (size, free int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if top := f.top(dir); top != nil {
		return f.made[top.content].size, f.made[top.content].size / 2, nil
	}
	return 0, 0, &fs.PathError{Op: "statfs", Path: dir, Err: fs.ErrNotExist}
}

// Hold has somebody use the file system mounted at dir, or nobody.
func (f *Fake) Hold(dir string, holders ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if top := f.top(dir); top != nil {
		top.holders = holders
	}
}

// Forget is to be told when what lay on a device is gone.
func (f *Fake) Forget(content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.made, content)
}

// Put makes a file, in a folder that comes to be where it is not there.
func (f *Fake) Put(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	folder := filepath.Dir(path)
	if f.top(folder) != nil {
		return // it is on what is mounted there
	}
	if f.dirs[folder] == nil {
		f.dirs[folder] = &dir{}
	}
	f.dirs[folder].files = append(f.dirs[folder].files, filepath.Base(path))
}

// Link makes a symbolic link.
func (f *Fake) Link(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirs[path] = &dir{link: true}
}

// Dirs are all folders, by name.
func (f *Fake) Dirs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for path := range f.dirs {
		all = append(all, path)
	}
	slices.Sort(all)
	return all
}

// At is the device that is mounted at a folder, or "", and whether it passes
// discards on at once.
func (f *Fake) At(dir string) (device string, discard bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if top := f.top(dir); top != nil {
		return top.device, f.options[dir]
	}
	return "", false
}

// Reboot unmounts everything.
func (f *Fake) Reboot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mounts = nil
}
