package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Format is an image's format, by the name that libvirt and QEMU have for it.
type Format string

// The formats that can be read. libvirt knows more (qemu-img -h lists QEMU's);
// what else there is, qemu-img convert turns into one of these.
const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
	VMDK  Format = "vmdk"
	VDI   Format = "vdi"
	// VHDX is none of libvirt's: an image that no VM has yet can be one.
	VHDX Format = "vhdx"
)

// Supported says whether images of a format can be read.
func Supported(format string) bool {
	return slices.Contains([]Format{Raw, QCOW2, VMDK, VDI, VHDX}, Format(format))
}

// Layer is one image of a chain.
type Layer struct {
	Path   string `json:"path"`
	Format Format `json:"format"`
	// Block is true for one on a block device.
	Block bool `json:"block,omitempty"`
	// Size is what the guest sees of it, in bytes, and Cluster the unit it is
	// kept in, 0 for raw.
	Size    int64 `json:"size"`
	Cluster int64 `json:"cluster,omitempty"`
	// Data are the further files that hold its bytes: qcow2's external data
	// file, or the extents of a vmdk.
	Data []DataFile `json:"data,omitempty"`
	// Features are words for what is special about it, such as "zstd".
	Features []string `json:"features,omitempty"`
	// Snapshots is how many internal snapshots it has.
	Snapshots int `json:"snapshots,omitempty"`
}

// DataFile is a file that holds bytes of a layer whose header is elsewhere.
type DataFile struct {
	Path string `json:"path"`
	// Block is true for a block device.
	Block bool `json:"block,omitempty"`
}

// Chain is a disk's image and those behind it, its own first.
type Chain []Layer

// Files are the paths of all files of the chain, the disk's own first.
func (c Chain) Files() []string {
	var paths []string
	for _, layer := range c {
		paths = append(paths, layer.Path)
		for _, data := range layer.Data {
			paths = append(paths, data.Path)
		}
	}
	return paths
}

// layersMax is how long a chain may be: libvirt takes no deeper one either
// (200, src/storage_file/storage_source.c).
const layersMax = 200

// Inspect reads the headers of the image at path, whose format is given, and of
// all images behind it. What can't be read, or must not be, is an *Error.
func Inspect(path string, format Format) (Chain, error) {
	var chain Chain
	seen := make(map[string]string)
	overlay := ""
	for {
		layer, backing, id, err := inspect(path, format)
		if err != nil {
			return nil, behind(overlay, err)
		}
		if _, twice := seen[id]; twice {
			return nil, &Error{Path: overlay, Reason: fmt.Sprintf("names %s as its backing file, which is above it in the same chain: the chain is a ring", path)}
		}
		seen[id] = path
		chain = append(chain, layer)
		if backing.path == "" {
			return chain, nil
		}
		if len(chain) == layersMax {
			return nil, &Error{Path: path, Reason: fmt.Sprintf("has another image behind it, and %d are in the chain already", layersMax)}
		}
		overlay, path, format = path, backing.path, backing.format
	}
}

// behind tells of an image behind another whose it is.
func behind(overlay string, err error) error {
	var bad *Error
	if overlay == "" || !errors.As(err, &bad) {
		return err
	}
	named := *bad
	named.Reason += ", and is the backing file of " + overlay
	return &named
}

// reference is the next image of a chain; no path is none.
type reference struct {
	path   string
	format Format
}

// inspect reads one image's header.
func inspect(path string, format Format) (layer Layer, backing reference, id string, err error) {
	layer = Layer{Path: path, Format: format}
	if !utf8.ValidString(path) {
		return layer, backing, "", &Error{Path: fmt.Sprintf("%q", path), Reason: "has a name that is no UTF-8, which QEMU can't be given"}
	}
	file, id, size, err := open(path, &layer)
	if err != nil {
		return layer, backing, "", &Error{Path: path, Reason: "can't be opened: " + bare(err), Err: err}
	}
	defer file.Close() // it was only read
	switch format {
	case Raw:
		layer.Size = size
	case QCOW2:
		backing, err = readQCOW2(file, &layer)
	case VMDK:
		err = readVMDK(file, size, &layer)
	case VDI:
		err = readVDI(file, size, &layer)
	case VHDX:
		err = readVHDX(file, &layer)
	default:
		err = &Error{Path: path, Reason: fmt.Sprintf("has the format %s, which can't be read", format), Remedy: "convert it with qemu-img convert -O qcow2"}
	}
	return layer, backing, id, err
}

// open opens a file or device for reading and tells its identity and size.
func open(path string, layer *Layer) (file *os.File, id string, size int64, err error) {
	// To open a device can be an act: one that is neither is only looked at. By
	// the descriptor it is the same file that is then opened.
	look, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", 0, err
	}
	defer func() { _ = unix.Close(look) }() // it was only looked at
	var stat unix.Stat_t
	if err := unix.Fstat(look, &stat); err != nil {
		return nil, "", 0, err
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		id = fmt.Sprintf("file %d %d", stat.Dev, stat.Ino)
	case unix.S_IFBLK:
		id, layer.Block = fmt.Sprintf("block %d", stat.Rdev), true
	default:
		return nil, "", 0, errors.New("it is neither a regular file nor a block device")
	}
	file, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", look), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", 0, err
	}
	if size, err = file.Seek(0, io.SeekEnd); err != nil {
		_ = file.Close() // it was only read
		return nil, "", 0, err
	}
	return file, id, size, nil
}

// bare is an error without the path, which is told beside it.
func bare(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// resolve makes a path of the name that an image's header has for another file.
// A relative one begins at the image's own folder, as QEMU takes it
// (block.c, path_combine). What QEMU would take for a protocol is refused
// (path_has_protocol: a colon before the first slash).
func resolve(image, what, name string) (string, error) {
	refuse := func(reason string) (string, error) {
		return "", &Error{
			Path: image, Reason: fmt.Sprintf("names %q as its %s, %s", name, what, reason),
			Remedy: "put a plain path there with qemu-img rebase -u",
		}
	}
	switch colon, slash := strings.IndexByte(name, ':'), strings.IndexByte(name, '/'); {
	case name == "":
		return refuse("which is empty")
	case strings.IndexByte(name, 0) >= 0:
		return refuse("which no file can be called")
	case strings.HasPrefix(name, "json:"):
		return refuse("which is a description and no path")
	case colon >= 0 && (slash < 0 || colon < slash):
		return refuse("which is an address and no path")
	}
	if !filepath.IsAbs(name) {
		name = filepath.Dir(image) + "/" + name
	}
	return filepath.Clean(name), nil
}
