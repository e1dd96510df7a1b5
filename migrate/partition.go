package migrate

import (
	"encoding/binary"
	"io"
	"slices"
)

// isPhysicalVolume looks for LVM's label, which is in one of the first four
// sectors: it begins with "LABELONE" and says "LVM2 001" at offset 24 (lvm2,
// lib/label/label.h).
func isPhysicalVolume(disk io.ReaderAt) bool {
	sectors := make([]byte, 4*512)
	n, _ := disk.ReadAt(sectors, 0) // a shorter disk has fewer of them
	for label := range slices.Chunk(sectors[:n], 512) {
		if len(label) >= 32 && string(label[:8]) == "LABELONE" && string(label[24:32]) == "LVM2 001" {
			return true
		}
	}
	return false
}

// tableEnd returns how many bytes of a disk its partition table claims, or 0
// if it has none. A disk that is shorter than that has lost its end: copying it
// would make a clone that is as broken, and call that a success.
//
// GPT is read as in UEFI 2.10, 5.3.2: the header at LBA 1 begins with "EFI
// PART" and names at offset 32 the LBA of its backup, which is the disk's last.
// An MBR holds four entries of 16 bytes from offset 446, each with its first
// sector at 8 and its length at 12, both in sectors.
func tableEnd(disk io.ReaderAt, logicalBlock int64) int64 {
	for _, block := range []int64{logicalBlock, 512, 4096} {
		header := make([]byte, 92)
		if _, err := disk.ReadAt(header, block); err != nil || string(header[:8]) != "EFI PART" {
			continue
		}
		last := binary.LittleEndian.Uint64(header[32:40])
		const most = 1 << 50 // sectors: more than any disk has, so noise
		if last == 0 || last > most {
			return 0
		}
		return (int64(last) + 1) * block
	}

	mbr := make([]byte, 512)
	if _, err := disk.ReadAt(mbr, 0); err != nil || mbr[510] != 0x55 || mbr[511] != 0xaa {
		return 0
	}
	var end int64
	for i := range 4 {
		entry := mbr[446+16*i : 446+16*(i+1)]
		// A boot sector of a filesystem ends in 55 AA too; its "entries"
		// are code or text. A real entry's first byte is 0x00 or 0x80.
		if entry[0] != 0 && entry[0] != 0x80 {
			return 0
		}
		const protective = 0xee // belongs to a GPT, and may claim 2 TiB
		if entry[4] == 0 || entry[4] == protective {
			continue
		}
		first, count := binary.LittleEndian.Uint32(entry[8:12]), binary.LittleEndian.Uint32(entry[12:16])
		end = max(end, (int64(first)+int64(count))*logicalBlock)
	}
	return end
}
