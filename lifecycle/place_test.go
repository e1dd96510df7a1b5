package lifecycle

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

const (
	partition = "/dev/disk/by-partuuid/b1a2-01"
	byUUID    = "/dev/disk/by-uuid/" + webLUKS
	webLUKS   = "5e0a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d3e"
)

// onPartition adds the clone web-luks, whose disk is on a partition that is
// found at paths and nowhere else.
func (w *world) onPartition(paths ...string) {
	w.t.Helper()
	size := w.vault.Size
	w.vault.Size = func(path string) (int64, error) {
		if slices.Contains(paths, path) {
			return 24 * mib, nil
		}
		if strings.HasPrefix(path, "/dev/disk/") {
			return 0, &lvm.NotFoundError{Kind: "device", Name: path}
		}
		return size(path)
	}
	resolve := w.vault.Resolve
	w.vault.Resolve = func(path string) string {
		if slices.Contains(paths, path) {
			return "/dev/sdb1"
		}
		return resolve(path)
	}
	w.devices.sizes = map[string]int64{}
	for _, path := range paths {
		w.devices.sizes[path] = 24 * mib
	}
	w.define(domain("web-luks", webUUID, "52:54:00:44:55:77", `<metadata><vmmigrate:clone xmlns:vmmigrate="https://vmmigrate.github.io/xmlns/clone/1" job="20260301-120000-aaaa">
<vmmigrate:origin name="web" uuid="11111111-2222-4333-8444-555555555555"/>
<vmmigrate:disk target="vda" source="/srv/web.raw" path="`+partition+`" luks="`+webLUKS+`" mapper="cr_web_vda"/>
</vmmigrate:clone></metadata>`, disk("vda", "/dev/mapper/cr_web_vda", "")))
}

func TestADiskOnAPartitionIsUnlockedAndLockedLikeAnyOther(t *testing.T) {
	for _, at := range [][]string{{partition, byUUID}, {byUUID}} {
		w := newWorld(t)
		w.onPartition(at...)
		w.format(at[0], webLUKS)
		no(t, w.Start(t.Context(), "web-luks"))
		w.isOpen("cr_web_vda")
		report, err := w.Look(t.Context(), "web-luks")
		no(t, err)
		status := report.Clones[0].Disks[0]
		if status.Volume != at[0] || status.Err != nil || !status.Open || (status.RecordedVolume == partition) != (at[0] != partition) {
			t.Errorf("at %s its status is %+v", at[0], status)
		}
		no(t, w.Stop(t.Context(), "web-luks", StopOptions{Timeout: time.Minute}))
		w.isOpen("")
	}
}

func TestADiskInAFileIsFoundByItsPathAlone(t *testing.T) {
	if (Place{Path: partition}).File() || !(Place{Path: "/srv/luks/web.img"}).File() || (Place{}).File() {
		t.Error("a file is what is not below /dev")
	}
	locked := Disk{Below: Place{Path: "/srv/luks/web.img"}}
	open := locked
	open.Mapping = &luks.Mapping{Device: "/dev/loop7"}
	if locked.device() != "" || open.device() != "/dev/loop7" {
		t.Errorf("its device is %q locked and %q open", locked.device(), open.device())
	}
}

func TestAPartitionThatIsAwayOrBlankIsToldApart(t *testing.T) {
	w := newWorld(t)
	w.onPartition()
	if err := wrong[*VolumeError](t, w.Start(t.Context(), "web-luks")); err.Volume != partition || !strings.Contains(err.Error(), "it is not there, and no other device bears the LUKS header "+webLUKS) {
		t.Error(err)
	}
	w = newWorld(t)
	w.onPartition(partition)
	if err := wrong[*HeaderLostError](t, w.Start(t.Context(), "web-luks")); err.Volume != partition {
		t.Error(err)
	}
	w.vault.Sign(partition, luks.Signature{Type: "ext4"})
	wrong[*HeaderLostError](t, w.Start(t.Context(), "web-luks"))
	w.isOpen("")
}
