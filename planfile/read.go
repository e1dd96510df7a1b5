package planfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// Load reads the plan file called name. The error is an *Error, which says
// where in the file, also where the file can't be read at all.
func Load(name string) (*File, error) {
	file, err := os.Open(name)
	if err == nil {
		defer file.Close()
		var text []byte
		// One byte more than there may be tells that there are too many.
		if text, err = io.ReadAll(io.LimitReader(file, maxBytes+1)); err == nil {
			plan, err := Read(text)
			var bad *Error
			if errors.As(err, &bad) {
				bad.File = name
			}
			return plan, err
		}
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return nil, &Error{File: name, Reason: err.Error()}
}

// Read reads a plan file's text. The error is an *Error.
func Read(text []byte) (*File, error) {
	node, bad := document(text)
	if bad != nil {
		return nil, bad
	}
	r := new(reader)
	file := r.file(node)
	if r.err == nil {
		r.check(file)
	}
	if r.err != nil {
		return nil, r.err
	}
	return file, nil
}

func (r *reader) file(node ast.Node) *File {
	f := r.mapping(node, "the plan", false)
	file := new(File)
	switch _, there := f.byKey["version"]; {
	case !there:
		r.fail(position{1, 1}, "it does not begin with `version: %d`, so it is no plan", Version)
	case f.number("version") != Version:
		r.fail(f.place["version"], "it is of a version that this vmmigrate does not know; it knows %d", Version)
	}
	file.Host = f.text("host")
	if made := f.text("made"); made != "" {
		var err error
		if file.Made, err = time.Parse(time.RFC3339, made); err != nil {
			r.fail(f.place["made"], "made is no time like 2026-03-01T12:00:00Z")
		}
	}
	defaults := f.mapping("defaults", "defaults", false)
	file.Defaults = r.choices(defaults)
	defaults.end()
	file.Keys = r.keys(f)
	for _, one := range f.list("vms") {
		file.VMs = append(file.VMs, r.vm(one))
	}
	f.end()
	return file
}

func (r *reader) choices(f *fields) Choices {
	c := Choices{
		VG: f.text("vg"), TargetDir: f.text("target-dir"), LVMType: f.text("lvm-type"), ThinPool: f.text("thin-pool"),
		KeepMAC: f.boolean("keep-mac"), AllowDiscards: f.boolean("allow-discards"), EncryptAgain: f.boolean("encrypt-again"),
		Autostart: f.boolean("autostart"),
		Verify:    migrate.VerifyMode(f.text("verify")),
	}
	r.layout(f, &c)
	c.PVs, c.BackingDirs = r.paths(f, "pvs"), r.paths(f, "backing-dirs")
	if c.TargetDir != "" && !filepath.IsAbs(c.TargetDir) {
		r.fail(f.place["target-dir"], "target-dir has to be an absolute path")
	}
	switch c.Verify {
	case "", migrate.VerifyTarget, migrate.VerifyFull, migrate.VerifyNone:
	default:
		r.fail(f.place["verify"], "verify is target, full or none, not %q", c.Verify)
	}
	if _, err := lvm.ParseType(c.LVMType); c.LVMType != "" && err != nil {
		r.fail(f.place["lvm-type"], "lvm-type: %v", err)
	}
	l := f.mapping("luks", "luks", false)
	c.LUKS = LUKS{
		Type: l.text("type"), Cipher: l.text("cipher"), KeySize: l.number("key-size"), Hash: l.text("hash"), SectorSize: l.number("sector-size"),
		PBKDF: l.text("pbkdf"), PBKDFMemory: l.number("pbkdf-memory"), PBKDFForceIterations: l.number("pbkdf-force-iterations"), IterTime: l.number("iter-time"),
	}
	if _, err := luks.ParseType(c.LUKS.Type); c.LUKS.Type != "" && err != nil {
		r.fail(l.place["type"], "type: %v", err)
	}
	if pbkdf := c.LUKS.PBKDF; pbkdf != "" && !slices.Contains(luks.PBKDFs, pbkdf) {
		r.fail(l.place["pbkdf"], "pbkdf is one of %s, not %q", strings.Join(luks.PBKDFs, ", "), pbkdf)
	}
	l.end()
	c.Copy = r.copy(f.mapping("copy", "copy", false))
	return c
}

// layout reads the layout and what is about file systems.
func (r *reader) layout(f *fields, c *Choices) {
	c.Layout, c.FS.Type, c.FS.Dir = migrate.Layout(f.text("layout")), filesystem.Type(f.text("fs-type")), f.text("fs-dir")
	c.FS.Size = f.size("fs-size")
	switch {
	case c.Layout != "" && c.Layout != migrate.BlockLayout && c.Layout != migrate.FilesystemLayout:
		r.fail(f.place["layout"], "layout is block or filesystem, not %q", c.Layout)
	case c.FS.Type != "" && !filesystem.Supported(c.FS.Type):
		r.fail(f.place["fs-type"], "fs-type is ext4 or xfs, not %q", c.FS.Type)
	case c.FS.Dir != "" && !filepath.IsAbs(c.FS.Dir):
		r.fail(f.place["fs-dir"], "fs-dir has to be an absolute path")
	}
}

// paths reads a list of absolute paths.
func (r *reader) paths(f *fields, name string) []string {
	var paths []string
	for _, one := range f.list(name) {
		text, ok := textOf(one)
		if !ok || !filepath.IsAbs(text) {
			r.fail(where(one), "%s has to be a list of absolute paths", name)
		}
		paths = append(paths, text)
	}
	return paths
}

func (r *reader) keys(f *fields) Keys {
	keys := f.mapping("keys", "keys", true)
	var found Keys
	if node, _ := keys.take("default"); node != nil {
		source := r.source(node)
		found.Default = &source
	}
	vms := keys.mapping("vms", "vms of keys", true)
	for _, name := range vms.names {
		node, _ := vms.take(name)
		if node == nil {
			continue
		}
		if found.VMs == nil {
			found.VMs = make(map[string]KeySource)
		}
		found.VMs[name] = r.source(node)
	}
	keys.end()
	return found
}

// credentialName is what systemd takes (systemd.exec(5), LoadCredential=), but for
// its length: a bound in the expression takes milliseconds at every start.
var credentialName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// credentialLength is the longest that a file's name can be (NAME_MAX).
const credentialLength = 255

// source reads where a key is. Nothing of it is ever quoted: whoever takes this
// for the place of the key itself must not find it in a log.
func (r *reader) source(node ast.Node) KeySource {
	const what = "the place of a key"
	p := where(node)
	if _, isText := textOf(node); isText || node.Type() == ast.IntegerType {
		r.fail(p, "this has to say where the key is, like {file: /root/luks.key}; the key itself is never written into a plan")
		return KeySource{}
	}
	f := r.mapping(node, what, true)
	source := KeySource{File: f.text("file"), Credential: f.text("credential"), Prompt: Prompt(f.text("prompt"))}
	for _, word := range f.list("command") {
		text, ok := textOf(word)
		if !ok {
			r.fail(where(word), "a word of command is no text; put it into quotes")
		}
		source.Command = append(source.Command, text)
	}
	f.end()
	switch {
	case len(f.names) != 1 && r.err == nil:
		r.fail(p, "%s is exactly one of file, credential, command, prompt", what)
	case source.File != "" && !filepath.IsAbs(source.File):
		r.fail(f.place["file"], "file has to be an absolute path; the key itself is never written into a plan")
	case source.Credential != "" && (len(source.Credential) > credentialLength || !credentialName.MatchString(source.Credential)):
		r.fail(f.place["credential"], "credential is no name of a systemd credential; the key itself is never written into a plan")
	case source.Prompt != "" && source.Prompt != PromptEach && source.Prompt != PromptOnce:
		r.fail(f.place["prompt"], "prompt is each or once; the key itself is never written into a plan")
	case len(source.Command) > 0 && source.Command[0] == "", f.byKey["command"] != nil && len(source.Command) == 0:
		r.fail(f.place["command"], "command names no program")
	}
	return source
}

func (r *reader) vm(node ast.Node) VM {
	f := r.mapping(node, "a VM", false)
	vm := VM{Name: f.text("name"), UUID: strings.ToLower(f.text("uuid")), State: f.text("state"), Clone: f.text("clone"), at: f.at}
	if skip := f.boolean("skip"); skip != nil {
		vm.Skip = *skip
	}
	vm.Choices = r.choices(f)
	for _, one := range f.list("disks") {
		vm.Disks = append(vm.Disks, r.disk(one))
	}
	f.end()
	if vm.Name == "" {
		r.fail(f.at, "this VM has no name")
	}
	return vm
}

func (r *reader) disk(node ast.Node) Disk {
	f := r.mapping(node, "a disk", false)
	disk := Disk{Target: f.text("target"), Source: f.text("source"), at: f.at}
	disk.Size = f.size("size")
	disk.VG, disk.LV, disk.Device, disk.Header = f.text("vg"), f.text("lv"), f.text("device"), f.text("header")
	switch {
	case disk.Header != "" && !filepath.IsAbs(disk.Header):
		r.fail(f.place["header"], "header has to be an absolute path")
	case disk.Device != "" && !filepath.IsAbs(disk.Device):
		r.fail(f.place["device"], "device has to be an absolute path")
	case disk.Device != "" && disk.VG+disk.LV != "":
		r.fail(f.place["device"], "device is an existing one, and vg and lv are about a new volume; choose one")
	}
	if skip := f.boolean("skip"); skip != nil {
		disk.Skip = *skip
	}
	f.end()
	if disk.Target == "" {
		r.fail(f.at, "this disk has no target, such as vda")
	}
	return disk
}

// check refuses what contradicts itself.
func (r *reader) check(file *File) {
	if len(file.VMs) == 0 {
		r.fail(position{}, "it names no VM")
	}
	seen := make(map[string]position)
	once := func(p position, kind, name string) {
		if name == "" {
			return
		}
		key := kind + " " + name
		if before, twice := seen[key]; twice {
			r.fail(p, "the %s %q is named twice; first in line %d", kind, name, before.line)
		}
		seen[key] = p
	}
	for _, vm := range file.VMs {
		once(vm.at, "VM", vm.Name)
		once(vm.at, "UUID", vm.UUID)
		if vm.Skip {
			continue
		}
		once(vm.at, "clone", vm.Clone)
		targets := make(map[string]bool)
		for _, disk := range vm.Disks {
			if targets[disk.Target] {
				r.fail(disk.at, "the disk %q of %q is named twice", disk.Target, vm.Name)
			}
			targets[disk.Target] = true
			if !disk.Skip {
				once(disk.at, "device", disk.Device)
				once(disk.at, "header file", disk.Header)
			}
			if disk.LV != "" && !disk.Skip {
				// Where no group is named, the host decides it, and finds
				// out then.
				if vg := first(disk.VG, vm.Choices.VG, file.Defaults.VG); vg != "" {
					once(disk.at, "volume", vg+"/"+disk.LV)
				}
			}
		}
	}
	for name := range file.Keys.VMs {
		if _, there := seen["VM "+name]; !there {
			r.fail(position{}, "keys names a VM that is not in the plan")
		}
	}
}

func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
