package migrate

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// gpt is the start of a disk whose GPT claims so many blocks.
func gpt(block, blocks int64) []byte {
	disk := make([]byte, 2*block+1024)
	copy(disk, mbr(entry{kind: 0xee, first: 1, count: 1<<32 - 1}))
	header := disk[block:]
	copy(header, "EFI PART")
	binary.LittleEndian.PutUint64(header[32:], uint64(blocks-1))
	return disk
}

type entry struct {
	boot, kind   byte
	first, count uint32
}

func mbr(entries ...entry) []byte {
	sector := make([]byte, 512)
	sector[510], sector[511] = 0x55, 0xaa
	for i, e := range entries {
		at := sector[446+16*i:]
		at[0], at[4] = e.boot, e.kind
		binary.LittleEndian.PutUint32(at[8:], e.first)
		binary.LittleEndian.PutUint32(at[12:], e.count)
	}
	return sector
}

func TestAPartitionTableTellsWhereItsDiskEnds(t *testing.T) {
	text := mbr()
	copy(text[440:], "Invalid system disk, Replace the disk, and then press any key")
	text[510], text[511] = 0x55, 0xaa
	for _, c := range []struct {
		what  string
		disk  []byte
		block int64
		want  int64
	}{
		{"GPT of 512-byte blocks", gpt(512, 2097152), 512, gib},
		{"GPT of 4096-byte blocks", gpt(4096, 262144), 4096, gib},
		{"GPT made on a disk of 4096-byte blocks and now shown in 512", gpt(4096, 262144), 512, gib},
		{"GPT whose backup is at block 0", gpt(512, 1), 512, 0},
		{"GPT that names a block past any disk", gpt(512, 1<<62), 512, 0},
		{"MBR with one partition", mbr(entry{0x80, 0x83, 2048, 4096}), 512, (2048 + 4096) * 512},
		{"MBR whose last entry lies first", mbr(entry{0, 0x83, 1 << 20, 16}, entry{0, 0x82, 2048, 16}), 512, (1<<20 + 16) * 512},
		{"MBR of 4096-byte blocks", mbr(entry{0, 0x83, 256, 256}), 4096, 512 * 4096},
		{"MBR at the end of what 32 bits hold", mbr(entry{0, 0x83, 1<<32 - 1, 1<<32 - 1}), 512, (1<<33 - 2) * 512},
		{"MBR without partitions", mbr(), 512, 0},
		{"MBR with a protective entry and no GPT", mbr(entry{0, 0xee, 1, 1<<32 - 1}), 512, 0},
		{"boot sector of a filesystem", text, 512, 0},
		{"zeros", make([]byte, 8192), 512, 0},
		{"a disk shorter than a sector", make([]byte, 511), 512, 0},
		{"nothing", nil, 512, 0},
	} {
		if got := tableEnd(bytes.NewReader(c.disk), c.block); got != c.want {
			t.Errorf("%s: %d, not %d", c.what, got, c.want)
		}
	}
}

// sfdisk's own tables, where there is an sfdisk: what we take from the
// specifications is what is on disks.
func TestTheTablesThatSfdiskWritesAreRead(t *testing.T) {
	sfdisk, err := exec.LookPath("sfdisk")
	if err != nil {
		sfdisk = "/usr/sbin/sfdisk"
		if _, err := os.Stat(sfdisk); err != nil {
			t.Log("there is no sfdisk on this machine: the tables of TestAPartitionTableTellsWhereItsDiskEnds have to do")
			return
		}
	}
	for label, want := range map[string]int64{"gpt": 64 * mib, "dos": 64 * mib} {
		path := filepath.Join(t.TempDir(), label)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 64*mib); err != nil {
			t.Fatal(err)
		}
		command := exec.Command(sfdisk, "--no-reread", "--no-tell-kernel", path)
		command.Stdin = bytes.NewReader([]byte("label: " + label + "\n2048,+\n"))
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		facts, err := Host{}.Inspect(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if facts.TableEnd != want {
			t.Errorf("%s: the table ends at %d, not %d", label, facts.TableEnd, want)
		}
	}
}

// A guest owns what is on its disk, so any bytes may be there.
func FuzzATableEndIsNeitherNegativeNorPastAnyDisk(f *testing.F) {
	f.Add(gpt(512, 2097152), true)
	f.Add(gpt(4096, 1<<50), false)
	f.Add(mbr(entry{0x80, 0x83, 2048, 1<<32 - 1}), true)
	f.Fuzz(func(t *testing.T, disk []byte, small bool) {
		block := int64(4096)
		if small {
			block = 512
		}
		if end := tableEnd(bytes.NewReader(disk), block); end < 0 || end > (1<<50+1)*4096 {
			t.Fatalf("the table ends at %d", end)
		}
	})
}
