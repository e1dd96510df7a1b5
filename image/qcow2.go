package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// The qcow2 header, as QEMU's docs/interop/qcow2.txt has it.
const (
	qcow2Magic = 0x514649fb
	// v2Header is a version 2 header's bytes, and v3Header the least of a
	// version 3 one's.
	v2Header, v3Header = 72, 104
	// Extensions behind the header.
	extBackingFormat = 0xe2792aca
	extDataFile      = 0x44415441
	// nameMax is the longest name of a backing file.
	nameMax = 1023
	// l1Max is QEMU's bound of the level 1 table's bytes, and so of an image
	// (block/qcow2.h, QCOW_MAX_L1_SIZE).
	l1Max = 32 << 20
)

// Incompatible features, by bit: who does not know one must not read the image.
const (
	bitDirty = 1 << iota
	bitCorrupt
	bitDataFile
	bitCompression
	bitExtendedL2
	knownBits = 1<<iota - 1
)

// rawDataFile is the autoclear bit that says that the data file is what the
// guest sees, byte by byte.
const rawDataFile = 1 << 1

// qcow2Header is the header's fixed part. What version 2 lacks is 0.
type qcow2Header struct {
	Magic, Version                      uint32
	BackingOffset                       uint64
	BackingSize, ClusterBits            uint32
	Size                                uint64
	Crypt, L1Entries                    uint32
	L1Offset, RefcountOffset            uint64
	RefcountClusters, Snapshots         uint32
	SnapshotsOffset                     uint64
	Incompatible, Compatible, Autoclear uint64
	RefcountOrder, Length               uint32
	Compression                         uint8
	_                                   [7]byte
}

func readQCOW2(file *os.File, layer *Layer) (reference, error) {
	bad := func(format string, args ...any) (reference, error) {
		return reference{}, &Error{Path: layer.Path, Reason: fmt.Sprintf(format, args...)}
	}
	// All of it is in the first cluster, which has 2 MiB at most.
	head := make([]byte, 2<<20)
	n, err := file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return bad("can't be read: %s", bare(err))
	}
	head = head[:n]
	if len(head) < v2Header || binary.BigEndian.Uint32(head) != qcow2Magic {
		return bad("is no qcow2 image, although the domain or the image above it says so")
	}
	fixed := make([]byte, binary.Size(qcow2Header{}))
	copy(fixed, head)
	var h qcow2Header
	if _, err := binary.Decode(fixed, binary.BigEndian, &h); err != nil {
		return bad("has a header that can't be read: %v", err)
	}
	if h.Version == 2 {
		clear(fixed[v2Header:])
		_, _ = binary.Decode(fixed, binary.BigEndian, &h) // as before
		h.Length = v2Header
	}
	switch {
	case h.Version != 2 && h.Version != 3:
		return bad("is a qcow2 image of version %d, which nobody knows", h.Version)
	case h.ClusterBits < 9 || h.ClusterBits > 21:
		return bad("has a damaged header: clusters of 2^%d bytes", h.ClusterBits)
	case h.Version == 3 && (h.Length < v3Header || int64(h.Length) > 1<<h.ClusterBits):
		return bad("has a damaged header: it is %d bytes long", h.Length)
	case h.Incompatible&^knownBits != 0:
		return bad("has features that are not known (bits %#x of its header), so that it can't be read right", h.Incompatible&^knownBits)
	case h.Incompatible&bitCorrupt != 0:
		return reference{}, &Error{Path: layer.Path, Reason: "is marked as corrupt: QEMU met damage in it", Remedy: command.Quote([]string{"qemu-img", "check", "-r", "all", layer.Path})}
	case h.Crypt != 0:
		return bad("is encrypted by QEMU")
	case h.Compression > 1:
		return bad("is compressed in a way that is not known (%d)", h.Compression)
	}
	cluster := int64(1) << h.ClusterBits
	entry := int64(8)
	if h.Incompatible&bitExtendedL2 != 0 {
		entry = 16
	}
	perTable := cluster / entry * cluster // what one level 2 table maps
	if most := uint64(perTable) * (l1Max / 8); h.Size == 0 || h.Size%512 != 0 || h.Size > most {
		return bad("claims %d bytes for the guest's disk: it has to be a multiple of 512 up to %d", h.Size, most)
	}
	if need := (int64(h.Size) + perTable - 1) / perTable; int64(h.L1Entries) < need {
		return bad("has a damaged header: its level 1 table has %d entries, and %d bytes take %d", h.L1Entries, h.Size, need)
	}
	layer.Size, layer.Cluster, layer.Snapshots = int64(h.Size), cluster, int(h.Snapshots)
	layer.Features = features(h)
	return h.names(head, layer)
}

// extendedL2 is the feature of clusters that are kept in parts.
const extendedL2 = "extended L2"

func features(h qcow2Header) []string {
	words := []string{fmt.Sprintf("version %d", h.Version)}
	if h.Compression == 1 {
		words = append(words, "zstd")
	}
	if h.Incompatible&bitExtendedL2 != 0 {
		words = append(words, extendedL2)
	}
	if h.Incompatible&bitDataFile != 0 {
		words = append(words, "data file")
	}
	return words
}

// names finds the files that the header names.
func (h qcow2Header) names(head []byte, layer *Layer) (backing reference, err error) {
	bad := func(format string, args ...any) (reference, error) {
		return reference{}, &Error{Path: layer.Path, Reason: fmt.Sprintf(format, args...)}
	}
	head = head[:min(int64(len(head)), layer.Cluster)]
	extensions, err := h.extensions(head)
	if err != nil {
		return bad("has a damaged header: %v", err)
	}
	data, named := extensions[extDataFile]
	switch wanted := h.Incompatible&bitDataFile != 0; {
	case wanted && !named:
		return reference{}, &Error{Path: layer.Path, Reason: "keeps its data in another file and does not name it", Remedy: "name it with qemu-img amend -o data_file=FILE"}
	case wanted:
		if err := h.dataFile(layer, string(data)); err != nil {
			return reference{}, err
		}
	}
	if h.BackingOffset == 0 {
		return reference{}, nil
	}
	if h.BackingSize == 0 || h.BackingSize > nameMax || h.BackingOffset > uint64(len(head)) || uint64(h.BackingSize) > uint64(len(head))-h.BackingOffset {
		return bad("has a damaged header: the backing file's name is out of place")
	}
	name := string(head[h.BackingOffset:][:h.BackingSize])
	if backing.path, err = resolve(layer.Path, "backing file", name); err != nil {
		return reference{}, err
	}
	format := string(bytes.TrimRight(extensions[extBackingFormat], "\x00"))
	if format == "" {
		return reference{}, &Error{
			Path: layer.Path, Reason: fmt.Sprintf("has the backing file %s and does not say in which format; it is never guessed", backing.path),
			Remedy: command.Quote([]string{"qemu-img", "rebase", "-u", "-f", "qcow2", "-b", name, "-F", "FORMAT", layer.Path}),
		}
	}
	backing.format = Format(format)
	return backing, nil
}

// dataFile takes in the external data file.
func (h qcow2Header) dataFile(layer *Layer, name string) error {
	// QEMU opens a relative one from whatever folder it was started in
	// (7.2, block/qcow2.c, qcow2_do_open), so that nobody can say which it is.
	if !filepath.IsAbs(name) && !strings.Contains(name, ":") {
		return &Error{
			Path: layer.Path, Reason: fmt.Sprintf("names %q as its data file, which is no absolute path: it depends on where QEMU is started", name),
			Remedy: "name it in full with " + command.Quote([]string{"qemu-img", "amend", "-f", "qcow2", "-o", "data_file=/FOLDER/FILE", layer.Path}),
		}
	}
	path, err := resolve(layer.Path, "data file", name)
	if err != nil {
		return err
	}
	var of Layer
	file, _, size, err := open(path, &of)
	if err != nil {
		return &Error{Path: path, Reason: fmt.Sprintf("can't be opened: %s, and is the data file of %s", bare(err), layer.Path), Err: err}
	}
	defer file.Close() // it was only read
	// QEMU reads what is beyond its end as zeros. A raw one has every byte.
	if h.Autoclear&rawDataFile != 0 && size < layer.Size {
		return &Error{Path: path, Reason: fmt.Sprintf("has been cut short: it has %d bytes, and is the data file of %s with %d", size, layer.Path, layer.Size)}
	}
	layer.Data = []DataFile{{Path: path, Block: of.Block}}
	return nil
}

// extensions reads the header's extensions: a type, a length and so many bytes,
// rounded up to 8.
func (h qcow2Header) extensions(head []byte) (map[uint32][]byte, error) {
	found := make(map[uint32][]byte)
	for at := int(h.Length); at+8 <= len(head); {
		kind, length := binary.BigEndian.Uint32(head[at:]), int(binary.BigEndian.Uint32(head[at+4:]))
		if kind == 0 {
			return found, nil
		}
		at += 8
		if length < 0 || length > len(head)-at {
			return nil, fmt.Errorf("an extension of %d bytes is longer than what holds it", length)
		}
		if _, twice := found[kind]; twice {
			return nil, fmt.Errorf("it has the extension %#x twice", kind)
		}
		found[kind] = head[at : at+length]
		at += (length + 7) / 8 * 8
	}
	// A version 2 header may be followed by a backing file's name at once.
	return found, nil
}
