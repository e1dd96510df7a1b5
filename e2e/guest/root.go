package guest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// The first disk's layout, in sectors of 512 bytes: GRUB's core in the first
// partition, the ext4 root in the second, GPT's backup in the last 33 sectors.
const (
	sector     = 512
	rootSize   = 48 << 20 // bytes, of the whole disk
	coreStart  = 2048
	coreLength = 2048
	partStart  = coreStart + coreLength
	partLength = rootSize/sector - 34 - partStart + 1
)

// partitions is what sfdisk(8) is told. The identifiers are fixed so that the
// disk is the same each time it is built.
var partitions = fmt.Sprintf(`label: gpt
label-id: 6C1A1F0E-0E9B-4E8A-9C57-2F1C4F0D5A01
first-lba: 34
start=%d, size=%d, type=21686148-6449-6E6F-744E-656564454649, uuid=6C1A1F0E-0E9B-4E8A-9C57-2F1C4F0D5A02
start=%d, size=%d, type=linux, uuid=6C1A1F0E-0E9B-4E8A-9C57-2F1C4F0D5A03
`, coreStart, coreLength, partStart, partLength)

const rootUUID = "6c1a1f0e-0e9b-4e8a-9c57-2f1c4f0d5a04"

// buildRoot makes the first disk: dir/root.img.
func buildRoot(ctx context.Context, dir string, k kernel) error {
	tree := filepath.Join(dir, "tree")
	defer os.RemoveAll(tree)
	if err := fillTree(tree, k); err != nil {
		return err
	}
	image := filepath.Join(dir, "root.img")
	if err := makeSparse(image, rootSize); err != nil {
		return err
	}
	script := filepath.Join(dir, "partitions")
	defer os.Remove(script)
	if err := os.WriteFile(script, []byte(partitions), 0o644); err != nil {
		return err
	}
	if _, err := output(ctx, dir, "sh", "-c", `sfdisk --quiet root.img <partitions`); err != nil {
		return err
	}
	// -d fills the file system from a folder, so that nothing is mounted. GRUB
	// 2.06 can't read a file system with an orphan file or a checksum seed.
	_, err := output(ctx, dir, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^orphan_file,^metadata_csum_seed",
		"-L", "mailroot", "-U", rootUUID, "-E", fmt.Sprintf("offset=%d,hash_seed=%s,root_owner=0:0", partStart*sector, rootUUID),
		"-d", tree, image, fmt.Sprintf("%dk", partLength*sector>>10))
	if err != nil {
		return err
	}
	return installBootloader(ctx, dir, image)
}

// fillTree makes what the root holds: the kernel, a text, mail that
// compresses, an archive that does not, and much that is empty.
func fillTree(tree string, k kernel) error {
	vmlinuz, err := os.ReadFile(k.image)
	if err != nil {
		return err
	}
	initrd, err := initramfs(k)
	if err != nil {
		return err
	}
	mail := strings.Repeat("From: customer@example.org\nSubject: Auftragsverarbeitung\n\nGrüße aus dem Postfach.\n\n", 30_000)
	files := map[string][]byte{
		"boot/vmlinuz":         vmlinuz,
		"boot/initrd":          initrd,
		"etc/mail-server-says": []byte(Says + "\n"),
		"var/mail/inbox":       []byte(mail),
		"var/backups/mail.gz":  noise(6 << 20),
	}
	for name, content := range files {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Says is the text in the guest's /etc/mail-server-says, which it prints.
const Says = "imap.example.org: 2 mailboxes, all mail is here"

// DataSize is the second disk's, in bytes: an odd number of sectors.
const DataSize = 10<<20 + 3*sector

// buildData makes the second disk, dir/data.img: noise, a hole, and noise up
// to its last byte.
func buildData(dir string) error {
	image := filepath.Join(dir, "data.img")
	if err := makeSparse(image, DataSize); err != nil {
		return err
	}
	file, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, start := range []int64{0, DataSize - 3<<20} {
		if _, err := file.WriteAt(noise(3<<20), start); err != nil {
			return err
		}
	}
	return file.Close()
}

// noise returns size bytes that don't compress, the same ones each time.
func noise(size int) []byte {
	data := make([]byte, size)
	block, err := aes.NewCipher([]byte("vmmigrate guest."))
	if err != nil {
		return nil // not for a key of 16 bytes
	}
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(data, data)
	return data
}

func makeSparse(path string, size int64) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Truncate(size)
}

// writeAt writes data into an existing file.
func writeAt(path string, offset int64, data []byte) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Close()
}
