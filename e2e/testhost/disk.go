package testhost

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
)

// persistSize is what a Persist disk has room for. Its file is sparse.
const persistSize = 1 << 30

// attach makes a disk's file if need be and links it into the host's folder
// as name: the kernel's command line has no way to quote a path.
func attach(disk Disk, link string) error {
	path := disk.Path
	if path == "" {
		path = link
	}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = makeDisk(path, disk)
	}
	if err != nil {
		return fmt.Errorf("disk %s: %w", path, err)
	}
	return linkTo(path, link)
}

// The noise of a disk lies between these, in bytes. LVM gives away the start of
// a disk first, and more noise than is written over costs seconds a host.
const (
	noiseFrom int64 = 1 << 20
	noiseTo   int64 = 512 << 20
)

func makeDisk(path string, disk Disk) error {
	if disk.Size <= 0 || disk.Size%512 != 0 {
		return fmt.Errorf("a new disk needs a size that is a multiple of 512 bytes, not %d", disk.Size)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if disk.Noise {
		// Its first MiB, where a partition table would be, is blank: some kernels
		// take one block of noise in 256 for a disk of an Acorn (ADFS has a
		// checksum of one byte), and LVM then finds the group on two devices.
		from := min(noiseFrom, disk.Size)
		if _, err = file.Seek(from, io.SeekStart); err == nil {
			err = WriteNoise(file, min(noiseTo, disk.Size)-from)
		}
		err = errors.Join(err, file.Truncate(disk.Size))
	} else {
		err = file.Truncate(disk.Size)
	}
	return errors.Join(err, file.Close())
}

// WriteNoise writes size random bytes: AES-CTR under a random key, which is
// several times as fast as the kernel's own.
func WriteNoise(file *os.File, size int64) error {
	seed := make([]byte, 32)
	if _, err := rand.Read(seed); err != nil {
		return err
	}
	block, err := aes.NewCipher(seed[:16])
	if err != nil {
		return err
	}
	stream := cipher.NewCTR(block, seed[16:])
	buffer := make([]byte, 1<<20)
	for left := size; left > 0; {
		n := min(left, int64(len(buffer)))
		clear(buffer[:n])
		stream.XORKeyStream(buffer[:n], buffer[:n])
		if _, err := file.Write(buffer[:n]); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// attachPersist is as attach, for a disk with an ext4 file system.
func attachPersist(ctx context.Context, path, link string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeDisk(path, Disk{Size: persistSize}); err != nil {
			return err
		}
		// -F: a file, not a device, and that is meant.
		if out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-F", "-t", "ext4", path).CombinedOutput(); err != nil {
			return errors.Join(fmt.Errorf("mke2fs %s: %w: %s", path, err, out), os.Remove(path))
		}
	}
	return linkTo(path, link)
}
