//go:build e2e

package sources

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/image"
)

// made runs a script in a folder with a raw file guest, and returns the path of
// the file disk that it makes.
func made(t *testing.T, script string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "guest"), content(4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "bash", "-ec", `cd "$1"
		qcow2() { qemu-img convert -f raw -O qcow2 guest disk; }
		# put OFFSET writes bytes into disk; le4 and be8 are numbers as such.
		put() { dd of=disk bs=1 seek="$1" conv=notrunc status=none; }
		be8() { printf "%016x" "$1" | xxd -r -p; }
		be4() { printf "%08x" "$1" | xxd -r -p; }
		at() { xxd -s "$1" -l 8 -p disk; }
		{ `+script+`
		} >/dev/null`, "-", folder)
	return filepath.Join(folder, "disk")
}

func TestAnImageThatMustNotBeReadIsRefusedWithWords(t *testing.T) {
	for _, c := range []struct {
		name   string
		format image.Format
		make   string
		says   string
	}{
		{"no image at all", image.QCOW2, "cp guest disk", "is no qcow2 image"},
		{"an empty file", image.QCOW2, ": >disk", "is no qcow2 image"},
		{"a header and no more", image.QCOW2, "qcow2; truncate -s 80 disk", "damaged header"},
		{"an image of another format", image.VMDK, "qcow2", "is no vmdk image"},
		{"a FIFO", image.QCOW2, "mkfifo disk", "neither a regular file nor a block device"},
		{"a ring of two", image.QCOW2, "qemu-img create -q -f qcow2 disk 4M; qemu-img create -q -f qcow2 -b disk -F qcow2 b; qemu-img rebase -u -f qcow2 -b b -F qcow2 disk", "the chain is a ring"},
		{"a ring of one", image.QCOW2, "qemu-img create -q -f qcow2 disk 4M; qemu-img rebase -u -f qcow2 -b disk -F qcow2 disk", "the chain is a ring"},
		{"a ring by another name", image.QCOW2, "qemu-img create -q -f qcow2 disk 4M; ln disk other; qemu-img rebase -u -f qcow2 -b other -F qcow2 disk", "the chain is a ring"},
		{"a backing file that is gone", image.QCOW2, "qemu-img create -q -u -f qcow2 -b gone -F raw disk 4M", "no such file or directory, and is the backing file of"},
		{"a backing file without a format", image.QCOW2, "qemu-img create -q -f qcow2 -b guest -F raw disk; put 112 < <(be4 0)", "never guessed"},
		{"a backing file of unknown format", image.QCOW2, "qemu-img create -q -f qed b 4M; qemu-img create -q -f qcow2 -b b -F qed disk", "has the format qed, which can't be read"},
		{"a vhdx cut short", image.VHDX, "qemu-img convert -f raw -O vhdx guest disk; truncate -s 1M disk", "no metadata"},
		{"an address", image.QCOW2, "qemu-img create -q -u -f qcow2 -b nbd://localhost/x -F raw disk 4M", "which is an address"},
		{"an address in disguise", image.QCOW2, "qemu-img create -q -u -f qcow2 -b ssh:x -F raw disk 4M", "which is an address"},
		{"a description", image.QCOW2, `qemu-img create -q -u -f qcow2 -b 'json:{"driver":"file","filename":"/etc/shadow"}' -F raw disk 4M`, "which is a description"},
		{"a FIFO behind it", image.QCOW2, "mkfifo b; qemu-img create -q -u -f qcow2 -b b -F raw disk 4M", "neither a regular file nor a block device"},
		{"encryption", image.QCOW2, "qcow2; put 32 < <(be4 2)", "is encrypted by QEMU"},
		{"a feature from the future", image.QCOW2, "qcow2; put 72 < <(be8 4096)", "features that are not known"},
		{"a mark of damage", image.QCOW2, "qcow2; put 72 < <(be8 2)", "is marked as corrupt"},
		{"a version of the future", image.QCOW2, "qcow2; put 4 < <(be4 4)", "version 4"},
		{"clusters that can't be", image.QCOW2, "qcow2; put 20 < <(be4 63)", "damaged header"},
		{"a disk without end", image.QCOW2, "qcow2; put 24 < <(printf '\\x7f\\xff\\xff\\xff\\xff\\xff\\xfe\\x00')", "claims 9223372036854775296 bytes"},
		{"a disk that its table does not hold", image.QCOW2, "qcow2; put 24 < <(be8 $((1 << 50)))", "level 1 table"},
		{"an odd disk", image.QCOW2, "qcow2; put 24 < <(be8 4194305)", "multiple of 512"},
		{"a name beyond the header", image.QCOW2, "qcow2; put 8 < <(be8 60000; be4 60000)", "damaged header"},
		{"an extension beyond the header", image.QCOW2, "qcow2; put 116 < <(be4 4000000000)", "damaged header"},
		{"a data file that depends on where one stands", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o data_file=d guest disk", "no absolute path"},
		{"a data file that is gone", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o data_file=$PWD/d guest disk; rm d", "no such file"},
		{"a raw data file that was cut short", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o data_file=$PWD/d,data_file_raw=on guest disk; truncate -s -512 d", "cut short"},
		{"a vmdk that is a difference", image.VMDK, "qemu-img convert -f raw -O vmdk guest b; qemu-img create -q -f vmdk -b b -F vmdk disk", "only the differences"},
		{"an extent elsewhere", image.VMDK, `printf '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8 FLAT "/etc/shadow" 0\n' >disk`, "not in the descriptor's own folder"},
		{"an extent above", image.VMDK, `printf '# Disk DescriptorFile\nparentCID=ffffffff\nRW 8 FLAT "../../etc/shadow" 0\n' >disk`, "not in the descriptor's own folder"},
		{"an extent by protocol", image.VMDK, `printf '# Disk DescriptorFile\nparentCID=ffffffff\nRW 8 FLAT "nbd:x" 0\n' >disk`, "not in the descriptor's own folder"},
		{"an extent that was cut short", image.VMDK, "qemu-img convert -f raw -O vmdk -o subformat=monolithicFlat guest disk; truncate -s 1M disk-flat*", "cut short"},
		{"no extents", image.VMDK, `printf '# Disk DescriptorFile\nparentCID=ffffffff\n' >disk`, "without extents"},
		{"a vdi that was cut short", image.VDI, "qemu-img convert -f raw -O vdi guest disk; truncate -s 2M disk", "cut short"},
		{"a format that nobody reads", "bochs", "cp guest disk", "can't be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := made(t, c.make)
			_, err := image.Inspect(disk, c.format)
			var bad *image.Error
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("it is: %v", err)
			}
			t.Logf("%v\n\t%s", err, bad.Remedy)
		})
	}
}

// What a guest writes into its raw disk is its own: a header there opens
// nothing on the host.
func TestAHeaderInsideARawDiskIsThatDisksContent(t *testing.T) {
	disk := made(t, "qemu-img create -q -u -f qcow2 -b /etc/shadow -F raw disk 4M; truncate -s 4M disk")
	chain, err := image.Inspect(disk, image.Raw)
	if err != nil || len(chain) != 1 || len(chain.Files()) != 1 {
		t.Fatalf("%v, %v", chain, err)
	}
	want, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(copied(t, direct(nil), chain), want) {
		t.Error("the copy is not the disk's content")
	}
	// The same as the raw backing file of an image.
	base := made(t, "qemu-img create -q -u -f qcow2 -b /etc/shadow -F raw base 4M; truncate -s 4M base; qemu-img create -q -f qcow2 -b base -F raw disk")
	if chain, err = image.Inspect(base, image.QCOW2); err != nil || len(chain) != 2 {
		t.Fatalf("%v, %v", chain, err)
	}
	if want, err = os.ReadFile(chain[1].Path); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(copied(t, direct(nil), chain), want) {
		t.Error("the copy is not the backing file's content")
	}
}

func TestDamageIsNamedByItsCluster(t *testing.T) {
	for _, c := range []struct {
		name   string
		format image.Format
		make   string
		says   string
	}{
		{"cut short", image.QCOW2, "qcow2; truncate -s 2M disk", "exceeding the end of the file"},
		{"a table that points nowhere", image.QCOW2, "qcow2; l1=$((16#$(at 40))); put $((l1)) < <(be8 $((1 << 62 | 1)))", "is damaged"},
		{"a cluster beyond the end", image.QCOW2, "qcow2; l1=$((16#$(at 40))); l2=$((16#$(at $l1) & 0xfffffffffffe00)); put $((l2 + 8 * 3)) < <(be8 $((1 << 40)))", "0x10000000000"},
		{"a data file that was cut short", image.QCOW2, "qemu-img convert -f raw -O qcow2 -o data_file=$PWD/d guest disk; truncate -s 1M d", "cut short"},
		{"a vmdk that was cut short", image.VMDK, "qemu-img convert -f raw -O vmdk guest disk; truncate -s 1M disk", "points after EOF"},
		{"a broken image behind it", image.QCOW2, "qcow2; truncate -s 2M disk; mv disk b; qemu-img create -q -f qcow2 -b b -F qcow2 disk", "exceeding the end of the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain, err := image.Inspect(made(t, c.make), c.format)
			if err != nil {
				t.Fatal(err)
			}
			before := sums(t, chain.Files())
			err = image.Tools{}.Check(t.Context(), chain)
			var bad *image.Error
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("it is: %v", err)
			}
			t.Logf("%v\n\t%s", err, bad.Remedy)
			same(t, before)
		})
	}
}

// Damage that nobody looked for beforehand is met by the read, and named.
func TestAReadOfADamagedPlaceNamesItsCluster(t *testing.T) {
	for name, tools := range map[string]image.Tools{"through qemu-nbd": {}, "beside it": direct(nil)} {
		t.Run(name, func(t *testing.T) {
			chain, err := image.Inspect(made(t, "qcow2; l1=$((16#$(at 40))); l2=$((16#$(at $l1) & 0xfffffffffffe00)); put $((l2 + 8 * 3)) < <(be8 $((1 << 63 | 1 << 20 | 512)))"), image.QCOW2)
			if err != nil {
				t.Fatal(err)
			}
			before := sums(t, chain.Files())
			source, err := tools.Open(t.Context(), chain)
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close()
			_, err = source.ReadAt(make([]byte, 4096), 3*65536)
			var read *image.ReadError
			if !errors.As(err, &read) || read.Cluster != 3 || read.ClusterSize != 65536 || !strings.Contains(read.Said, "corrupt") {
				t.Errorf("it is: %v", err)
			}
			t.Log(err)
			if _, err := source.ReadAt(make([]byte, 4096), 0); err != nil {
				t.Errorf("another place: %v", err)
			}
			same(t, before)
		})
	}
}

// Two places of the disk in one of the file are damage that qemu-img check finds
// and a read does not. Whoever has not checked is told by the map.
func TestAPlaceThatTwoShareIsNotRead(t *testing.T) {
	chain, err := image.Inspect(made(t, "qcow2; l1=$((16#$(at 40))); l2=$((16#$(at $l1) & 0xfffffffffffe00)); put $((l2 + 8 * 3)) < <(be8 $((16#$(at $((l2 + 8 * 1))))))"), image.QCOW2)
	if err != nil {
		t.Fatal(err)
	}
	source, err := direct(nil).Open(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	_, err = source.ReadAt(make([]byte, 4096), 0)
	var bad *image.Error
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "are both at") {
		t.Errorf("it is: %v", err)
	}
	t.Log(err)
}
