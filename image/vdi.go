package image

import (
	"encoding/binary"
	"fmt"
	"os"
)

// VirtualBox's header: the signature, and fields in little endian (QEMU,
// block/vdi.c, VdiHeader).
const (
	vdiSignature = 0xbeda107f
	vdiVersion   = 0x00010001
	vdiHeader    = 0x1c8
)

func readVDI(file *os.File, size int64, layer *Layer) error {
	head := make([]byte, vdiHeader)
	if n, _ := file.ReadAt(head, 0); n < vdiHeader || binary.LittleEndian.Uint32(head[0x40:]) != vdiSignature {
		return &Error{Path: layer.Path, Reason: "is no vdi image, although the domain or the image above it says so"}
	}
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(head[at:])) }
	kind, data, block := u32(0x4c), u32(0x158), u32(0x178)
	disk, allocated := binary.LittleEndian.Uint64(head[0x170:]), u32(0x184)
	var none [32]byte
	switch {
	case u32(0x44) != vdiVersion:
		return &Error{Path: layer.Path, Reason: fmt.Sprintf("is a vdi image of version %#x, which can't be read", u32(0x44))}
	case kind != 1 && kind != 2 || string(head[0x1a8:0x1c8]) != string(none[:]):
		return &Error{Path: layer.Path, Reason: "is a vdi that holds only the differences to another image", Remedy: "make one image of the two with VBoxManage clonemedium"}
	case disk == 0 || disk > sizeMax || block < 4096 || block%512 != 0:
		return &Error{Path: layer.Path, Reason: fmt.Sprintf("has a damaged header: it claims %d bytes in blocks of %d", disk, block)}
	// QEMU reads what is beyond the end of the file as zeros.
	case size < data || allocated > (size-data)/block:
		return &Error{Path: layer.Path, Reason: fmt.Sprintf("has been cut short: it has %d bytes, and its header says that there are %d blocks of %d behind the first %d", size, allocated, block, data)}
	}
	layer.Size, layer.Cluster = (int64(disk)+511)/512*512, block
	return nil
}
