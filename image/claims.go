package image

import (
	"bytes"
	"encoding/binary"
)

// Claims is the format that a disk's first bytes claim to be, or "". It is for
// a warning and nothing else: a guest can write these bytes into its own raw
// disk, and whoever believes them reads what the guest chose.
func Claims(head []byte) Format {
	switch {
	case len(head) >= 4 && binary.BigEndian.Uint32(head) == qcow2Magic:
		return QCOW2
	case bytes.HasPrefix(head, []byte(vmdkMagic)), bytes.HasPrefix(head, []byte("# Disk DescriptorFile")):
		return VMDK
	case len(head) >= 68 && binary.LittleEndian.Uint32(head[64:]) == vdiSignature:
		return VDI
	case bytes.HasPrefix(head, []byte("vhdxfile")):
		return VHDX
	case bytes.HasPrefix(head, []byte("conectix")):
		return "vpc"
	}
	return ""
}
