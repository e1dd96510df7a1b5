package domainxml

import (
	"fmt"
	"slices"

	"github.com/beevik/etree"
)

// Image is a disk that a definition is to have in the place of one of its own.
type Image struct {
	// Path is the host's file or device; Block is true for a device.
	Path  string
	Block bool
	// Format is what the driver reads it as, such as "raw" or "qcow2".
	Format string
}

// DiskCountError says that a template has another number of disks than there
// are images to put into their places.
type DiskCountError struct {
	// Targets are the template's disks that a guest could write to.
	Targets []string
	// Images is how many images there are.
	Images int
}

func (e *DiskCountError) Error() string {
	disks, images := fmt.Sprintf("%d disks", len(e.Targets)), fmt.Sprintf("there are %d images", e.Images)
	if len(e.Targets) == 1 {
		disks = "1 disk"
	}
	if e.Images == 1 {
		images = "there is 1 image"
	}
	return fmt.Sprintf("the template has %s to write to and %s; each image takes the place of one, in order", disks, images)
}

// SecretError says that a text that is to be kept, and shown, holds a password.
type SecretError struct{}

func (*SecretError) Error() string {
	return "it holds a password (passwd or cookie), which would stand in the job's record and in what is shown of it"
}

// WithImages puts images into a template, in the places of the disks that a
// guest could write to, in order. What a disk is to the guest (bus, target,
// serial, boot order) stays; what described its old source goes. All else is
// the template's, its name and UUID too: Rewrite makes another domain of it.
//
// It returns what Parse and Rewrite return, a *DiskCountError, and a
// *SecretError for a template with a password.
func WithImages(text []byte, images []Image) (Rewritten, error) {
	before, err := Parse(text)
	if err != nil {
		return Rewritten{}, err
	}
	if blot(string(text)) != string(text) {
		return Rewritten{}, new(SecretError)
	}
	var places []int
	var targets []string
	for i, disk := range before.disks {
		if (disk.Device == "disk" || disk.Device == "lun") && !disk.ReadOnly {
			places, targets = append(places, i), append(targets, disk.Target)
		}
	}
	if len(places) != len(images) {
		return Rewritten{}, &DiskCountError{Targets: targets, Images: len(images)}
	}
	for _, image := range images {
		if reason := badPath(image.Path); reason != "" {
			return Rewritten{}, &EditError{Field: "Image", Value: image.Path, Reason: reason}
		}
	}
	e, err := newEditor(before, Edit{})
	if err != nil {
		return Rewritten{}, err
	}
	disks := e.devices("disk")
	for i, place := range places {
		e.putImage(disks[place], before.disks[place].Target, images[i])
	}
	return e.finish()
}

// putImage gives a disk another source.
func (e *editor) putImage(disk *etree.Element, target string, image Image) {
	why := "disk " + target + " is to be " + image.Path
	kind, attribute := "file", "file"
	if image.Block {
		kind, attribute = "block", "dev"
	}
	e.set(disk, "type", kind, why)
	// A whole SCSI device is no image, and is shown to the guest as a disk.
	if attrValue(disk, "device") == "lun" {
		e.set(disk, "device", "disk", why)
	}
	e.drop(disk, "rawio", why)
	e.drop(disk, "sgio", why)
	for _, tag := range []string{"backingStore", "mirror", "auth", "encryption", "transient", "shareable"} {
		for _, old := range kids(disk, tag) {
			e.remove(old, why)
		}
	}
	driver := kid(disk, "driver")
	if driver == nil {
		driver = etree.NewElement("driver")
		driver.CreateAttr("name", "qemu")
		driver.CreateAttr("type", image.Format)
		e.addFirst(disk, driver, why)
	} else {
		e.set(driver, "type", image.Format, why)
		if image.Format != "qcow2" {
			for _, tuning := range kids(driver, "metadata_cache") {
				e.remove(tuning, why)
			}
			e.drop(driver, "discard_no_unref", why)
		}
	}
	if old := kid(disk, "source"); old != nil {
		// In its place, so that each difference is told.
		for _, child := range old.ChildElements() {
			e.remove(child, why)
		}
		for _, a := range slices.Clone(old.Attr) {
			if a.Key != attribute {
				e.drop(old, a.FullKey(), why)
			}
		}
		e.set(old, attribute, image.Path, why)
		return
	}
	source := etree.NewElement("source")
	source.CreateAttr(attribute, image.Path)
	e.addAfter(driver, source, why)
}
