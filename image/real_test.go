//go:build realhost

package image_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/image"
)

// These run QEMU's programs and need nothing else: they are also run outside of
// a test host.

func qemuImg(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("qemu-img", args...).Output()
	if err != nil {
		t.Fatalf("qemu-img %q: %v", args, err)
	}
	return out
}

func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512
}

// made is an image that was written in pieces, and what a guest has to see of it.
func made(t *testing.T, spec image.NewSpec) (path string, want []byte) {
	t.Helper()
	path, want = filepath.Join(t.TempDir(), "made, with:odd 'name'.qcow2"), make([]byte, spec.Size)
	tools := image.Tools{}
	if err := tools.Create(t.Context(), path, spec); err != nil {
		t.Fatal(err)
	}
	_, _ = rand.NewChaCha8([32]byte{1}).Read(want[1<<20 : 3<<20+512])
	copy(want[len(want)-512:], "the end")
	target, err := tools.OpenTarget(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if target.Size() != spec.Size || target.Name() != path {
		t.Errorf("%s has %d bytes", target.Name(), target.Size())
	}
	const block = 4 << 20
	for at := int64(0); at < spec.Size; at += block {
		if _, err := target.WriteAt(want[at:min(at+block, spec.Size)], at); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 4096)
	if _, err := target.ReadAt(got, 2<<20); err != nil || !bytes.Equal(got, want[2<<20:2<<20+4096]) {
		t.Errorf("what was written is not read back: %v", err)
	}
	if err := errors.Join(target.Sync(), target.Close(), target.Close()); err != nil {
		t.Fatal(err)
	}
	return path, want
}

func TestRealWhatIsWrittenToAnImageIsReadBackAndItsZerosTakeNoRoom(t *testing.T) {
	for name, spec := range map[string]image.NewSpec{
		"QEMU's clusters": {Size: 64<<20 + 512, Cluster: 64 << 10}, "large clusters": {Size: 64 << 20, Cluster: 2 << 20},
		"extended L2": {Size: 64 << 20, Cluster: 128 << 10, ExtendedL2: true},
	} {
		t.Run(name, func(t *testing.T) {
			path, want := made(t, spec)
			chain, err := image.Inspect(path, image.QCOW2)
			if err != nil {
				t.Fatal(err)
			}
			if like := image.Like(chain); like != spec {
				t.Errorf("it was made as %+v", like)
			}
			source, err := image.Tools{}.Open(t.Context(), chain)
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close()
			got := make([]byte, spec.Size)
			if _, err := source.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("it reads back otherwise: %v", err)
			}
			if room := allocated(t, path); room > 3<<20+8*spec.Cluster {
				t.Errorf("2 MiB of data take %d bytes", room)
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		})
	}
}

func TestRealWrittenOverWithZerosAnImageReadsAsZeros(t *testing.T) {
	path, want := made(t, image.NewSpec{Size: 8 << 20, Cluster: 64 << 10})
	target, err := image.Tools{}.OpenTarget(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	clear(want[1<<20 : 2<<20])
	if _, err := target.WriteAt(want[1<<20:2<<20], 1<<20); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1<<20)
	if _, err := target.ReadAt(got, 1<<20); err != nil || !bytes.Equal(got, want[1<<20:2<<20]) {
		t.Errorf("%v", err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRealAnImageThatIsWrittenIsNobodyElses(t *testing.T) {
	path, _ := made(t, image.NewSpec{Size: 8 << 20, Cluster: 64 << 10})
	target, err := image.Tools{}.OpenTarget(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	var locked *image.LockedError
	if _, err := (image.Tools{}).OpenTarget(t.Context(), path); !errors.As(err, &locked) {
		t.Errorf("%v", err)
	}
	if err := (image.Tools{}).Mend(t.Context(), path); !errors.As(err, &locked) {
		t.Errorf("%v", err)
	}
}

func TestRealLeaksAreMendedAndDamageIsTold(t *testing.T) {
	path, _ := made(t, image.NewSpec{Size: 8 << 20, Cluster: 64 << 10})
	if err := (image.Tools{}).Mend(t.Context(), path); err != nil {
		t.Errorf("a sound one: %v", err)
	}
	// The level 1 table's only entry points beyond the file's end.
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 48)
	if _, err := file.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	l1 := int64(head[45])<<16 | int64(head[46])<<8 | int64(head[47])
	if _, err := file.WriteAt([]byte{0x80, 0, 0, 0, 0x7f, 0, 0, 0}, l1); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	var bad *image.Error
	if err := (image.Tools{}).Mend(t.Context(), path); !errors.As(err, &bad) {
		t.Errorf("a damaged one: %v", err)
	}
}

func TestRealAFullFileSystemIsTold(t *testing.T) {
	dir := os.Getenv("SMALL_FOLDER")
	if dir == "" {
		t.Fatal("SMALL_FOLDER names no folder with less than 16 MiB")
	}
	path := filepath.Join(dir, "full.qcow2")
	t.Cleanup(func() { _ = os.Remove(path) })
	if err := (image.Tools{}).Create(t.Context(), path, image.NewSpec{Size: 64 << 20, Cluster: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	target, err := image.Tools{}.OpenTarget(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	content := bytes.Repeat([]byte{7}, 1<<20)
	for at := int64(0); at < 64<<20; at += 1 << 20 {
		if _, err = target.WriteAt(content, at); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
}

func TestRealAFullImageIsNeverLargerThanWasSaid(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		spec := image.NewSpec{
			Size: 512 * rapid.Int64Range(1, 1<<33).Draw(r, "sectors"), Cluster: 1 << rapid.IntRange(16, 21).Draw(r, "cluster bits"),
			ExtendedL2: rapid.Bool().Draw(r, "extended"),
		}
		options := "cluster_size=" + strconv.FormatInt(spec.Cluster, 10)
		if spec.ExtendedL2 {
			options += ",extended_l2=on"
		}
		var measured struct {
			Full int64 `json:"fully-allocated"`
		}
		out := qemuImg(t, "measure", "--output=json", "-O", "qcow2", "-o", options, "--size", strconv.FormatInt(spec.Size, 10))
		if err := json.Unmarshal(out, &measured); err != nil {
			r.Fatal(err)
		}
		// The level 1 table is as large as QEMU makes it: a cluster more or less.
		if full := spec.Full(); full < measured.Full || full > measured.Full+spec.Cluster {
			r.Fatalf("%+v: %d, and QEMU measures %d", spec, full, measured.Full)
		}
	})
}

func TestRealWhatAnImageHoldsIsMeasured(t *testing.T) {
	path, _ := made(t, image.NewSpec{Size: 64 << 20, Cluster: 64 << 10})
	chain, err := image.Inspect(path, image.QCOW2)
	if err != nil {
		t.Fatal(err)
	}
	need, err := image.Tools{}.Needed(t.Context(), chain, image.Like(chain))
	if err != nil || need < 2<<20 || need > 3<<20 {
		t.Errorf("%d, %v", need, err)
	}
}
