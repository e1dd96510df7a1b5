package image

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime/metrics"
	"testing"
	"time"
)

// heads adds the first bytes of images that qemu-img 7.2 has made of a disk of
// 5 MiB, in a format.
func heads(f *testing.F, format Format) {
	f.Helper()
	paths, err := filepath.Glob("testdata/heads/*." + string(format))
	if err != nil || len(paths) < 2 {
		f.Fatal(paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, uint32(0))
		f.Add(text, uint32(8<<20))
	}
}

// fuzz reads what a fuzzer made of a header, in a file that is as much longer as
// it says. Whatever it holds, it is read within bounds of time and memory, and
// what is accepted is a disk that sums do not overflow on.
func fuzz(f *testing.F, format Format) {
	f.Helper()
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, more uint32) {
		path := filepath.Join(dir, "disk")
		write(t, path, content)
		if err := os.Truncate(path, int64(len(content))+int64(more)); err != nil {
			t.Fatal(err)
		}
		before, begin := allocated(), time.Now()
		chain, err := Inspect(path, format)
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if used := allocated() - before; used > 64<<20 {
			t.Errorf("%d bytes were allocated", used)
		}
		var bad *Error
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("an error of another type: %v", err)
		}
		if err != nil {
			return
		}
		for _, layer := range chain {
			if layer.Size < 0 || layer.Size%512 != 0 && layer.Format != Raw || layer.Size > 1<<61 || layer.Cluster < 0 || layer.Cluster > 1<<32 || layer.Snapshots < 0 {
				t.Errorf("a layer %+v", layer)
			}
		}
		if chain[0].Size == 0 {
			t.Errorf("a disk without bytes: %+v", chain)
		}
		_ = chain.graph()
	})
}

// allocated is how many bytes were ever allocated on the heap.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func FuzzQCOW2(f *testing.F) {
	heads(f, QCOW2)
	f.Add(header(1<<30, "", ""), uint32(0))
	f.Add(header(1<<30, "base", "raw"), uint32(0))
	f.Add(header(1<<30, "disk", "qcow2"), uint32(0))
	f.Add(header(1<<30, "disk", "raw"), uint32(512))
	f.Add(header(1<<62, "/dev/null", "vdi"), uint32(0))
	fuzz(f, QCOW2)
}

func FuzzVMDK(f *testing.F) {
	heads(f, VMDK)
	sparse := append([]byte(vmdkMagic), make([]byte, 1020)...)
	sparse[12+2], sparse[20] = 1, 128
	f.Add(sparse, uint32(0))
	f.Add([]byte("# Disk DescriptorFile\nparentCID=ffffffff\nRW 8 FLAT \"disk\" 0\nRW 8 SPARSE \"disk\"\n"), uint32(4096))
	f.Add([]byte("# Disk DescriptorFile\nparentCID=ffffffff\nRW 2251799813685248 FLAT \"disk\" 9223372036854775807\n"), uint32(4096))
	fuzz(f, VMDK)
}

func FuzzVDI(f *testing.F) {
	heads(f, VDI)
	vdi := make([]byte, 1024)
	binary.LittleEndian.PutUint32(vdi[0x40:], vdiSignature)
	binary.LittleEndian.PutUint32(vdi[0x44:], vdiVersion)
	binary.LittleEndian.PutUint32(vdi[0x4c:], 1)
	binary.LittleEndian.PutUint64(vdi[0x170:], 1<<30)
	binary.LittleEndian.PutUint32(vdi[0x178:], 1<<20)
	f.Add(vdi, uint32(0))
	fuzz(f, VDI)
}
