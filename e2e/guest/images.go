package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Images are the files a guest is made of, on the machine.
type Images struct {
	// Root is the first disk, raw, and Data the second.
	Root, Data string
	// ISO is in the cdrom.
	ISO string
}

// Build returns the images, which it makes unless cacheDir holds them. The
// first time it fetches the guest's kernel with apt.
func Build(ctx context.Context, cacheDir string) (Images, error) {
	k, err := findKernel(ctx, cacheDir)
	if err != nil {
		return Images{}, fmt.Errorf("the guest's kernel: %w", err)
	}
	// What the images are made from is in their folder's name, so that a
	// change makes new ones.
	recipe := fmt.Sprint(k.version, string(initScript), grubConfig, partitions, DataSize, Says, modules, applets)
	sum := sha256.Sum256([]byte(recipe))
	dir := filepath.Join(cacheDir, "guest-"+hex.EncodeToString(sum[:6]))
	images := Images{Root: filepath.Join(dir, "root.img"), Data: filepath.Join(dir, "data.img"), ISO: filepath.Join(dir, "cd.iso")}
	if _, err := os.Stat(dir); err == nil {
		return images, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Images{}, err
	}

	work, err := os.MkdirTemp(cacheDir, "building-")
	if err != nil {
		return Images{}, err
	}
	defer os.RemoveAll(work)
	if err := buildAll(ctx, work, k); err != nil {
		return Images{}, fmt.Errorf("build the guest's images: %w", err)
	}
	// Another harness may have been quicker; its images are as good.
	if err := os.Rename(work, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return Images{}, err
	}
	return images, nil
}

func buildAll(ctx context.Context, dir string, k kernel) error {
	if err := buildRoot(ctx, dir, k); err != nil {
		return err
	}
	if err := buildData(dir); err != nil {
		return err
	}
	cd := filepath.Join(dir, "cd")
	if err := os.Mkdir(cd, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(cd)
	if err := os.WriteFile(filepath.Join(cd, "README.TXT"), []byte("A cdrom is shared by both guests, and not moved.\n"), 0o644); err != nil {
		return err
	}
	_, err := output(ctx, dir, "genisoimage", "-quiet", "-V", "MAILTOOLS", "-o", "cd.iso", "cd")
	return err
}
