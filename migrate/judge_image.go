package migrate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// imageFinding is the blocker that an image is.
func imageFinding(target string, bad *image.Error) Finding {
	return Finding{Code: SourceImage, Disk: target, Message: fmt.Sprintf("the image of %s can't be moved: %v", target, bad), Remedy: bad.Remedy}
}

// judgeChain blocks an image whose chain must not be followed, or that holds
// more than what the guest sees now.
func (d *Decider) judgeChain(plan *Plan, disk domainxml.Disk, facts DiskFacts) {
	if len(facts.Chain) == 0 {
		return
	}
	target, top := disk.Target, facts.Chain[0]
	if n := top.Snapshots; n > 0 {
		plan.block(SourceImage, target, "see them with "+command.Quote([]string{"qemu-img", "snapshot", "-l", top.Path})+", and delete each with "+command.Quote([]string{"qemu-img", "snapshot", "-d", "SNAPSHOT", top.Path}),
			"the image of %s has %s inside, which would not move with it: %s", target, count(n, "snapshot"), top.Path)
	}
	if stray := strayFile(facts.Chain, disk.Backing, plan.Options.BackingDirs); stray != "" {
		plan.block(SourceImage, target, "if it belongs to the disk, allow its folder with --backing-dir DIR",
			"the image of %s names a file outside of its own folder: %s", target, stray)
	}
	if reason := otherChain(disk, facts.Chain); reason != "" {
		plan.block(SourceImage, target, "make the domain's <backingStore> and the images' headers agree (virsh edit, qemu-img rebase -u)",
			"the image of %s has another chain than the domain says: %s", target, reason)
	}
	for i, file := range facts.Files {
		if file.Busy && i > 0 { // the first is the disk's own, which was judged
			plan.block(SourceBusy, target, "see what holds it: "+command.Quote([]string{"lsblk", file.Path}),
				"the image of %s stands on a device that this host itself uses: %s", target, file.Path)
		}
	}
}

// otherChain says how the chain that the domain itself names, if it does,
// differs from that in the images' headers. libvirt starts the guest on the
// domain's, and QEMU's tools read the headers': it must be one and the same.
func otherChain(disk domainxml.Disk, chain image.Chain) string {
	if !disk.BackingGiven {
		return ""
	}
	behind := chain[1:]
	if len(disk.Backing) != len(behind) {
		return fmt.Sprintf("it names %s behind the disk's own, and there are %d", count(len(disk.Backing), "image"), len(behind))
	}
	for i, layer := range behind {
		if real(disk.Backing[i]) != real(layer.Path) {
			return fmt.Sprintf("it names %s where there is %s", disk.Backing[i], layer.Path)
		}
		if disk.BackingFormats[i] != string(layer.Format) {
			return fmt.Sprintf("it names the format %s for %s, which is %s", disk.BackingFormats[i], layer.Path, layer.Format)
		}
	}
	return ""
}

// includes says whether a disk's bytes are also in the file or device with
// that ID.
func (d DiskFacts) includes(id string) bool {
	return d.ID == id || slices.ContainsFunc(d.Files, func(file DeviceFacts) bool { return file.ID == id })
}

// inactive is the logical volume of that path that has no device, if there is
// one.
func (d *Decider) inactive(path string) *lvm.LV {
	for i := range d.Facts.LVs {
		if lv := &d.Facts.LVs[i]; !lv.Active && (lv.Path == path || lv.DMPath == path) && path != "" {
			return lv
		}
	}
	return nil
}

// Images says in words how a source that is an image is read: each layer with
// its format and what is special about it. It is empty for a raw disk.
func (s SourcePlan) Images() []string {
	var lines []string
	for _, layer := range s.Chain {
		words := append([]string{string(layer.Format)}, layer.Features...)
		if layer.Format != image.Raw {
			words = append(words, humanize.IBytes(uint64(layer.Cluster))+" clusters")
		}
		line := layer.Path + " (" + strings.Join(words, ", ") + ")"
		for _, data := range layer.Data {
			line += ", data in " + data.Path
		}
		lines = append(lines, line)
	}
	return lines
}
