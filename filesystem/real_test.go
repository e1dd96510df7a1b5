//go:build realhost

package filesystem_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/filesystem/filesystemtest"
	"github.com/vmmigrate/vmmigrate/internal/command"
)

// These tests are for the inside of a test host alone: they overwrite the disks
// that REALHOST_DISKS names (two, separated by a comma).

func realDisks(t *testing.T) (one, other string, size int64) {
	t.Helper()
	names := strings.Split(os.Getenv("REALHOST_DISKS"), ",")
	if len(names) != 2 {
		t.Fatal("REALHOST_DISKS must name two disks that may be overwritten")
	}
	f, err := os.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if size, err = f.Seek(0, 2); err != nil {
		t.Fatal(err)
	}
	return names[0], names[1], size
}

func TestRealFileSystemsDoWhatTheFakeDoes(t *testing.T) {
	one, other, size := realDisks(t)
	filesystemtest.Conformance(t, filesystemtest.Env{
		Client: filesystem.New(command.Local{}), Device: one, Other: other, Folder: t.TempDir(), Size: size,
		Put: func(t *testing.T, path string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		Link: func(t *testing.T, path string) {
			if err := os.Symlink(t.TempDir(), path); err != nil {
				t.Fatal(err)
			}
		},
		Hold: func(t *testing.T, dir string) func() {
			f, err := os.Create(filepath.Join(dir, "held"))
			if err != nil {
				t.Fatal(err)
			}
			return func() { _ = f.Close() }
		},
	})
}

// One file takes all that the size was made for, in pieces that lie apart.
func TestRealAFileSystemHoldsWhatItWasSizedFor(t *testing.T) {
	one, _, size := realDisks(t)
	client := filesystem.New(command.Local{})
	for _, kind := range filesystem.Types {
		t.Run(string(kind), func(t *testing.T) {
			bytes := size
			for filesystem.Size(kind, bytes) > size {
				bytes -= 1 << 20
			}
			if bytes <= 0 {
				t.Fatalf("a device of %d bytes is too small", size)
			}
			// The device is larger than what was sized; what is over is taken away.
			spare := size - filesystem.Size(kind, bytes)
			dir := filepath.Join(t.TempDir(), "m")
			if err := client.Make(t.Context(), filesystem.Spec{Device: one, Size: size, Type: kind, UUID: "8f9c1a52-31d7-4c07-9a0e-52a1d9a0b3c1"}); err != nil {
				t.Fatal(err)
			}
			if err := client.MakeDir(t.Context(), dir); err != nil {
				t.Fatal(err)
			}
			if err := client.Mount(t.Context(), filesystem.MountSpec{Device: one, Dir: dir, Type: kind}); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := client.Unmount(t.Context(), dir, one); err != nil {
					t.Error(err)
				}
			}()
			f, err := os.Create(filepath.Join(dir, "image"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			const piece = 64 << 10
			want := (bytes + spare) / piece
			for _, odd := range []int64{0, 1} {
				for i := odd; i < want; i += 2 {
					if err := unix.Fallocate(int(f.Fd()), 0, i*piece, piece); err != nil {
						t.Fatalf("piece %d of %d: %v", i, want, err)
					}
				}
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			_, free, err := client.Free(t.Context(), dir)
			fmt.Printf("%s of %d MiB: %d MiB in the file, %d MiB left, %v\n", kind, size>>20, want*piece>>20, free>>20, err)
		})
	}
}
