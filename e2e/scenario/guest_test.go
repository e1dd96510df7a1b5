//go:build e2e

package scenario

import (
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

func TestAGuestBootsFromAPlainVolumeAndReadsWhatIsThere(t *testing.T) {
	ctx := t.Context()
	cache, err := testhost.DefaultCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	images, err := guest.Build(ctx, cache)
	if err != nil {
		t.Fatal(err)
	}
	h, err := testhost.Start(ctx, testhost.Options{Libvirt: true, Disks: []testhost.Disk{{Size: 768 << 20, Noise: true}}, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.PowerCut()
	if _, err := h.Shell(ctx, `pvcreate -q --yes "$1"; vgcreate -q vg0 "$1"`, h.Device(0)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	spec, err := guest.Install(ctx, h, images, "vg0")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("installed after %s", time.Since(begin))
	report, err := guest.Boot(ctx, h, spec.Name)
	t.Logf("%+v", report)
	if err != nil {
		t.Fatal(err)
	}
	report, err = guest.Boot(ctx, h, spec.Name)
	t.Logf("%+v", report)
	if err != nil {
		t.Fatal(err)
	}
}
