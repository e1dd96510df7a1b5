package luks

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const infoArgs = "dmsetup info -c --noheadings --nameprefixes"

// line is the line of a recorded report that holds the words.
func line(t testing.TB, file, words string) string {
	for l := range strings.Lines(read(t, file)) {
		if strings.Contains(l, words) {
			return l
		}
	}
	t.Fatalf("no %q in %s", words, file)
	return ""
}

// oneMapping answers for the recorded mapping cr_x.
func oneMapping(t testing.TB) []answer {
	return []answer{
		{cmd: infoArgs + " -- cr_x", text: line(t, "info.txt", "'cr_x'")},
		{cmd: "dmsetup table -- cr_x", text: strings.TrimPrefix(line(t, "table.txt", "cr_x: "), "cr_x: ")},
	}
}

func TestAMappingIsReadFromItsTable(t *testing.T) {
	client, script := scripted(t, oneMapping(t)...)
	link(t, "../../devices/x/ubdb", client.sys, "dev/block/98:16")
	got, err := client.Mapping(t.Context(), "cr_x")
	want := Mapping{
		Name: "cr_x", Path: "/dev/mapper/cr_x", DMUUID: "CRYPT-LUKS1-11111111222233334444555555555555-cr_x", Type: LUKS1, UUID: anyUUID, Target: "crypt",
		Device: "/dev/ubdb", Major: 98, Minor: 16, Size: 77816 * 512, Offset: 4104 * 512, SectorSize: 512, Cipher: "aes-xts-plain64", OpenCount: 3,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Mapping{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if len(script.changes()) != 0 {
		t.Errorf("ran %q", script.changes())
	}
	for _, cmd := range script.ran {
		if strings.Contains(cmd.String(), "showkeys") {
			t.Errorf("ran %s", cmd)
		}
	}
}

func TestAllMappingsAreListedWhateverTheirNames(t *testing.T) {
	client, _ := scripted(t, answer{cmd: infoArgs, file: "info.txt"}, answer{cmd: "dmsetup table --target crypt", file: "table.txt"})
	file(t, "vg0-lin\n", client.sys, "dev/block/254:0/dm/name")
	got, err := client.Mappings(t.Context())
	want := []Mapping{
		{
			Name: "cr_ä b", Path: "/dev/mapper/cr_ä b", DMUUID: "CRYPT-LUKS2-dee98d5eb946479f8f33dc713191ae5a-cr_ä b", Type: LUKS2, UUID: "dee98d5e-b946-479f-8f33-dc713191ae5a", Target: "crypt",
			Device: "/dev/mapper/vg0-lin", Major: 254, Size: 49152 * 512, Offset: 16 << 20, SectorSize: 4096, Cipher: "aes-xts-plain64", ReadOnly: true, Discards: true,
		},
		{
			Name: "cr_x", Path: "/dev/mapper/cr_x", DMUUID: "CRYPT-LUKS1-11111111222233334444555555555555-cr_x", Type: LUKS1, UUID: anyUUID, Target: "crypt",
			Major: 98, Minor: 16, Size: 77816 * 512, Offset: 4104 * 512, SectorSize: 512, Cipher: "aes-xts-plain64", OpenCount: 3,
		},
		{Name: "swap", Path: "/dev/mapper/swap", DMUUID: "CRYPT-PLAIN-swap", Target: "crypt", Major: 98, Minor: 16, Size: 1 << 20, SectorSize: 512, Cipher: "aes-cbc-essiv:sha256", OpenCount: 1},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Mapping{})); diff != "" || err != nil {
		t.Error(diff, err)
	}

	client.number = func(path string) (string, bool) { return "98:16", path == "/dev/ubdb" }
	over, err := client.MappingsOf(t.Context(), "/dev/ubdb")
	if err != nil || len(over) != 2 || over[0].Name != "cr_x" || over[1].Name != "swap" {
		t.Errorf("%+v, %v", over, err)
	}
	var missing *NotFoundError
	if _, err := client.MappingsOf(t.Context(), "/dev/none"); !errors.As(err, &missing) || missing.Kind != "device" {
		t.Error(err)
	}
}

func TestAMappingOfAFileNamesIt(t *testing.T) {
	client, _ := scripted(t, oneMapping(t)...)
	link(t, "../../devices/virtual/block/loop3", client.sys, "dev/block/98:16")
	file(t, "/srv/disks/a b.img\n", client.sys, "devices/virtual/block/loop3/loop/backing_file")
	if got, err := client.Mapping(t.Context(), "cr_x"); err != nil || got.Device != "/dev/loop3" || got.File != "/srv/disks/a b.img" {
		t.Errorf("on %q of %q: %v", got.Device, got.File, err)
	}
}

func TestAMappingThatIsNotThereIsSaidToBeMissing(t *testing.T) {
	for claim, answers := range map[string][]answer{
		"never was":           {{cmd: infoArgs, code: 1, stderr: "Device does not exist.\nCommand failed."}},
		"went away meanwhile": {oneMapping(t)[0], {cmd: "dmsetup table", code: 1, stderr: "device-mapper: table ioctl on cr_x  failed: No such device or address\nCommand failed."}},
	} {
		client, _ := scripted(t, answers...)
		var missing *NotFoundError
		if _, err := client.Mapping(t.Context(), "cr_x"); !errors.As(err, &missing) || missing.Kind != "mapping" || missing.Name != "cr_x" {
			t.Errorf("%s: %v", claim, err)
		}
	}
	client, script := scripted(t)
	for _, name := range []string{"", "-f", "a/b", "a\nb"} {
		var missing *NotFoundError
		if _, err := client.Mapping(t.Context(), name); !errors.As(err, &missing) || len(script.ran) != 0 {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSomebodyElsesDeviceIsNotTakenForAMapping(t *testing.T) {
	client, script := scripted(t, answer{cmd: infoArgs, text: line(t, "info.txt", "'vg0-lin'")}, answer{cmd: "dmsetup table", text: "0 81920 linear 98:0 2048\n"})
	got, err := client.Mapping(t.Context(), "vg0-lin")
	if err != nil || got.Target != "linear" || got.UUID != "" || got.Type != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := client.Close(t.Context(), "vg0-lin"); err == nil || len(script.changes()) != 0 {
		t.Errorf("closed: %v, ran %q", err, script.changes())
	}
}

func TestClosingWaitsForUdevAndThenNamesWhoHoldsIt(t *testing.T) {
	open, table := oneMapping(t)[0], oneMapping(t)[1]
	idle := open
	idle.text = strings.Replace(open.text, "DM_OPEN='3'", "DM_OPEN='0'", 1)
	settle := answer{cmd: "udevadm settle --timeout=5"}
	once := func(a answer) answer { a.once = true; return a }

	t.Run("a mapping that is let go is closed", func(t *testing.T) {
		client, script := scripted(t, once(open), once(open), idle, table, settle, answer{cmd: "cryptsetup close -- cr_x"})
		if err := client.Close(t.Context(), "cr_x"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"cryptsetup close -- cr_x"}, script.changes()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("one that is taken again in between is tried again", func(t *testing.T) {
		busy := answer{cmd: "cryptsetup close", code: 5, stderr: "Device cr_x is still in use.", once: true}
		client, script := scripted(t, idle, table, settle, busy, answer{cmd: "cryptsetup close"})
		if err := client.Close(t.Context(), "cr_x"); err != nil || len(script.changes()) != 2 {
			t.Errorf("%v, ran %q", err, script.changes())
		}
	})
	t.Run("one that closed meanwhile is content", func(t *testing.T) {
		client, _ := scripted(t, idle, table, answer{cmd: "cryptsetup close", code: 4, stderr: "Device cr_x is not active."})
		if err := client.Close(t.Context(), "cr_x"); err != nil {
			t.Error(err)
		}
	})
	t.Run("one that stays open is left, and its holders named", func(t *testing.T) {
		client, script := scripted(t, open, table, settle)
		holdersOf(t, client)
		err := client.Close(t.Context(), "cr_x")
		want := error(&BusyError{Mapper: "cr_x", Holders: []string{
			"the device guest-root on top of it", "the loop device /dev/loop3", "a mount at /mnt/a b", "swap on /dev/mapper/cr_x", "process 4242 (qemu-system-x86)",
		}})
		if diff := cmp.Diff(want, err); diff != "" {
			t.Error(diff)
		}
		if len(script.changes()) != 0 || len(script.ran) != 3*tries-1 {
			t.Errorf("ran %d commands, of which changed something: %q", len(script.ran), script.changes())
		}
	})
}

// holdersOf makes a host on which the device 254:2, cr_x, is held in every way.
func holdersOf(t *testing.T, c *Client) {
	t.Helper()
	link(t, "../../devices/virtual/block/dm-2", c.sys, "dev/block/254:2")
	dm := filepath.Join(c.sys, "devices/virtual/block/dm-2")
	file(t, "cr_x\n", dm, "dm/name")
	file(t, "guest-root\n", dm, "holders/dm-4/dm/name")
	file(t, "/dev/mapper/cr_x\n", c.sys, "block/loop3/loop/backing_file")
	file(t, "/var/lib/other.img\n", c.sys, "block/loop4/loop/backing_file")
	file(t, `22 1 98:0 / / rw - ext4 /dev/root rw
36 35 254:2 / /mnt/a\040b rw,noatime master:1 - ext4 /dev/mapper/cr_x rw
37 35 254:20 / /mnt/other rw - ext4 /dev/mapper/other rw
`, c.proc, "self/mountinfo")
	file(t, "Filename\tType\tSize\tUsed\tPriority\n/dev/mapper/cr_x partition 1 0 -2\n", c.proc, "swaps")
	file(t, "qemu-system-x86\n", c.proc, "4242/comm")
	link(t, "/dev/mapper/cr_x", c.proc, "4242/fd/9")
	link(t, "socket:[1]", c.proc, "4242/fd/1")
	file(t, "other\n", c.proc, "77/comm")
	link(t, "/dev/null", c.proc, "77/fd/0")
	link(t, "/mnt/gone/file", c.proc, "77/fd/1")
	c.number = func(path string) (string, bool) {
		if !strings.HasPrefix(path, c.proc) {
			return "", false
		}
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, "/dev/") {
			t.Errorf("looked at %s, which may never come back", path)
		}
		return map[string]string{"/dev/mapper/cr_x": "254:2", "/dev/null": "1:3"}[target], true
	}
}

func TestADeviceInUseIsRefusedWithWhoUsesIt(t *testing.T) {
	client, _ := scripted(t, answer{cmd: "cryptsetup open", code: 5, stderr: "Cannot use device /dev/vg0/lin which is in use (already mapped or mounted)."})
	file(t, "cr_x\n", client.sys, "dev/block/254:0/holders/dm-2/dm/name")
	client.number = func(path string) (string, bool) { return "254:0", path == "/dev/vg0/lin" }
	err := client.Open(t.Context(), "/dev/vg0/lin", "cr_y", aKey(t, "x"), OpenOptions{})
	want := error(&InUseError{Device: "/dev/vg0/lin", Holders: []string{"the device cr_x on top of it"}})
	if diff := cmp.Diff(want, err); diff != "" {
		t.Error(diff)
	}
}

func TestHowAVolumeIsOpenedIsPassedOn(t *testing.T) {
	client, script := scripted(t, answer{cmd: "cryptsetup open"})
	all := OpenOptions{ReadOnly: true, AllowDiscards: true, Persistent: true, NoReadWorkqueue: true, NoWriteWorkqueue: true, SameCPUCrypt: true, SubmitFromCryptCPUs: true}
	for _, options := range []OpenOptions{{}, all} {
		if err := client.Open(t.Context(), "/dev/x", "cr", aKey(t, "x"), options); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"cryptsetup open --type luks --batch-mode --key-file=- -- /dev/x cr",
		"cryptsetup open --type luks --batch-mode --readonly --allow-discards --persistent --perf-no_read_workqueue --perf-no_write_workqueue --perf-same_cpu_crypt --perf-submit_from_crypt_cpus --key-file=- -- /dev/x cr",
	}
	if diff := cmp.Diff(want, script.changes()); diff != "" {
		t.Error(diff)
	}
}

func TestAHeaderBackupNeverReplacesAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "header")
	file(t, "precious", name)
	client, script := scripted(t)
	var exists *ExistsError
	if err := client.HeaderBackup(t.Context(), "/dev/x", name); !errors.As(err, &exists) || exists.File != name || len(script.ran) != 0 {
		t.Error(err)
	}
}

func TestADeviceIsMeasuredWithoutWritingIt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk")
	file(t, strings.Repeat("x", 12345), name)
	if err := os.Chmod(name, 0o400); err != nil {
		t.Fatal(err)
	}
	client := New(nil)
	if n, err := client.DeviceSize(t.Context(), name); err != nil || n != 12345 {
		t.Errorf("%d, %v", n, err)
	}
	var missing *NotFoundError
	if _, err := client.DeviceSize(t.Context(), name+"x"); !errors.As(err, &missing) {
		t.Error(err)
	}
}

func FuzzDeviceMapper(f *testing.F) {
	f.Add(read(f, "info.txt"), read(f, "table.txt"))
	f.Add("DM_NAME='a':DM_MAJOR='1'", "0 1 crypt a b 0 1:2 3 9 sector_size:x")
	f.Fuzz(func(t *testing.T, info, table string) {
		mappings, err := parseInfo([]byte(info))
		if err == nil {
			for _, m := range mappings {
				if m.OpenCount < 0 || m.number == "" {
					t.Errorf("%+v", m)
				}
			}
		}
		var m Mapping
		if err := m.table(table); err == nil && (m.Size < 0 || m.Offset < 0 || m.SectorSize < 0) {
			t.Errorf("%+v", m)
		}
	})
}
