package migrate

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const secretTPM = `<tpm model='tpm-crb'><backend type='emulator' version='2.0'><encryption secret='66666666-2222-4333-8444-555555555555'/></backend></tpm>`

func TestACloneGetsItsOwnCopiesOfWhatTheFirmwareKeeps(t *testing.T) {
	nvram := func(path string) string { return "<nvram>" + path + "</nvram>" }
	swtpm := "/var/lib/libvirt/swtpm/"
	for _, c := range []struct {
		what      string
		name      string
		os, more  string
		exist     []string
		nvram     string
		files     []FirmwareFile // To of "" stands for the clone's folder below swtpm
		plaintext int
	}{
		{what: "no firmware state", name: "imap"},
		{
			what: "variables", name: "imap", os: nvram("/srv/nvram/imap_VARS.fd"), exist: []string{"/srv/nvram/imap_VARS.fd"},
			nvram: "/srv/nvram/imap-luks_VARS.fd", plaintext: 1,
			files: []FirmwareFile{{"NVRAM", "/srv/nvram/imap_VARS.fd", "/srv/nvram/imap-luks_VARS.fd"}},
		},
		{what: "variables that were never written", name: "imap", os: nvram("/srv/nvram/imap_VARS.fd"), nvram: "/srv/nvram/imap-luks_VARS.fd"},
		{
			what: "variables under another name", name: "imap", os: nvram("/srv/nvram/vars.qcow2"), exist: []string{"/srv/nvram/vars.qcow2"},
			nvram: "/srv/nvram/imap-luks_VARS.qcow2", plaintext: 1,
			files: []FirmwareFile{{"NVRAM", "/srv/nvram/vars.qcow2", "/srv/nvram/imap-luks_VARS.qcow2"}},
		},
		{
			what: "a TPM's state", name: "imap", more: softTPM, exist: []string{swtpm + imapUUID}, plaintext: 1,
			files: []FirmwareFile{{"TPM state", swtpm + imapUUID, ""}},
		},
		{
			what: "a TPM's encrypted state", name: "imap", more: secretTPM, exist: []string{swtpm + imapUUID},
			files: []FirmwareFile{{"TPM state", swtpm + imapUUID, ""}},
		},
		{what: "a TPM that was never started", name: "imap", more: softTPM},
		{what: "the host's own TPM", name: "imap", more: hostTPM},
	} {
		s := imap(t)
		s.vm().Name = c.name
		s.define(0, c.os, rawDisk("vda", "/dev/vg0/imap", "")+c.more)
		for _, path := range c.exist {
			s.vm().Files[path] = true
		}
		plan := s.plan()
		for i := range c.files {
			if c.files[i].To == "" {
				c.files[i].To = swtpm + plan.Clone.UUID
			}
		}
		if diff := cmp.Diff(FirmwarePlan{Files: c.files, NVRAM: c.nvram}, plan.Firmware); diff != "" || len(plan.Blockers) > 0 {
			t.Errorf("%s: %s%v", c.what, diff, plan.Blockers)
		}
		plaintext := 0
		for _, warning := range plan.Warnings {
			if warning.Code == WarnPlaintext {
				plaintext++
			}
		}
		if plaintext != c.plaintext {
			t.Errorf("%s: %d warnings of plain text in %v", c.what, plaintext, plan.Warnings)
		}
	}
}

func TestTheCopyOfAnOddVMsVariablesStaysInItsFolder(t *testing.T) {
	for _, name := range []string{"-rf", "mail server (alt)", strings.Repeat("x", 200), ".."} {
		s := imap(t)
		s.vm().Name = name
		s.define(0, "<nvram>/srv/nvram/a_VARS.fd</nvram>", rawDisk("vda", "/dev/vg0/imap", ""))
		if path := s.plan().Firmware.NVRAM; filepath.Dir(path) != "/srv/nvram" || len(filepath.Base(path)) > 255 {
			t.Errorf("%q: %s", name, path)
		}
	}
}

func TestStateIsCopiedWithOwnersAndModes(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := errors.Join(
		os.MkdirAll(filepath.Join(from, "tpm2"), 0o711),
		os.WriteFile(filepath.Join(from, "tpm2", "tpm2-00.permall"), []byte("sealed"), 0o640),
		os.WriteFile(filepath.Join(from, "empty"), nil, 0o600),
		os.Chmod(filepath.Join(from, "tpm2"), 0o511), // not even its owner may write there
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, tree := range []string{from, to} {
			_ = os.Chmod(filepath.Join(tree, "tpm2"), 0o700) // for the end of the test
		}
	})
	socket, err := net.Listen("unix", filepath.Join(from, "swtpm.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := copyState(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{".": "drwx--x--x", "tpm2": "dr-x--x--x", "tpm2/tpm2-00.permall": "-rw-r-----", "empty": "-rw-------"}
	if err := os.Chmod(from, 0o711); err != nil {
		t.Fatal(err)
	}
	got := tree(t, to)
	want["."] = got["."] // its own mode depends on the umask
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if content, err := os.ReadFile(filepath.Join(to, "tpm2", "tpm2-00.permall")); err != nil || string(content) != "sealed" {
		t.Errorf("%q, %v", content, err)
	}
}

// tree lists what is below a folder with the modes.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		found[relative] = info.Mode().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestStateThatIsNeitherFileNorFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	if err := errors.Join(os.Mkdir(from, 0o700), syscall.Mkfifo(filepath.Join(from, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := copyState(t.Context(), from, filepath.Join(dir, "to")); err == nil {
		t.Error("a FIFO was copied")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	if err := copyState(t.Context(), link, filepath.Join(dir, "of-link")); err == nil {
		t.Error("a symbolic link was followed")
	}
}
