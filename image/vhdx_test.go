package image

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vhdxImage is a sound image of 5 MiB in blocks of 1 MiB, whose metadata begin
// at 1 MiB.
func vhdxImage() []byte {
	b := make([]byte, 1<<20+vhdxTable+4096)
	copy(b, "vhdxfile")
	for i := range 2 {
		head := b[vhdxHeader*(i+1):][:vhdxHeaderSize]
		copy(head, "head")
		binary.LittleEndian.PutUint64(head[8:], uint64(7+i))
		binary.LittleEndian.PutUint16(head[66:], 1)
		seal(head)
		regions := b[vhdxRegions+i*vhdxRegionsSize:][:vhdxRegionsSize]
		copy(regions, "regi")
		binary.LittleEndian.PutUint32(regions[8:], 1)
		copy(regions[16:], vhdxMetadata[:])
		binary.LittleEndian.PutUint64(regions[32:], 1<<20)
		seal(regions)
	}
	table := b[1<<20:]
	copy(table, "metadata")
	for i, item := range []struct {
		id      [16]byte
		content []byte
	}{
		{vhdxParameters, binary.LittleEndian.AppendUint64(nil, 1<<20)},
		{vhdxSize, binary.LittleEndian.AppendUint64(nil, 5<<20)},
		{vhdxSector, binary.LittleEndian.AppendUint32(nil, 512)},
	} {
		entry := table[32*(i+1):]
		copy(entry, item.id[:])
		binary.LittleEndian.PutUint32(entry[16:], uint32(vhdxTable+16*i))
		binary.LittleEndian.PutUint32(entry[20:], uint32(len(item.content)))
		copy(table[vhdxTable+16*i:], item.content)
		binary.LittleEndian.PutUint16(table[10:], uint16(i+1))
	}
	return b
}

// seal puts the checksum of a structure into it.
func seal(b []byte) {
	clear(b[4:8])
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func TestAVHDXIsReadByItsNewestHeaderAndAWholeTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	for name, harm := range map[string]func(b []byte){
		"nothing is wrong":                  func([]byte) {},
		"the first header is torn":          func(b []byte) { b[vhdxHeader+100]++ },
		"the second header is torn":         func(b []byte) { b[2*vhdxHeader+100]++ },
		"the first region table is torn":    func(b []byte) { b[vhdxRegions+100]++ },
		"the second region table is torn":   func(b []byte) { b[vhdxRegions+vhdxRegionsSize+100]++ },
		"the older header has writes to do": func(b []byte) { b[vhdxHeader+50] = 1; seal(b[vhdxHeader:][:vhdxHeaderSize]) },
	} {
		b := vhdxImage()
		harm(b)
		write(t, path, b)
		chain, err := Inspect(path, VHDX)
		if err != nil || chain[0].Size != 5<<20 || chain[0].Cluster != 1<<20 {
			t.Errorf("%s: %+v, %v", name, chain, err)
		}
	}
}

func TestAVHDXThatMustNotBeReadIsRefusedWithWords(t *testing.T) {
	const parameters, size, logical = 1<<20 + vhdxTable, 1<<20 + vhdxTable + 16, 1<<20 + vhdxTable + 32
	path := filepath.Join(t.TempDir(), "disk")
	for name, c := range map[string]struct {
		harm func(b []byte) []byte
		says string
	}{
		"nothing":                     {func([]byte) []byte { return nil }, "is no vhdx image"},
		"another format":              {func(b []byte) []byte { return header(1<<20, "", "") }, "is no vhdx image"},
		"a signature and no more":     {func(b []byte) []byte { return b[:512] }, "neither of its two is whole"},
		"a version of the future":     {func(b []byte) []byte { b[2*vhdxHeader+66] = 2; seal(b[2*vhdxHeader:][:vhdxHeaderSize]); return b }, "version 2"},
		"writes in its log":           {func(b []byte) []byte { b[2*vhdxHeader+50] = 1; seal(b[2*vhdxHeader:][:vhdxHeaderSize]); return b }, "log holds writes"},
		"a difference":                {func(b []byte) []byte { b[parameters+4] = 2; return b }, "only the differences"},
		"sectors of 4096":             {func(b []byte) []byte { b[logical+1] = 16; return b }, "sectors of 4096 bytes"},
		"blocks that are too small":   {func(b []byte) []byte { clear(b[parameters : parameters+4]); b[parameters+2] = 8; return b }, "in blocks of 524288"},
		"blocks of no power of two":   {func(b []byte) []byte { b[parameters+2] = 0x30; return b }, "in blocks of 3145728"},
		"a disk of nothing":           {func(b []byte) []byte { clear(b[size : size+8]); return b }, "claims 0 bytes"},
		"a disk without end":          {func(b []byte) []byte { b[size+7] = 0xff; return b }, "damaged header: it claims"},
		"half a sector":               {func(b []byte) []byte { b[size]++; return b }, "claims 5242881 bytes"},
		"no region table":             {func(b []byte) []byte { b[vhdxRegions+100]++; b[vhdxRegions+vhdxRegionsSize+100]++; return b }, "region tables is whole"},
		"no metadata":                 {func(b []byte) []byte { return b[:1<<20] }, "there are no metadata"},
		"metadata cut short":          {func(b []byte) []byte { return b[:size] }, "does not say how large"},
		"an item that is not there":   {func(b []byte) []byte { b[1<<20+64]++; return b }, "does not say how large"},
		"one item twice":              {func(b []byte) []byte { copy(b[1<<20+64:][:16], vhdxParameters[:]); return b }, "twice"},
		"metadata that point nowhere": {func(b []byte) []byte { b[1<<20+32+19] = 0xff; return b }, "does not say how large"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, path, c.harm(vhdxImage()))
			var bad *Error
			if chain, err := Inspect(path, VHDX); !errors.As(err, &bad) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it is %+v, %v", chain, err)
			}
		})
	}
}

// The parts of an image that a fuzzer changes are put where they belong, with
// their checksums if sealed.
func FuzzVHDX(f *testing.F) {
	sound := vhdxImage()
	regions, table := sound[vhdxRegions:][:128], sound[1<<20:][:256]
	f.Add(sound[vhdxHeader:][:128], regions, table, sound[1<<20+vhdxTable:][:64], true)
	f.Add(sound[vhdxHeader:][:128], regions, table, sound[1<<20+vhdxTable:][:64], false)
	path := filepath.Join(f.TempDir(), "disk")
	f.Fuzz(func(t *testing.T, head, regions, table, items []byte, sealed bool) {
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		put := func(part []byte, at int64, size int) {
			b := make([]byte, size)
			copy(b, part)
			if sealed && at < 1<<20 && at > 0 {
				seal(b)
			}
			if _, err := file.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
		put([]byte("vhdxfile"), 0, 512)
		put(head, vhdxHeader, vhdxHeaderSize)
		put(regions, vhdxRegions, vhdxRegionsSize)
		put(table, 1<<20, vhdxTable)
		put(items, 1<<20+vhdxTable, 4096)
		chain, err := Inspect(path, VHDX)
		var bad *Error
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("an error of another type: %v", err)
		}
		if err == nil && (chain[0].Size <= 0 || chain[0].Size > vhdxSizeMax || chain[0].Size%512 != 0 || chain[0].Cluster < 1<<20 || chain[0].Cluster > 256<<20) {
			t.Errorf("%+v", chain)
		}
	})
}
