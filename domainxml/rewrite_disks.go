package domainxml

import (
	"strconv"

	"github.com/beevik/etree"
)

// disks points the moved disks at their devices. What tunes a disk for the
// guest or the host (bus, serial, boot order, cache, io, queues, iothread,
// iotune, block sizes, alias, address) stays.
func (e *editor) disks() error {
	elements := make(map[string]*etree.Element)
	for i, element := range e.devices("disk") {
		elements[e.before.disks[i].Target] = element
	}
	for _, de := range e.edit.Disks {
		disk, err := e.before.Disk(de.Target)
		if err != nil {
			return err
		}
		e.moveDisk(elements[de.Target], disk, de)
	}
	if e.clone {
		e.sharedDisks()
	}
	return nil
}

func (e *editor) moveDisk(element *etree.Element, disk Disk, de DiskEdit) {
	moved := "disk " + disk.Target + " moves from " + disk.where() + " to " + de.where()
	kind, key, place := "block", "dev", "volume"
	if de.Image != "" {
		kind, key, place = "file", "file", "new image"
	}
	e.set(element, "type", kind, moved)
	e.driver(element, disk, de)

	source := kid(element, "source")
	// The new attribute takes the old one's place in the tag.
	if attrIndex(source, key) < 0 {
		for i, a := range source.Attr {
			if a.Space == "" && (a.Key == "file" || a.Key == "dev" || a.Key == "pool") {
				e.note(Removed, e.path(source, a.Key), a.Value, "", moved)
				e.note(Added, e.path(source, key), "", de.where(), moved)
				source.Attr[i] = etree.Attr{Key: key, Value: de.where()}
				break
			}
		}
	}
	e.set(source, key, de.where(), moved)
	for _, old := range []string{"file", "dev", "pool", "volume", "mode"} {
		if old != key {
			e.drop(source, old, moved)
		}
	}
	e.drop(source, "startupPolicy", "with it the clone would start without disk "+disk.Target+" when its volume is not unlocked")
	e.drop(source, "index", "it numbered an image of the running original")
	e.drop(source, "fdgroup", "the program that opened the original's file does not open the "+place)
	for _, backing := range kids(element, "backingStore") {
		e.remove(backing, "it described the images behind the original's; the "+place+" has none")
	}
	for _, data := range kids(source, "dataStore") {
		e.remove(data, "it described the file that held the original image's data")
	}
	for _, label := range kids(source, "seclabel") {
		if attrValue(label, "relabel") == "no" || kid(label, "label") != nil {
			e.warn("disk %s: its own <seclabel> is kept, so libvirt may not give %s the label that QEMU needs; check it before the first start", disk.Target, de.where())
		}
	}
	if de.GuestSize > 0 {
		slices := etree.NewElement("slices")
		slice := slices.CreateElement("slice")
		slice.CreateAttr("type", "storage")
		slice.CreateAttr("offset", "0")
		slice.CreateAttr("size", strconv.FormatInt(de.GuestSize, 10))
		if at := indent(source); at != "" {
			slices.InsertChildAt(0, etree.NewText(at+unit+unit))
			slices.AddChild(etree.NewText(at + unit))
		}
		e.addLast(source, slices, "the device is larger than disk "+disk.Target+" was; the guest goes on seeing exactly "+strconv.FormatInt(de.GuestSize, 10)+" bytes")
	}
}

func (e *editor) driver(element *etree.Element, disk Disk, de DiskEdit) {
	if de.Image != "" {
		// The guest's discards make room on the file system alone, so they may
		// stay what they were.
		if e.edit.AllowDiscards {
			e.set(kid(element, "driver"), "discard", "unmap", "discards are allowed, so that the guest's reach the volume")
		}
		return
	}
	raw := "the volume holds disk " + disk.Target + " as it is, with no image format"
	driver := kid(element, "driver")
	if driver == nil {
		driver = etree.NewElement("driver")
		driver.CreateAttr("name", "qemu")
		driver.CreateAttr("type", "raw")
		if e.edit.AllowDiscards {
			driver.CreateAttr("discard", "unmap")
		}
		e.addFirst(element, driver, raw)
		return
	}
	e.set(driver, "type", "raw", raw)
	if disk.Format == "qcow2" {
		for _, tuning := range kids(driver, "metadata_cache") {
			e.remove(tuning, "it tunes the tables of a qcow2 image, and the volume has none")
		}
		e.drop(driver, "discard_no_unref", "it tunes the tables of a qcow2 image, and the volume has none")
	}
	switch {
	case e.edit.AllowDiscards:
		e.set(driver, "discard", "unmap", "discards are allowed, so that the guest's reach the volume")
	case attrValue(driver, "discard") == "unmap":
		// QEMU would open a device that takes no discards and pass them on;
		// libvirt reads detect_zeroes='unmap' as 'on' when discard is not
		// 'unmap' (docs/formatdomain.rst), so that one may stay.
		e.set(driver, "discard", "ignore", "discards would show on the encrypted volume which blocks are in use; they are not allowed")
	}
}

// sharedDisks warns of writable disks that both domains would have.
func (e *editor) sharedDisks() {
	moved := make(map[string]bool)
	for _, de := range e.edit.Disks {
		moved[de.Target] = true
	}
	for _, disk := range e.before.disks {
		if disk.Kind != Keep && !moved[disk.Target] {
			e.warnOf(UnmovedDisk, disk.Target, "disk %s (%s) is not moved: it stays as unencrypted as it was, and both domains write to it, so they must never run at the same time",
				disk.Target, disk.source())
		}
	}
}
