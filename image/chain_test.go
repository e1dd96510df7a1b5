package image

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// header is a sound qcow2 header of version 3 with clusters of 64 KiB, and a
// backing file if it has a name.
func header(size uint64, backing, format string) []byte {
	b := make([]byte, 65536)
	put := func(at int, n uint64) { binary.BigEndian.PutUint64(b[at:], n) }
	binary.BigEndian.PutUint32(b, qcow2Magic)
	binary.BigEndian.PutUint32(b[4:], 3)
	binary.BigEndian.PutUint32(b[20:], 16)
	put(24, size)
	binary.BigEndian.PutUint32(b[36:], 1<<20)
	binary.BigEndian.PutUint32(b[100:], 112)
	at := 112
	if format != "" {
		binary.BigEndian.PutUint32(b[at:], extBackingFormat)
		binary.BigEndian.PutUint32(b[at+4:], uint32(len(format)))
		copy(b[at+8:], format)
		at += 8 + (len(format)+7)/8*8
	}
	at += 8 // the end of the extensions
	if backing != "" {
		put(8, uint64(at))
		binary.BigEndian.PutUint32(b[16:], uint32(len(backing)))
		copy(b[at:], backing)
	}
	return b
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAChainIsFollowedFromTheFolderOfEachImage(t *testing.T) {
	dir := t.TempDir()
	top, middle, base := filepath.Join(dir, "a", "top"), filepath.Join(dir, "b", "middle"), filepath.Join(dir, "b", "base")
	write(t, top, header(1<<30, "../b/middle", "qcow2"))
	write(t, middle, header(1<<29, "base", "raw"))
	write(t, base, header(1<<20, "/etc/shadow", "raw")) // a guest's content, which is not looked at
	chain, err := Inspect(top, QCOW2)
	if err != nil {
		t.Fatal(err)
	}
	if files := strings.Join(chain.Files(), " "); files != top+" "+middle+" "+base {
		t.Errorf("the files are %s", files)
	}
	if chain[0].Size != 1<<30 || chain[1].Size != 1<<29 || chain[2].Size != 65536 {
		t.Errorf("the sizes are those of %+v", chain)
	}
}

// What QEMU is handed names every driver and every file, and ends every chain.
func TestTheGraphLeavesNothingToLookUp(t *testing.T) {
	chain := Chain{
		{Path: "/a/top", Format: QCOW2, Data: []DataFile{{Path: "/dev/vg0/data", Block: true}}},
		{Path: "/a/middle \"x\",{}", Format: QCOW2},
		{Path: "/dev/vg0/base", Format: Raw, Block: true},
	}
	text, is := strings.CutPrefix(chain.graph(), "json:")
	var got, want any
	if err := json.Unmarshal([]byte(text), &got); err != nil || !is {
		t.Fatalf("%s: %v", text, err)
	}
	if err := json.Unmarshal([]byte(`{"driver":"qcow2","file":{"driver":"file","filename":"/a/top"},"data-file":{"driver":"host_device","filename":"/dev/vg0/data"},
		"backing":{"driver":"qcow2","file":{"driver":"file","filename":"/a/middle \"x\",{}"},
		"backing":{"driver":"raw","file":{"driver":"host_device","filename":"/dev/vg0/base"}}}}`), &want); err != nil {
		t.Fatal(err)
	}
	if a, b := marshal(t, got), marshal(t, want); a != b {
		t.Errorf("the graph is\n%s, not\n%s", a, b)
	}
	if alone := chain.alone(); !strings.Contains(alone, `"backing":null`) || strings.Contains(alone, "middle") {
		t.Errorf("the image alone is %s", alone)
	}
	if single := (Chain{{Path: "/a", Format: QCOW2}}).graph(); !strings.Contains(single, `"backing":null`) {
		t.Errorf("a chain of one leaves its end open: %s", single)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAChainHasAnEnd(t *testing.T) {
	dir := t.TempDir()
	for i := range layersMax + 1 {
		write(t, filepath.Join(dir, string(rune('a'+i/26))+string(rune('a'+i%26))), header(1<<20, string(rune('a'+(i+1)/26))+string(rune('a'+(i+1)%26)), "qcow2"))
	}
	var bad *Error
	if _, err := Inspect(filepath.Join(dir, "aa"), QCOW2); !errors.As(err, &bad) || !strings.Contains(err.Error(), "200 are in the chain already") {
		t.Errorf("%v", err)
	}
}

// Products of what a header says must not come out small.
func TestAVDIWhoseSumsOverflowIsCutShort(t *testing.T) {
	vdi, err := os.ReadFile("testdata/heads/static.vdi")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "disk")
	for _, numbers := range [][2]uint32{{5, 1 << 20}, {1<<32 - 1, 1<<32 - 512}, {1 << 31, 1 << 31}} {
		binary.LittleEndian.PutUint32(vdi[0x184:], numbers[0])
		binary.LittleEndian.PutUint32(vdi[0x178:], numbers[1])
		write(t, path, vdi)
		var bad *Error
		if _, err := Inspect(path, VDI); !errors.As(err, &bad) || !strings.Contains(err.Error(), "cut short") {
			t.Errorf("%v: %v", numbers, err)
		}
	}
}

// To open a device can be an act: a tape rewinds, a watchdog begins to count. A
// FIFO tells that it was opened.
func TestWhatIsNoFileIsNotEvenOpened(t *testing.T) {
	dir := t.TempDir()
	top, pipe := filepath.Join(dir, "top"), filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, top, header(1<<20, "pipe", "raw"))
	opened := make(chan error, 1)
	go func() {
		file, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for a reader
		if err == nil {
			err = file.Close()
		}
		opened <- err
	}()
	time.Sleep(50 * time.Millisecond)
	var bad *Error
	if _, err := Inspect(top, QCOW2); !errors.As(err, &bad) || bad.Path != pipe || !strings.Contains(err.Error(), "neither a regular file nor a block device") {
		t.Errorf("%v", err)
	}
	select {
	case <-opened:
		t.Error("it was opened")
	case <-time.After(50 * time.Millisecond):
		reader, err := os.OpenFile(pipe, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = reader.Close()
		<-opened
	}
}
