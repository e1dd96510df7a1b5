package boot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	no(t, os.MkdirAll(filepath.Dir(path), 0o755))
	no(t, os.WriteFile(path, []byte(text), mode))
	no(t, os.Chmod(path, mode))
}

func fileIs(t *testing.T, path, want string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(path)
	no(t, err)
	info, err := os.Stat(path)
	no(t, err)
	if string(text) != want || info.Mode().Perm() != mode {
		t.Errorf("%s is %q, %v", path, text, info.Mode())
	}
}

func TestEscapeIsAsSystemdEscapeHasIt(t *testing.T) {
	// As `systemd-escape` of systemd 252 prints them.
	for text, want := range map[string]string{
		"imap":         "imap",
		"my vm":        `my\x20vm`,
		"-rf":          `\x2drf`,
		"Büro":         `B\xc3\xbcro`,
		".hidden":      `\x2ehidden`,
		"a.b":          "a.b",
		"a/b":          "a-b",
		`a\b`:          `a\x5cb`,
		"100%":         `100\x25`,
		"a:b_c":        "a:b_c",
		"'\"$(reboot)": `\x27\x22\x24\x28reboot\x29`,
	} {
		if got := Escape(text); got != want {
			t.Errorf("%q: %q and not %q", text, got, want)
		}
	}
	if unit := CryptUnit("cr_imap-luks_vda"); unit != `systemd-cryptsetup@cr_imap\x2dluks_vda.service` {
		t.Error(unit)
	}
	if _, ok := GuestUnit(strings.Repeat("ü", 40)); ok {
		t.Error("a unit's name may be longer than systemd takes")
	}
}

func TestACrypttabIsReplacedWithItsModeAndLinkAndACopyIsKept(t *testing.T) {
	root := t.TempDir()
	h := &Host{Root: root}
	write(t, filepath.Join(root, "elsewhere/crypttab"), "a b\n", 0o640)
	no(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	no(t, os.Symlink("../elsewhere/crypttab", filepath.Join(root, "etc/crypttab")))
	// What a power cut left behind does not matter.
	write(t, filepath.Join(root, "elsewhere/.crypttab"+pending), "torn", 0o600)
	copies := filepath.Join(root, "copies")
	add := func(text []byte) []byte { return append(text, "c d\n"...) }
	now := time.Date(2026, 11, 27, 1, 2, 3, 0, time.UTC)
	kept, changed, err := h.EditCrypttab(add, copies, now)
	no(t, err)
	if !changed || filepath.Base(kept) != "crypttab-20261127-010203" {
		t.Errorf("%v, %s", changed, kept)
	}
	fileIs(t, kept, "a b\n", 0o640)
	fileIs(t, filepath.Join(root, "elsewhere/crypttab"), "a b\nc d\n", 0o640)
	if link, err := os.Readlink(filepath.Join(root, "etc/crypttab")); err != nil || link != "../elsewhere/crypttab" {
		t.Errorf("%q, %v", link, err)
	}
	if left, _ := os.ReadDir(filepath.Join(root, "elsewhere")); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
	if again, _, err := h.EditCrypttab(add, copies, now); err != nil || again == kept {
		t.Errorf("the second copy is %s, %v", again, err)
	}
	if _, changed, err := h.EditCrypttab(func(text []byte) []byte { return text }, copies, now); changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	if copied, _ := os.ReadDir(copies); len(copied) != 2 {
		t.Errorf("copies are %v", copied)
	}
}

func TestACrypttabThatIsNotThereIsMadeAndTakenAway(t *testing.T) {
	root := t.TempDir()
	h := &Host{Root: root}
	no(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	kept, changed, err := h.EditCrypttab(func(text []byte) []byte {
		if text != nil {
			t.Errorf("it is %q", text)
		}
		return []byte("a b\n")
	}, filepath.Join(root, "copies"), time.Now())
	if kept != "" || !changed || err != nil {
		t.Errorf("%q, %v, %v", kept, changed, err)
	}
	fileIs(t, filepath.Join(root, "etc/crypttab"), "a b\n", 0o644)
	_, _, err = h.EditCrypttab(func([]byte) []byte { return nil }, filepath.Join(root, "copies"), time.Now())
	no(t, err)
	if _, err := os.Lstat(filepath.Join(root, "etc/crypttab")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestACrypttabThatCanNotBeEditedStaysAsItIs(t *testing.T) {
	edit := func(h *Host, change func(text []byte) []byte) *FileError {
		t.Helper()
		var failed *FileError
		if _, _, err := h.EditCrypttab(change, filepath.Join(h.Root, "copies"), time.Now()); !errors.As(err, &failed) {
			t.Errorf("%v", err)
		}
		return failed
	}
	add := func(text []byte) []byte { return append(text, "c d\n"...) }
	root := t.TempDir()
	path := filepath.Join(root, "etc/crypttab")
	write(t, path, "a b\n", 0o644)
	edit(&Host{Root: root}, func(text []byte) []byte {
		write(t, path, "an editor was faster\n", 0o644)
		return add(text)
	})
	fileIs(t, path, "an editor was faster\n", 0o644)

	root = t.TempDir()
	no(t, os.MkdirAll(filepath.Join(root, "etc/crypttab"), 0o755))
	edit(&Host{Root: root}, add)

	root = t.TempDir()
	no(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	no(t, os.Symlink("crypttab", filepath.Join(root, "etc/crypttab")))
	if failed := edit(&Host{Root: root}, add); failed != nil && !errors.Is(failed, syscall.ELOOP) {
		t.Error(failed)
	}

	root = t.TempDir()
	write(t, filepath.Join(root, "etc/crypttab"), "", 0o644)
	no(t, os.Truncate(filepath.Join(root, "etc/crypttab"), maxText+1))
	edit(&Host{Root: root}, add)
}

func someRecord() Record {
	return Record{
		Job: "20261122-093012-3f9c", Clone: "imap-luks", Instance: "Büro %h \"1\"", Connect: "qemu:///system?socket=/a%20b", LibvirtAutostart: true,
		Unlock: Unlock{Method: KeyFile, KeyFile: "/etc/keys/imap"},
		Disks:  []RecordDisk{{Target: "vda", LUKS: "6c1b", Mapper: "cr_a-b", VG: "vg0", LV: "lv", Discards: true, SlotsBefore: []int{0}, Mount: "/var/lib/libvirt/images/a b-vda-luks"}},
	}
}

func TestARecordIsReadBackFromTheDropInThatHoldsIt(t *testing.T) {
	h := &Host{Root: t.TempDir()}
	r := someRecord()
	no(t, h.Save(r))
	no(t, h.Order("cr_a-b"))
	all, err := h.Records()
	if err != nil || len(all) != 1 || all[0].Unit() != r.Unit() || all[0].Unlock != r.Unlock || all[0].Disks[0].SlotsBefore[0] != 0 {
		t.Fatalf("%+v, %v", all, err)
	}
	text, err := os.ReadFile(filepath.Join(h.Root, written, r.Unit()+".d", dropInName))
	no(t, err)
	for _, line := range []string{
		`Requires=systemd-cryptsetup@cr_a\x2db.service`, `After=systemd-cryptsetup@cr_a\x2db.service`, `After=var-lib-libvirt-images-a\x20b\x2dvda\x2dluks.mount`,
		`Environment="VMMIGRATE_JOB=20261122-093012-3f9c"`, `Environment="LIBVIRT_DEFAULT_URI=qemu:///system?socket=/a%%20b"`,
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("%s is not in\n%s", line, text)
		}
	}
	// A person's own drop-in beside it stays, and its folder with it.
	own := filepath.Join(h.Root, written, r.Unit()+".d", "mine.conf")
	write(t, own, "[Service]\n", 0o644)
	no(t, h.Forget(r))
	no(t, h.Unorder("cr_a-b"))
	fileIs(t, own, "[Service]\n", 0o644)
	if all, err := h.Records(); len(all) != 0 || err != nil {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := os.Stat(filepath.Join(h.Root, written, CryptUnit("cr_a-b")+".d")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestADropInThatWasChangedIsNamedBesideThoseThatWereNot(t *testing.T) {
	h := &Host{Root: t.TempDir()}
	no(t, h.Save(someRecord()))
	for i, text := range []string{"", "Record={", "Record={}\n", "[X-Vmmigrate]\n"} {
		write(t, filepath.Join(h.Root, written, guestPrefix+"x.service.d", dropInName), text, 0o644)
		all, err := h.Records()
		var bad *RecordError
		if len(all) != 1 || !errors.As(err, &bad) {
			t.Errorf("%d: %+v, %v", i, all, err)
		}
	}
}

// A crypttab's line has to hold for each method what crypttab(5) asks for.
func TestTheLinesOfEachMethod(t *testing.T) {
	r := someRecord()
	for unlock, want := range map[Unlock]string{
		{Method: Prompt}: "none luks,noauto,nofail,discard",
		{Method: KeyFile, KeyFile: "/etc/keys/imap"}:  "/etc/keys/imap luks,noauto,nofail,headless=yes,discard",
		{Method: TPM2, Device: "swtpm:host=a,port=1"}: `none luks,noauto,nofail,tpm2-device=swtpm:host=a\,port=1,headless=yes,discard`,
		{Method: FIDO2, Device: "auto"}:               "none luks,noauto,nofail,fido2-device=auto,discard",
		{Method: Tang, URL: "http://tang"}:            "none luks,noauto,nofail,_netdev,timeout=5min,discard",
	} {
		r.Unlock = unlock
		entries, err := r.Entries()
		if got := string(Add(nil, r.Job, entries)); err != nil || !strings.HasSuffix(got, "\ncr_a-b UUID=6c1b "+want+"\n") {
			t.Errorf("%s: %q, %v", unlock, got, err)
		}
	}
	r.Unlock = Unlock{Method: Prompt}
	for path, source := range map[string]string{"/srv/luks/a.img": "/srv/luks/a.img", "/dev/disk/by-partuuid/b1-01": "UUID=6c1b"} {
		r.Disks[0].Path = path
		if entries, err := r.Entries(); err != nil || entries[0].Source != source {
			t.Errorf("on %s: %+v, %v", path, entries, err)
		}
	}
	r.Disks[0].HeaderFile = "/media/stick/a.header"
	vg := r.Disks[0].VG
	if entries, err := r.Entries(); err != nil || entries[0].Source != "/dev/"+vg+"/"+r.Disks[0].LV {
		t.Errorf("on a volume, with its header apart: %+v, %v", entries, err)
	}
	r.Disks[0].VG = ""
	for _, path := range []string{"/srv/luks/a.img", "/dev/disk/by-partuuid/b1-01"} {
		r.Disks[0].Path = path
		if entries, err := r.Entries(); err != nil || entries[0].Source != path || !strings.HasSuffix(entries[0].Options, ",header=/media/stick/a.header") {
			t.Errorf("on %s, with its header apart: %+v, %v", path, entries, err)
		}
	}
	for _, file := range []string{"/a b", "/a:b", "/a,b", `/a\b`} {
		r.Disks[0].HeaderFile = file
		var bad *WordError
		if _, err := r.Entries(); !errors.As(err, &bad) {
			t.Errorf("with the header in %q: %v", file, err)
		}
	}
	r.Disks[0].HeaderFile, r.Disks[0].VG = "", vg
	for _, path := range []string{"/a b", "/a:b", "#a", "", "/a\nb"} {
		r.Unlock = Unlock{Method: KeyFile, KeyFile: path}
		var bad *WordError
		if _, err := r.Entries(); !errors.As(err, &bad) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// answers is a systemctl that prints one text.
type answers string

func (a answers) Run(context.Context, command.Cmd) (command.Result, error) {
	return command.Result{Stdout: []byte(a)}, nil
}

func TestAUnitsStateIsReadFromSystemctlAndItsLink(t *testing.T) {
	root := t.TempDir()
	no(t, os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755))
	write(t, filepath.Join(root, wants, "a.service"), "", 0o644)
	h := &Host{Root: root, Run: answers("LoadState=masked\nActiveState=failed\nResult=exit-code\n")}
	state, err := h.State(t.Context(), "a.service")
	if err != nil || state != (UnitState{Enabled: true, Masked: true, Active: "failed", Result: "exit-code"}) {
		t.Errorf("%+v, %v", state, err)
	}
	// Nothing runs systemctl where systemd does not run.
	offline := &Host{Root: t.TempDir()}
	if state, err := offline.State(t.Context(), "a.service"); err != nil || state != (UnitState{}) {
		t.Errorf("%+v, %v", state, err)
	}
	no(t, offline.Reload(t.Context()))
	no(t, offline.Disable(t.Context(), "a.service"))
	var booted *NotBootedError
	if err := offline.Ready(Prompt); !errors.As(err, &booted) {
		t.Error(err)
	}
	// A link that systemctl leaves, as it does once the template is gone.
	no(t, h.Disable(t.Context(), "a.service"))
	if _, err := os.Lstat(filepath.Join(root, wants, "a.service")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestOneVmmigrateWaitsForTheOther(t *testing.T) {
	h := &Host{Root: t.TempDir()}
	no(t, os.MkdirAll(filepath.Join(h.Root, "etc"), 0o755))
	unlock, err := h.Lock(t.Context())
	no(t, err)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := h.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	unlock()
	again, err := h.Lock(t.Context())
	no(t, err)
	again()
}
