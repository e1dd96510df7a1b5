//go:build e2e

package sources

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/image"
)

// These tests need QEMU's programs and no host of their own.

const guestSize = 24<<20 + 512 // no multiple of 4096

// run runs a program that has to succeed.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	c := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// content is a guest's disk: noise, text that compresses, and nothing, in
// turns that fit no cluster.
func content(size int64) []byte {
	noise := rand.NewChaCha8([32]byte{8})
	b := make([]byte, size)
	for at, turn := 0, 0; at < len(b); turn++ {
		n := min(len(b)-at, 300_000+turn*1000)
		switch part := b[at : at+n]; turn % 3 {
		case 0:
			_, _ = noise.Read(part) // never fails
		case 1:
			copy(part, bytes.Repeat([]byte("a line of a log file\n"), n/21+1))
		}
		at += n
	}
	return b
}

// sums are the SHA-256 of files.
func sums(t *testing.T, paths []string) map[string][32]byte {
	t.Helper()
	all := make(map[string][32]byte)
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, file); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		all[path] = [32]byte(h.Sum(nil))
	}
	return all
}

// same fails unless every file is as it was: invariant 1.
func same(t *testing.T, before map[string][32]byte) {
	t.Helper()
	var paths []string
	for path := range before {
		paths = append(paths, path)
	}
	for path, sum := range sums(t, paths) {
		if sum != before[path] {
			t.Errorf("the source %s is not as it was", path)
		}
	}
}

// direct are tools that read from the images' own files what they can, as run
// does; reads counts those reads, of every file, if it is not nil.
func direct(reads *atomic.Int64) image.Tools {
	return image.Tools{OpenFile: func(path string) (image.File, error) {
		file, err := blockcopy.OpenSource(path)
		return counted{file, reads}, err
	}}
}

type counted struct {
	image.File
	reads *atomic.Int64
}

func (c counted) ReadAt(p []byte, at int64) (int, error) {
	if c.reads != nil {
		c.reads.Add(1)
	}
	return c.File.ReadAt(p, at)
}

// copied copies an image to a file as run copies it to a payload, and returns
// what is in the file.
func copied(t *testing.T, tools image.Tools, chain image.Chain) []byte {
	t.Helper()
	source, err := tools.Open(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}()
	payload := (source.Size() + 4095) / 4096 * 4096
	path := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(path, bytes.Repeat([]byte{0xa5}, int(payload)), 0o600); err != nil {
		t.Fatal(err)
	}
	target, err := blockcopy.OpenTarget(path, payload)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if _, err := blockcopy.Copy(t.Context(), blockcopy.Job{Source: source, Target: target, PayloadSize: payload}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if extra := got[source.Size():]; !bytes.Equal(extra, make([]byte, len(extra))) {
		t.Error("what lies behind the guest's disk is no zeros")
	}
	return got[:source.Size()]
}

func TestEveryImageIsCopiedAsTheGuestSeesIt(t *testing.T) {
	guest := content(guestSize)
	for _, c := range []struct {
		name   string
		format image.Format
		// make makes disk, beside the raw file guest.
		make string
		has  string // a feature that Inspect has to name
		// served says that nothing of it is in a file as the guest sees it, or
		// too scattered.
		served bool
	}{
		{"qcow2 v2", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o compat=0.10 guest disk", "version 2", false},
		{"qcow2 v3", image.QCOW2, "qemu-img convert -f raw -O qcow2 guest disk", "version 3", false},
		{"qcow2 zlib", image.QCOW2, "qemu-img convert -c -f raw -O qcow2 guest disk", "", false},
		{"qcow2 zstd", image.QCOW2, "qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd guest disk", "zstd", false},
		{"qcow2 extended L2", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o extended_l2=on,cluster_size=128k guest disk", "extended L2", false},
		{"qcow2 clusters of 512", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o cluster_size=512 guest disk", "", true},
		{"qcow2 clusters of 2M, zlib", image.QCOW2, "qemu-img convert -c -f raw -O qcow2 -o cluster_size=2M guest disk", "", true},
		{"qcow2 preallocated", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o preallocation=falloc guest disk", "", false},
		{"qcow2 data file", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o data_file=$PWD/disk.data guest disk", "data file", false},
		{"qcow2 raw data file", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o data_file=$PWD/disk.data,data_file_raw=on guest disk", "data file", false},
		{"qcow2 on raw, relative", image.QCOW2, "cp guest base.img; qemu-img create -q -f qcow2 -b base.img -F raw disk; scribble disk", "", false},
		{"qcow2 on qcow2 on qcow2", image.QCOW2, `qemu-img convert -c -f raw -O qcow2 guest a; qemu-img create -q -f qcow2 -b a -F qcow2 b; scribble b
			qemu-img create -q -f qcow2 -b ./b -F qcow2 disk; qemu-io -f qcow2 -c 'write -z 1M 3M' -c 'write -P 7 5M 64k' disk`, "", false},
		{"qcow2 on a smaller one", image.QCOW2, "qemu-img create -q -f qcow2 small 1M; qemu-img create -q -f qcow2 -b small -F qcow2 disk 24M; scribble disk", "", false},
		{"qcow2 in a folder below", image.QCOW2, "mkdir base; cp guest base/raw; qemu-img create -q -f qcow2 -b base/raw -F raw disk", "", false},
		{"qcow2 with odd names", image.QCOW2, `cp guest 'a "b", {c} ü.img'; qemu-img create -q -f qcow2 -b './a "b", {c} ü.img' -F raw disk; scribble disk`, "", false},
		{"qcow2 with bitmaps", image.QCOW2, "qemu-img convert -f raw -O qcow2 guest disk; qemu-img bitmap --add disk one", "", false},
		{"qcow2 with leaks", image.QCOW2, "qemu-img convert -f raw -O qcow2 guest disk; qemu-io -f qcow2 -c 'discard 0 1M' disk", "", false},
		{"qcow2, empty", image.QCOW2, "qemu-img create -q -f qcow2 disk 24M", "", true},
		{"vmdk monolithicSparse", image.VMDK, "qemu-img convert -f raw -O vmdk guest disk", "", false},
		{"vmdk streamOptimized", image.VMDK, "qemu-img convert -f raw -O vmdk -o subformat=streamOptimized guest disk", "", true},
		{"vmdk monolithicFlat", image.VMDK, "qemu-img convert -f raw -O vmdk -o subformat=monolithicFlat guest disk", "", true},
		{"vmdk twoGbMaxExtentSparse", image.VMDK, "qemu-img convert -f raw -O vmdk -o subformat=twoGbMaxExtentSparse guest disk", "", true},
		{"vdi", image.VDI, "qemu-img convert -f raw -O vdi guest disk", "", false},
		{"vdi static", image.VDI, "qemu-img convert -f raw -O vdi -o static=on guest disk", "", false},
		{"vhdx", image.VHDX, "qemu-img convert -f raw -O vhdx guest disk", "", true},
		{"vhdx fixed", image.VHDX, "qemu-img convert -f raw -O vhdx -o subformat=fixed guest disk", "", true},
		{"qcow2 on vhdx", image.QCOW2, "qemu-img convert -f raw -O vhdx guest b; qemu-img create -q -f qcow2 -b b -F vhdx disk; scribble disk", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "guest"), guest, 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, "bash", "-ec", `cd "$1"
				scribble() { qemu-io -f qcow2 -c 'write -P 17 128k 512k' -c 'write -z 700k 64k' -c 'write -P 99 900k 3k' "$1"; }
				{ `+c.make+`
				} >/dev/null`, "-", folder)
			disk := filepath.Join(folder, "disk")
			// As QEMU itself shows it to a guest, and by another program of it.
			run(t, "qemu-img", "convert", "-f", string(c.format), "-O", "raw", disk, filepath.Join(folder, "want"))
			want, err := os.ReadFile(filepath.Join(folder, "want"))
			if err != nil {
				t.Fatal(err)
			}
			chain, err := image.Inspect(disk, c.format)
			if err != nil {
				t.Fatal(err)
			}
			before := sums(t, chain.Files())
			if err := (image.Tools{}).Check(t.Context(), chain); err != nil {
				t.Error(err)
			}
			if chain[0].Size != int64(len(want)) {
				t.Errorf("Inspect says %d bytes, and the guest sees %d", chain[0].Size, len(want))
			}
			if !strings.Contains(strings.Join(chain[0].Features, ", "), c.has) {
				t.Errorf("the features are %q", chain[0].Features)
			}
			if !bytes.Equal(copied(t, image.Tools{}, chain), want) {
				t.Error("the copy through qemu-nbd is not what the guest sees")
			}
			var reads atomic.Int64
			if !bytes.Equal(copied(t, direct(&reads), chain), want) {
				t.Error("the copy from the files is not what the guest sees")
			}
			if (reads.Load() > 0) == c.served {
				t.Errorf("%d reads from the files", reads.Load())
			}
			same(t, before)
		})
	}
}
