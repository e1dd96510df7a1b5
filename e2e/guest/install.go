package guest

import (
	"context"
	"fmt"
	"strings"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// Paths on the host, as Install lays a guest out.
const (
	// DataPath is the second disk's file, ISOPath the cdrom's.
	DataPath = "/var/lib/libvirt/images/imap-data.raw"
	ISOPath  = "/var/lib/libvirt/images/mailtools.iso"
	// MAC is the network interface's.
	MAC = "52:54:00:12:34:56"
)

// RootVolume is the name of the first disk's logical volume.
const RootVolume = "lvimap_hd0"

// Placed returns the domain imap as Install defines it.
func Placed(vg string) Spec {
	return Spec{Name: Name, Root: "/dev/" + vg + "/" + RootVolume, Data: DataPath, ISO: ISOPath, MAC: MAC}
}

// Install creates the guest's volume in the host's volume group vg, copies the
// images onto the host and defines the domain imap. It returns what it defined.
func Install(ctx context.Context, h *testhost.Host, images Images, vg string) (Spec, error) {
	spec := Placed(vg)
	if _, err := h.Shell(ctx, `lvcreate -q --yes --wipesignatures y -L "$1"b -n "$2" "$3"`, fmt.Sprint(rootSize), RootVolume, vg); err != nil {
		return Spec{}, err
	}
	for from, to := range map[string]string{images.Root: spec.Root, images.Data: spec.Data, images.ISO: spec.ISO} {
		if err := h.CopyIn(ctx, from, to); err != nil {
			return Spec{}, err
		}
	}
	return spec, Define(ctx, h, spec)
}

// Define defines a domain on the host, whose libvirtd has to run.
func Define(ctx context.Context, h *testhost.Host, spec Spec) error {
	xml, err := spec.XML()
	if err != nil {
		return err
	}
	c := h.Command("virsh", "-q", "define", "--validate", "/dev/stdin")
	c.Stdin = strings.NewReader(xml)
	_, err = c.Run(ctx)
	return err
}
