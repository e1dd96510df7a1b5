package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Microsoft's vhdx ([MS-VHDX], version 6.0). All numbers are in little endian.
const (
	// Two headers (2.2.2) and two region tables (2.2.3), of which one is good
	// whenever power fails.
	vhdxHeader, vhdxHeaderSize   = 64 << 10, 4 << 10
	vhdxRegions, vhdxRegionsSize = 192 << 10, 64 << 10
	vhdxTable                    = 64 << 10 // the metadata's (2.6.1)
	vhdxEntries                  = 2047     // the most that either table has
	vhdxSizeMax                  = 64 << 40 // 2.6.2.2
)

// GUIDs as they are in a file: the first three fields are little endian.
var (
	vhdxMetadata   = [16]byte{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}
	vhdxParameters = [16]byte{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}
	vhdxSize       = [16]byte{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}
	vhdxSector     = [16]byte{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f}
)

func readVHDX(file *os.File, layer *Layer) error {
	bad := func(format string, args ...any) error {
		return &Error{Path: layer.Path, Reason: fmt.Sprintf(format, args...)}
	}
	if signature := piece(file, 0, 8); string(signature) != "vhdxfile" {
		return bad("is no vhdx image, although the domain or the image above it says so")
	}
	header := vhdxCurrent(file)
	if header == nil {
		return bad("has a damaged header: neither of its two is whole")
	}
	if version := binary.LittleEndian.Uint16(header[66:]); version != 1 {
		return bad("is a vhdx image of version %d, which can't be read", version)
	}
	if log := header[48:64]; !bytes.Equal(log, make([]byte, 16)) {
		return &Error{
			Path: layer.Path, Reason: "was not closed: its log holds writes that are not in their places yet",
			Remedy: command.Quote([]string{"qemu-img", "check", "-r", "all", "-f", "vhdx", layer.Path}),
		}
	}
	items, err := vhdxItems(file)
	if err != nil {
		return bad("has a damaged header: %v", err)
	}
	parameters, size, logical := items[vhdxParameters], items[vhdxSize], items[vhdxSector]
	if len(parameters) < 8 || len(size) < 8 || len(logical) < 4 {
		return bad("has a damaged header: it does not say how large the disk, a block or a sector is")
	}
	block, flags, disk := binary.LittleEndian.Uint32(parameters), binary.LittleEndian.Uint32(parameters[4:]), binary.LittleEndian.Uint64(size)
	switch unit := binary.LittleEndian.Uint32(logical); {
	case flags&2 != 0:
		return &Error{Path: layer.Path, Reason: "is a vhdx that holds only the differences to another image", Remedy: "make one image of the two with Hyper-V's Merge-VHD"}
	case unit != sector:
		return bad("is a disk with sectors of %d bytes: the VM that it becomes would have 512", unit)
	// 2.6.2.1: from 1 to 256 MiB, a power of two.
	case block < 1<<20 || block > 256<<20 || block&(block-1) != 0 || disk == 0 || disk > vhdxSizeMax || disk%sector != 0:
		return bad("has a damaged header: it claims %d bytes in blocks of %d", disk, block)
	}
	layer.Size, layer.Cluster = int64(disk), int64(block)
	return nil
}

// piece is n bytes at a place, or what there is of them.
func piece(file *os.File, at, n int64) []byte {
	b := make([]byte, n)
	got, _ := file.ReadAt(b, at) // a shorter file has less
	return b[:got]
}

// whole says that a structure has its signature and, at byte 4, the CRC-32C of
// itself with zeros there.
func whole(b []byte, signature string, size int) bool {
	if len(b) < size || string(b[:4]) != signature {
		return false
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(b[:4], table), table, make([]byte, 4))
	return crc32.Update(sum, table, b[8:size]) == binary.LittleEndian.Uint32(b[4:])
}

// vhdxCurrent is the header that was written last, or nil.
func vhdxCurrent(file *os.File) []byte {
	var current []byte
	for i := range int64(2) {
		b := piece(file, vhdxHeader*(i+1), vhdxHeaderSize)
		if whole(b, "head", vhdxHeaderSize) && (current == nil || binary.LittleEndian.Uint64(b[8:]) > binary.LittleEndian.Uint64(current[8:])) {
			current = b
		}
	}
	return current
}

// vhdxItems reads the items of the metadata, the first eight bytes of each.
func vhdxItems(file *os.File) (map[[16]byte][]byte, error) {
	var regions []byte
	for i := range int64(2) {
		if b := piece(file, vhdxRegions+i*vhdxRegionsSize, vhdxRegionsSize); regions == nil && whole(b, "regi", vhdxRegionsSize) {
			regions = b
		}
	}
	if regions == nil {
		return nil, fmt.Errorf("neither of its region tables is whole")
	}
	start := int64(0)
	for entry := range vhdxList(regions[16:], binary.LittleEndian.Uint32(regions[8:])) {
		if id := [16]byte(entry); id == vhdxMetadata {
			start = int64(min(binary.LittleEndian.Uint64(entry[16:]), sizeMax))
		}
	}
	table := piece(file, start, vhdxTable)
	if start < 1<<20 || len(table) < vhdxTable || string(table[:8]) != "metadata" {
		return nil, fmt.Errorf("there are no metadata where its region table says")
	}
	items := make(map[[16]byte][]byte)
	for entry := range vhdxList(table[32:], uint32(binary.LittleEndian.Uint16(table[10:]))) {
		id, offset, length := [16]byte(entry), int64(binary.LittleEndian.Uint32(entry[16:])), binary.LittleEndian.Uint32(entry[20:])
		if _, twice := items[id]; twice {
			return nil, fmt.Errorf("it has one item of the metadata twice")
		}
		if offset >= vhdxTable { // 2.6.1.2; one without content has none
			items[id] = piece(file, start+offset, int64(min(length, 8)))
		}
	}
	return items, nil
}

// vhdxList goes through a table's entries of 32 bytes.
func vhdxList(table []byte, count uint32) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for i := range int(min(count, vhdxEntries)) {
			if len(table) < (i+1)*32 || !yield(table[i*32:][:32]) {
				return
			}
		}
	}
}
