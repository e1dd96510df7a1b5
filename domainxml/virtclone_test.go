//go:build virtclone

package domainxml

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Each place where virt-clone 4.1 and we differ on the documents of testdata,
// and what to think of it. A difference that is not explained here fails the
// test. It runs virt-clone on libvirt's test driver, which lives in the
// program itself and needs no daemon:
//
//	go test -tags virtclone -run VirtClone ./domainxml
var explained = map[string]string{
	"/domain/genid/text()":                       "virt-clone keeps the generation ID, so a guest that asks whether it is a copy is told no",
	"/domain/title":                              "virt-clone drops the title; we keep it, as libvirt lets titles repeat",
	"/domain/metadata/vmmigrate:clone":           "only our clones tell where they come from",
	"/domain/metadata":                           "only our clones tell where they come from",
	"/domain/sysinfo/system/entry/text()":        "virt-clone leaves the old UUID here, and libvirt then refuses the clone (UUID mismatch)",
	"/domain/devices/disk/@type":                 "the same test file is a file to virt-clone and, by contract, a block device to us",
	"/domain/devices/disk/source/@dev":           "the same test file is a file to virt-clone and, by contract, a block device to us",
	"/domain/devices/disk/source/@file":          "the same test file is a file to virt-clone and, by contract, a block device to us",
	"/domain/devices/disk/driver/@discard":       "virt-clone copies to a plain disk; on an encrypted one discards are not passed on unless allowed",
	"/domain/devices/disk/source/@index":         "virt-clone keeps a number of the running original, which libvirt ignores",
	"/domain/devices/disk/source/@startupPolicy": "virt-clone keeps it; a clone must not start without a disk that is merely locked",
	"/domain/devices/disk/backingStore":          "virt-clone keeps it; it described the images behind the original's",
	"/domain/devices/interface/target/@dev":      "virt-clone drops the name of a device that libvirt is told not to make (managed='no'), and the clone can't start; we keep it and warn",
	"/domain/devices/serial/source/@path":        "virt-clone lets both domains write to one file or listen on one socket",
	"/domain/devices/serial/log/@file":           "virt-clone lets both domains write to one log",
	"/domain/devices/channel/source/@path":       "virt-clone drops the path of every channel, a user's own too; we rename it, and libvirt drops those it made itself",
	"/domain/devices/graphics/@autoport":         "virt-clone drops the attribute and relies on port='-1'; we say autoport='yes' as libvirt writes it",
	"/domain/devices/graphics/@tlsPort":          "virt-clone leaves a console that has only a TLS port on the original's port",
	"/domain/devices/graphics/listen/@socket":    "virt-clone lets both consoles listen on one socket",
	"/domain/devices/vsock/cid/@auto":            "virt-clone leaves both domains one vsock address, and the second can't start",
	"/domain/devices/vsock/cid/@address":         "virt-clone leaves both domains one vsock address, and the second can't start",
}

var numbers = regexp.MustCompile(`\[\d+\]`)

func TestEveryDifferenceFromVirtCloneIsExplained(t *testing.T) {
	var report strings.Builder
	used := make(map[string]bool)
	for _, name := range []string{"imap.xml", "desk.xml"} {
		text := sample(t, name)
		d, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := cloneBoth(t, d, filepath.Join("testdata", name))
		fmt.Fprintf(&report, "== %s\n", name)
		keys := make(map[string]bool)
		for k := range ours {
			keys[k] = true
		}
		for k := range theirs {
			keys[k] = true
		}
		var sorted []string
		for k := range keys {
			sorted = append(sorted, k)
		}
		slices.Sort(sorted)
		for _, k := range sorted {
			a, b := ours[k], theirs[k]
			if a == b {
				fmt.Fprintf(&report, "both     %s: %s\n", k, a)
				continue
			}
			where := numbers.ReplaceAllString(k, "")
			why, ok := explained[where]
			used[where] = true
			if !ok {
				t.Errorf("%s: %s: ours %q, virt-clone's %q, and no explanation", name, k, a, b)
			}
			fmt.Fprintf(&report, "differs  %s\n  ours:       %s\n  virt-clone: %s\n  because %s\n", k, or(a), or(b), why)
		}
	}
	for where := range explained {
		if !used[where] {
			t.Errorf("%s is explained, and no longer differs", where)
		}
	}
	golden(t, "virtclone.golden", report.String())
}

// What libvirt itself makes of our clone: all that we wrote is there, or is
// written in a way that Compare knows. The test driver knows no namespace of
// QEMU's and no page of a single node's.
func TestLibvirtKeepsWhatACloneSays(t *testing.T) {
	for name, want := range map[string][]string{
		"imap.xml": {"/domain/memoryBacking/hugepages/page/@nodeset", "/domain/qemu:commandline"},
		"desk.xml": nil,
	} {
		d, err := Parse(sample(t, name))
		if err != nil {
			t.Fatal(err)
		}
		edit := moveAll(d)
		got, err := Rewrite(d.document.text, edit)
		if err != nil {
			t.Fatal(err)
		}
		wanted := strings.Replace(string(got.XML), "<domain type='kvm'", "<domain type='test'", 1)
		file := filepath.Join(t.TempDir(), "clone.xml")
		if err := os.WriteFile(file, []byte(wanted), 0o600); err != nil {
			t.Fatal(err)
		}
		result, err := command.Local{}.Run(t.Context(), command.Cmd{
			Name: "virsh", Args: []string{"-q", "-c", "test:///default", "define " + file + "; dumpxml --inactive --security-info " + edit.Name},
			Env: []string{"HOME=" + t.TempDir()},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, dumped, _ := strings.Cut(string(result.Stdout), "<domain")
		compared, err := Compare([]byte(wanted), []byte("<domain"+dumped))
		if err != nil {
			t.Fatal(err)
		}
		var lost []string
		for _, c := range compared.Lost {
			lost = append(lost, c.Path)
		}
		slices.Sort(lost)
		if !slices.Equal(lost, want) {
			t.Errorf("%s: libvirt lost %v", name, compared.Lost)
		}
		t.Logf("%s: %d normalised, %d added", name, len(compared.Normalised), len(compared.Added))
	}
}

func or(change string) string {
	if change == "" {
		return "kept as it was"
	}
	return change
}

// cloneBoth makes two clones with the same name, addresses and disks, and
// returns what each changed, by path.
func cloneBoth(t *testing.T, d *Domain, file string) (ours, theirs map[string]string) {
	t.Helper()
	folder := t.TempDir()
	edit := Edit{Name: d.Name + "-luks", UUID: cloneUUID}
	argv := []string{"--connect", "test:///default", "--original-xml", file, "--name", edit.Name, "--preserve-data", "--print-xml", "--check", "all=off"}
	for i, n := range d.Interfaces() {
		mac := fmt.Sprintf("52:54:00:00:00:%02x", i+1)
		if n.MAC != "" {
			argv = append(argv, "--mac", mac)
		}
		edit.MACs = append(edit.MACs, mac)
	}
	for _, disk := range d.Disks() {
		if disk.Kind != Move {
			if disk.Kind == Refuse {
				argv = append(argv, "--skip-copy", disk.Target)
			}
			continue
		}
		image := filepath.Join(folder, disk.Target)
		if err := os.WriteFile(image, make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
		argv = append(argv, "--file", image)
		edit.Disks = append(edit.Disks, DiskEdit{Target: disk.Target, Device: image})
	}
	if nvram := d.Firmware().NVRAM; nvram != nil {
		edit.NVRAM = filepath.Join(folder, "VARS.fd")
		if err := os.WriteFile(edit.NVRAM, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		argv = append(argv, "--nvram", edit.NVRAM)
	}
	edit.Origin = &Origin{Job: "20260101-1", Name: d.Name, UUID: d.UUID}

	got, err := Rewrite(d.document.text, edit)
	if err != nil {
		t.Fatal(err)
	}
	result, err := command.Local{}.Run(t.Context(), command.Cmd{
		Name: "virt-clone", Args: argv, Env: []string{"HOME=" + folder, "XDG_CACHE_HOME=" + folder, "XDG_CONFIG_HOME=" + folder},
	})
	if err != nil {
		t.Fatal(err)
	}
	// virt-clone makes up a UUID of its own.
	made, err := Parse(result.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.ReplaceAll(string(result.Stdout), made.UUID, cloneUUID)
	return changed(t, d.document.text, got.XML, folder), changed(t, d.document.text, []byte(other), folder)
}

func changed(t *testing.T, a, b []byte, folder string) map[string]string {
	t.Helper()
	changes, err := Diff(a, b)
	if err != nil {
		t.Fatal(err)
	}
	made := make(map[string]string)
	for _, c := range changes {
		made[c.Path] = strings.ReplaceAll(fmt.Sprintf("%s, %q -> %q", c.Op, c.Old, c.New), folder, "DIR")
	}
	return made
}
