package planfile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/planfile"
)

// same ignores where things were in the file, and comments.
func same(a, b *planfile.File) string {
	return cmp.Diff(a, b, cmpopts.IgnoreUnexported(planfile.VM{}, planfile.Disk{}), cmpopts.IgnoreFields(planfile.VM{}, "Comment"), cmpopts.EquateEmpty())
}

// names are what a VM or volume may be called by somebody with no mercy.
func names() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z][a-z0-9.-]{0,12}`),
		rapid.SampledFrom([]string{"-", "- x", "ü ö", "'", `"`, "a: b", "#x", "yes", "null", "1e3", "0x1f", "2026-03-01", "~", "*a", "&a", "!x", "{a}", "[", "\\", "日本", "a\tb", "=", "<<", "\u00a0", "\u2028", " lead", "trail "}),
		rapid.StringN(1, 12, 40),
	)
}

func optional[T any](of *rapid.Generator[T]) *rapid.Generator[T] {
	return rapid.OneOf(rapid.Just(*new(T)), of)
}

func flags() *rapid.Generator[*bool] {
	return rapid.Custom(func(t *rapid.T) *bool {
		if !rapid.Bool().Draw(t, "set") {
			return nil
		}
		value := rapid.Bool().Draw(t, "flag")
		return &value
	})
}

// absolute makes paths of names; none is nil, as what is read back.
func absolute(names []string) []string {
	var paths []string
	for _, name := range names {
		paths = append(paths, "/"+name)
	}
	return paths
}

func choices() *rapid.Generator[planfile.Choices] {
	return rapid.Custom(func(t *rapid.T) planfile.Choices {
		number := optional(rapid.IntRange(1, 1<<31-1))
		return planfile.Choices{
			VG: optional(names()).Draw(t, "vg"), LVMType: optional(rapid.Just("raid1")).Draw(t, "type"), ThinPool: optional(names()).Draw(t, "pool"),
			Layout:      rapid.SampledFrom([]migrate.Layout{"", migrate.BlockLayout, migrate.FilesystemLayout}).Draw(t, "layout"),
			FS:          migrate.FSOptions{Type: optional(rapid.Just(filesystem.XFS)).Draw(t, "fs"), Size: optional(rapid.Int64Range(1, 1<<50)).Draw(t, "fs size"), Dir: rapid.SampledFrom([]string{"", "/srv/images"}).Draw(t, "fs dir")},
			TargetDir:   rapid.SampledFrom([]string{"", "/srv/encrypted"}).Draw(t, "dir"),
			PVs:         rapid.Map(rapid.SliceOfN(names(), 0, 2), absolute).Draw(t, "pvs"),
			BackingDirs: rapid.Map(rapid.SliceOfN(names(), 0, 2), absolute).Draw(t, "backing"),
			KeepMAC:     flags().Draw(t, "mac"), AllowDiscards: flags().Draw(t, "discards"), EncryptAgain: flags().Draw(t, "again"), Autostart: flags().Draw(t, "autostart"),
			Verify: optional(rapid.Just(migrate.VerifyFull)).Draw(t, "verify"),
			LUKS: planfile.LUKS{
				Type: optional(rapid.Just("luks1")).Draw(t, "luks"), Cipher: optional(names()).Draw(t, "cipher"), KeySize: number.Draw(t, "bits"),
				PBKDF: optional(rapid.Just("pbkdf2")).Draw(t, "pbkdf"), IterTime: number.Draw(t, "ms"),
			},
			Copy: planfile.Copy{
				MaxRate: optional(rapid.Int64Range(1, 1<<40)).Draw(t, "rate"), BlockSize: optional(rapid.Int64Range(1, 1<<30)).Draw(t, "block"),
				Retries: number.Draw(t, "retries"), Workers: number.Draw(t, "workers"), IOIdle: flags().Draw(t, "idle"),
				NoReadWorkqueue: flags().Draw(t, "no read queue"), NoWriteWorkqueue: flags().Draw(t, "no write queue"), SameCPUCrypt: flags().Draw(t, "same CPU"),
				Probe: optional(rapid.Just(migrate.ProbeNever)).Draw(t, "probe"),
			},
		}
	})
}

func keySources() *rapid.Generator[planfile.KeySource] {
	return rapid.OneOf(
		rapid.Map(names(), func(s string) planfile.KeySource { return planfile.KeySource{File: "/" + s} }),
		rapid.Just(planfile.KeySource{Credential: "vmmigrate.imap"}),
		rapid.Map(rapid.SliceOfN(names(), 1, 4), func(s []string) planfile.KeySource { return planfile.KeySource{Command: s} }),
		rapid.Just(planfile.KeySource{Prompt: planfile.PromptOnce}),
	)
}

func files() *rapid.Generator[*planfile.File] {
	return rapid.Custom(func(t *rapid.T) *planfile.File {
		f := &planfile.File{Host: optional(names()).Draw(t, "host"), Defaults: choices().Draw(t, "defaults")}
		if rapid.Bool().Draw(t, "dated") {
			f.Made = time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "made"), 0).UTC()
		}
		for i, name := range rapid.SliceOfNDistinct(names(), 1, 4, rapid.ID).Draw(t, "vms") {
			vm := planfile.VM{
				Name: name, UUID: optional(rapid.Just(fmt.Sprintf("7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f%02d", i))).Draw(t, "uuid"), State: optional(names()).Draw(t, "state"),
				Skip: rapid.Bool().Draw(t, "skip"), Choices: choices().Draw(t, "choices"), Comment: rapid.SliceOfN(names(), 0, 2).Draw(t, "comment"),
			}
			if rapid.Bool().Draw(t, "named") {
				vm.Clone = fmt.Sprint(name, "-", i)
			}
			for j := range rapid.IntRange(0, 3).Draw(t, "disks") {
				disk := planfile.Disk{
					Target: fmt.Sprintf("vd%c", 'a'+j), Source: optional(names()).Draw(t, "source"), Size: optional(rapid.Int64Range(1, 1<<50)).Draw(t, "size"),
					VG: optional(names()).Draw(t, "vg"), Skip: rapid.Bool().Draw(t, "skip"),
				}
				if disk.VG == "" && rapid.Bool().Draw(t, "device named") {
					disk.Device = fmt.Sprintf("/dev/disk/by-id/%d-%d", i, j)
				} else if rapid.Bool().Draw(t, "lv named") {
					disk.LV = fmt.Sprintf("lv-%d-%d", i, j)
				}
				if rapid.Bool().Draw(t, "header named") {
					disk.Header = fmt.Sprintf("/media/stick/%d-%d.header", i, j)
				}
				vm.Disks = append(vm.Disks, disk)
			}
			f.VMs = append(f.VMs, vm)
		}
		if rapid.Bool().Draw(t, "keyed") {
			source := keySources().Draw(t, "default key")
			f.Keys.Default = &source
			f.Keys.VMs = map[string]planfile.KeySource{f.VMs[0].Name: keySources().Draw(t, "key")}
		}
		return f
	})
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := files().Draw(t, "file")
		clones := map[string]bool{}
		for i := range want.VMs {
			if clones[want.VMs[i].Clone] {
				want.VMs[i].Clone = ""
			}
			clones[want.VMs[i].Clone] = true
		}
		text := planfile.Format(want)
		got, err := planfile.Read(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := same(want, got); diff != "" {
			t.Fatalf("%s of\n%s", diff, text)
		}
	})
}

const head = "version: 1\nvms:\n  - name: imap\n"

func TestWhatIsWrongIsSaidWithLineAndColumn(t *testing.T) {
	for _, test := range []struct {
		what, text   string
		line, column int
		says         string
	}{
		{"nothing", "", 0, 0, "it is empty"},
		{"comments alone", "# a\n# b\n", 0, 0, "it is empty"},
		{"no VM", "version: 1\nvms: []\n", 0, 0, "names no VM"},
		{"no version", "vms:\n  - name: imap\n", 1, 1, "version: 1"},
		{"another version", "version: 2\nvms:\n  - name: a\n", 1, 1, "does not know"},
		{"an unknown key", head + "    lvv: x\n", 4, 5, `does not know "lvv"`},
		{"an unknown key of a disk", head + "    disks:\n      - target: vda\n        siez: 1 GiB\n", 6, 9, `"siez"`},
		{"an unknown key of the whole", "version: 1\nvmz: []\nvms:\n  - name: a\n", 2, 1, `"vmz"`},
		{"a key twice", head + "    clone: a\n    clone: b\n", 5, 5, `"clone" is there twice`},
		{"a VM twice", head + "  - name: web\n  - name: imap\n", 5, 5, `the VM "imap" is named twice`},
		{"a clone twice", head + "    clone: x\n  - name: web\n    clone: x\n", 5, 5, `the clone "x"`},
		{"a volume twice", head + "    vg: vg0\n    disks:\n      - target: vda\n        lv: x\n  - name: web\n    disks:\n      - {target: vda, vg: vg0, lv: x}\n", 10, 10, `the volume "vg0/x"`},
		{"a disk twice", head + "    disks:\n      - target: vda\n      - target: vda\n", 6, 9, `the disk "vda"`},
		{"a size without a unit", head + "    disks:\n      - target: vda\n        size: 1000\n", 6, 15, "lacks a unit"},
		{"a size in quotes without a unit", head + "    disks:\n      - target: vda\n        size: '1000'\n", 6, 15, "lacks a unit"},
		{"a kind of volume that there is not", head + "    lvm-type: stripped\n", 4, 5, `"stripped" is no layout`},
		{"a LUKS that there is not", head + "    luks: {type: luks3}\n", 4, 12, `"luks3" is no type`},
		{"a PBKDF that there is not", head + "    luks: {pbkdf: argon}\n", 4, 12, `not "argon"`},
		{"a probe that there is not", head + "    copy: {perf-probe: x}\n", 4, 12, `not "x"`},
		{"a rate without a unit", head + "    copy: {max-rate: 100}\n", 4, 22, `lacks a unit`},
		{"a size that is none", head + "    disks:\n      - target: vda\n        size: big\n", 6, 15, `"big" is no size`},
		{"a size of a part of a byte", head + "    disks:\n      - target: vda\n        size: 1.0001 KiB\n", 6, 15, "no whole number"},
		{"a size that is a list", head + "    disks:\n      - target: vda\n        size: [1]\n", 6, 15, "no size"},
		{"a number for a text", head + "    clone: 5\n", 4, 12, "put it into quotes"},
		{"a text for a flag", head + "    skip: maybe\n", 4, 11, "true or false"},
		{"a text for a number", head + "    luks: {key-size: big}\n", 4, 22, "whole number"},
		{"a text for a list", head + "    disks: vda\n", 4, 12, "has to be a list"},
		{"a text for a VM", "version: 1\nvms:\n  - imap\n", 3, 5, "key: value"},
		{"no value", head + "    vg:\n", 4, 5, "no value"},
		{"an empty text", head + "    vg: ''\n", 4, 9, "is empty"},
		{"a VM without a name", "version: 1\nvms:\n  - clone: x\n", 3, 5, "has no name"},
		{"a disk without a target", head + "    disks:\n      - lv: x\n", 5, 9, "has no target"},
		{"a verification that is none", head + "    verify: twice\n", 4, 5, "target, full or none"},
		{"a time that is none", "version: 1\nmade: today\nvms:\n  - name: a\n", 2, 1, "no time"},
		{"a reference", "version: 1\nvms: &a\n  - name: imap\n", 2, 6, "references"},
		{"a tag", "version: 1\nvms: !!seq\n  - name: imap\n", 2, 6, "tags"},
		{"a second document", head + "---\nversion: 1\n", 5, 8, "second document"},
		{"no YAML", "version: 1\nvms: [\n", 2, 6, "no YAML"},
		{"a key for no VM", "version: 1\nkeys: {vms: {web: {file: /a}}}\nvms:\n  - name: a\n", 0, 0, "not in the plan"},
	} {
		_, err := planfile.Read([]byte(test.text))
		var bad *planfile.Error
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		if bad.Line != test.line || bad.Column != test.column || !strings.Contains(bad.Error(), test.says) {
			t.Errorf("%s: %v", test.what, bad)
		}
	}
}

func TestAKeyInThePlanIsRefusedAndNeverRepeated(t *testing.T) {
	const secret = "hunter2"
	for _, entry := range []string{
		"default: hunter2", "default: {file: hunter2}", "default: {passphrase: hunter2}", "default: {credential: 'hunter2 !'}", "default: {prompt: hunter2}",
		"default: [hunter2]", "default: {hunter2: x}", "hunter2: {file: /a}", "default: {file: /a, key: hunter2}", "default: {command: hunter2}", "default: {command: [[hunter2]]}",
		"vms: {imap: hunter2}", "vms: hunter2", "default: {file: /a, hunter2: a, hunter2: b}", "default: {}", "default: {file: /a, prompt: once}", "default: {command: []}", "default: 12345",
	} {
		_, err := planfile.Read([]byte("version: 1\nkeys:\n  " + entry + "\nvms:\n  - name: imap\n"))
		var bad *planfile.Error
		if !errors.As(err, &bad) || bad.Line != 3 {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "12345") {
			t.Errorf("%s: the error repeats it: %v", entry, err)
		}
	}
}

func TestAFileThatIsTooLargeOrBombsIsRefusedAtOnce(t *testing.T) {
	bomb := "version: 1\na: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c]\n", 'b'+i, 'b'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i)
	}
	for what, text := range map[string]string{
		"10 MiB":                   head + strings.Repeat("# long\n", 10<<20/7),
		"a bomb":                   bomb,
		"a million brackets":       strings.Repeat("[", 900_000),
		"a million dashes":         strings.Repeat("- ", 450_000),
		"a million question marks": strings.Repeat("? ", 450_000),
		"a staircase":              stairs(1000),
	} {
		begin := time.Now()
		_, err := planfile.Read([]byte(text))
		var bad *planfile.Error
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("%s: it took %s", what, took)
		}
	}
}

// stairs are mappings in mappings.
func stairs(steps int) string {
	var b strings.Builder
	for i := range steps {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestAPlanIsSavedWholeAndReplacesNothingUnasked(t *testing.T) {
	name := filepath.Join(t.TempDir(), "batch.yaml")
	text := planfile.Format(&planfile.File{VMs: []planfile.VM{{Name: "imap"}}})
	if err := planfile.Save(name, text, false); err != nil {
		t.Fatal(err)
	}
	var exists *planfile.ExistsError
	if err := planfile.Save(name, []byte("other"), false); !errors.As(err, &exists) || exists.File != name {
		t.Errorf("a second time: %v", err)
	}
	if file, err := planfile.Load(name); err != nil || file.VMs[0].Name != "imap" {
		t.Errorf("%+v, %v", file, err)
	}
	if err := planfile.Save(name, []byte("other"), true); err != nil {
		t.Error(err)
	}
	if content, err := os.ReadFile(name); err != nil || string(content) != "other" {
		t.Errorf("%q, %v", content, err)
	}
	entries, _ := os.ReadDir(filepath.Dir(name))
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if err := planfile.Save("/nowhere/at/all.yaml", text, false); err == nil || strings.Contains(err.Error(), "vmmigrate-plan") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestAFileThatCannotBeReadSaysWhichAndWhy(t *testing.T) {
	_, err := planfile.Load("/nowhere/batch.yaml")
	if err == nil || err.Error() != "/nowhere/batch.yaml: no such file or directory" {
		t.Error(err)
	}
	name := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(name, []byte(head+"    lvv: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := planfile.Load(name); err == nil || !strings.HasPrefix(err.Error(), name+": line 4, column 5: ") {
		t.Error(err)
	}
}

// FuzzRead holds that no text crashes it, and that what it takes for a plan is
// one: written and read again it is the same.
func FuzzRead(f *testing.F) {
	f.Add([]byte(head + "    clone: x\n    disks:\n      - {target: vda, size: 20 GiB, lv: \"a b\"}\n"))
	f.Add([]byte("version: 1\nkeys: {default: {command: [pass, x]}}\ndefaults: {luks: {key-size: 512}}\nvms: [{name: \"\\u00fc\"}]\n"))
	f.Add([]byte("version: 1\nvms:\n  - name: |\n      a\n      b\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := planfile.Read(text)
		if err != nil {
			var bad *planfile.Error
			if !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := planfile.Read(planfile.Format(file))
		if err != nil {
			t.Fatalf("%v in\n%s", err, planfile.Format(file))
		}
		if diff := same(file, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
