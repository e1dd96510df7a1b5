package image

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// VMware's sparse extent begins with "KDMV"; a descriptor is text that names
// the extents (VMware, Virtual Disk Format 5.0).
const (
	vmdkMagic     = "KDMV"
	descriptorMax = 64 << 10
	sector        = 512
	// sizeMax is what an image may claim: no disk is larger, and sums of it
	// do not overflow.
	sizeMax = 1 << 60
)

var extentLine = regexp.MustCompile(`^(RW|RDONLY|NOACCESS) ([0-9]+) ([A-Z0-9]+)(?: "([^"]*)"(?: ([0-9]+))?)?`)

func readVMDK(file *os.File, size int64, layer *Layer) error {
	head := make([]byte, min(size, descriptorMax))
	n, _ := file.ReadAt(head, 0) // a shorter file has less
	head = head[:n]
	if len(head) >= 512 && string(head[:4]) == vmdkMagic {
		return readSparse(file, head, layer)
	}
	if !strings.HasPrefix(string(head), "# Disk DescriptorFile") {
		return &Error{Path: layer.Path, Reason: "is no vmdk image, although the domain or the image above it says so"}
	}
	return readDescriptor(string(head), layer)
}

// readSparse reads an image that is one sparse extent with the descriptor
// within: monolithicSparse and streamOptimized.
func readSparse(file *os.File, head []byte, layer *Layer) error {
	capacity, grain := binary.LittleEndian.Uint64(head[12:]), binary.LittleEndian.Uint64(head[20:])
	at, length := binary.LittleEndian.Uint64(head[28:]), binary.LittleEndian.Uint64(head[36:])
	// No capacity is a descriptor in disguise, which names other files.
	if capacity == 0 || capacity > sizeMax/sector || grain < 8 || grain > 1<<16 || length > descriptorMax/sector || at > 1<<20 {
		return &Error{Path: layer.Path, Reason: fmt.Sprintf("has a damaged header, or is no single sparse vmdk: it claims %d sectors", capacity)}
	}
	layer.Size, layer.Cluster = int64(capacity)*sector, int64(grain)*sector
	text := make([]byte, length*sector)
	n, _ := file.ReadAt(text, int64(at)*sector) // what is not there names no parent
	return parentless(string(text[:n]), layer)
}

// parentless refuses an image that is a difference to another.
func parentless(descriptor string, layer *Layer) error {
	for line := range strings.Lines(descriptor) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key = strings.TrimSpace(key); key == "parentFileNameHint" || key == "parentCID" && !strings.EqualFold(strings.TrimSpace(value), "ffffffff") {
			return &Error{Path: layer.Path, Reason: "is a vmdk that holds only the differences to another image", Remedy: "make one image of the two with qemu-img convert -O qcow2"}
		}
	}
	return nil
}

// readDescriptor reads a descriptor and finds its extents, each of which has to
// be a file in the same folder.
func readDescriptor(text string, layer *Layer) error {
	if err := parentless(text, layer); err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		fields := extentLine.FindStringSubmatch(strings.TrimSpace(line))
		if fields == nil {
			continue
		}
		refuse := func(reason string) error {
			return &Error{Path: layer.Path, Reason: fmt.Sprintf("has the extent %q, %s", strings.TrimSpace(line), reason), Remedy: "make one image of it with qemu-img convert -O qcow2"}
		}
		access, kind, name := fields[1], fields[3], fields[4]
		sectors, err := strconv.ParseInt(fields[2], 10, 64)
		switch {
		case err != nil || sectors <= 0 || sectors > sizeMax/sector || layer.Size > sizeMax:
			return refuse("whose size makes no sense")
		case access != "RW" || kind != "FLAT" && kind != "SPARSE":
			return refuse("which is of a kind that can't be read")
		case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/:\x00"):
			return refuse("which is not in the descriptor's own folder")
		}
		path := filepath.Join(filepath.Dir(layer.Path), name)
		var of Layer
		file, _, size, err := open(path, &of)
		if err != nil {
			return &Error{Path: path, Reason: fmt.Sprintf("can't be opened: %s, and is an extent of %s", bare(err), layer.Path), Err: err}
		}
		_ = file.Close()                                       // it was only looked at
		offset, err := strconv.ParseInt("0"+fields[5], 10, 64) // none is 0
		if err != nil || kind == "FLAT" && (offset > sizeMax/sector || size < (offset+sectors)*sector) {
			return &Error{Path: path, Reason: fmt.Sprintf("has been cut short: it has %d bytes, and %s says that it has more", size, layer.Path)}
		}
		layer.Data = append(layer.Data, DataFile{Path: path, Block: of.Block})
		layer.Size += sectors * sector
	}
	if len(layer.Data) == 0 {
		return &Error{Path: layer.Path, Reason: "is a vmdk descriptor without extents"}
	}
	layer.Cluster = 64 << 10 // the usual grain; extents may differ
	return nil
}
