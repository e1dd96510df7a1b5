package succession

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// retireWorld is a world whose imap has its disk in a file, beside a bystander's,
// and whose clone has run.
type retireWorld struct {
	*world
	plain, theirs string
	// vars are the original's UEFI variables.
	vars string
	// verdict is that of the header backup, and keyErr what the key meets with.
	verdict lifecycle.Verdict
	keyErr  error
	holders []string
	files   ImageFiles
	// filesErr is why these can't be told.
	filesErr error
	lvs      []lvm.LV
}

const plainSize = 5*mib + 512

func newRetireWorld(t *testing.T) *retireWorld {
	t.Helper()
	w := &retireWorld{world: newWorld(t), verdict: lifecycle.Current}
	w.plain, w.theirs = plainDisk(t, plainSize), plainDisk(t, mib)
	w.Clones = retireClones{clones{&lifecycle.Manager{Hypervisor: w.virt}, w.world}, w}
	w.Plain, w.Volumes = Host{}, noVolumes{w}
	w.Holders = func(string) ([]string, error) { return w.holders, nil }
	w.Chain = func(context.Context, string, string) (ImageFiles, error) { return w.files, w.filesErr }
	w.Version = "test"
	w.vars = filepath.Join(t.TempDir(), "imap_VARS.fd")
	w.original("raw")
	w.clone(`<vmmigrate:started time="2026-11-22T09:00:00Z"/>`)
	w.add(domain("web", webUUID, "52:54:00:77:88:99", "", fileDisk(w.theirs, "raw")))
	return w
}

func (w *retireWorld) nvram() string { return w.vars }

func (w *retireWorld) original(format string) {
	w.t.Helper()
	text := strings.ReplaceAll(domain("imap", imapUUID, imapMAC, "", fileDisk(w.plain, format)), "/nvram/imap_VARS.fd", w.nvram())
	w.add(text)
	no(w.t, os.WriteFile(w.nvram(), []byte("variables"), 0o600))
	w.virt.Change(imapUUID, func(d *hypervisor.Domain) { d.ManagedSave, d.Autostart = true, true })
}

func (w *retireWorld) clone(more string) { w.cloneOf(w.inode(w.plain), plainSize, more) }

func (w *retireWorld) cloneOf(id string, size int64, more string) {
	w.t.Helper()
	metadata := strings.Replace(origin(more), `source="/dev/vg0/imap"`, fmt.Sprintf(`source=%q size="%d" id=%q`, w.plain, size, id), 1)
	w.add(domain("imap-luks", cloneUUID, cloneMAC, metadata, disk("/dev/mapper/cr_imap_vda")))
}

func (w *retireWorld) inode(path string) string {
	w.t.Helper()
	info, err := os.Stat(path)
	no(w.t, err)
	return fmt.Sprintf("file %d", info.Sys().(*syscall.Stat_t).Ino)
}

func fileDisk(path, format string) string {
	return fmt.Sprintf(`<disk type='file' device='disk'><driver name='qemu' type='%s'/><source file='%s'/><target dev='vda'/></disk>`, format, path)
}

func (w *retireWorld) metadata(t *testing.T) domainxml.Origin {
	t.Helper()
	text, err := w.virt.XML(context.Background(), cloneUUID)
	no(t, err)
	origin, ok, err := domainxml.ReadOrigin(text)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return origin
}

// retireClones has header backups and a key that are what a test says.
type retireClones struct {
	clones
	w *retireWorld
}

func (c retireClones) CheckHeaders(context.Context, string, string) ([]lifecycle.HeaderCheck, error) {
	return []lifecycle.HeaderCheck{{Disk: "vda", Volume: "vg0/imap-vda-luks", Verdict: c.w.verdict}}, nil
}

func (c retireClones) TestKey(context.Context, string) ([]lifecycle.KeySlot, error) {
	return nil, c.w.keyErr
}

// noVolumes is LVM with the volumes that a test says.
type noVolumes struct{ w *retireWorld }

func (v noVolumes) VGs(context.Context) ([]lvm.VG, error)          { return nil, nil }
func (v noVolumes) LVs(context.Context) ([]lvm.LV, error)          { return v.w.lvs, nil }
func (v noVolumes) On(context.Context, string) ([]lvm.VG, error)   { return nil, nil }
func (v noVolumes) Activate(context.Context, string, string) error { return nil }
func (v noVolumes) RemoveExactly(context.Context, string, string, string, int64) error {
	return nil
}
