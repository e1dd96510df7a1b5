//go:build linux && amd64

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The world's names and sizes. The first disk is an LV of 6 MiB, one and a
// half chunks; the second a file that ends in half a block of 4096 bytes.
const (
	vm    = "imap"
	group = "vg0"
	// guestGroup is a volume group inside the first disk.
	guestGroup = "guest"
	images     = "/var/lib/libvirt/images"
	nvram      = "/var/lib/libvirt/qemu/nvram"
	stateDir   = "/var/lib/vmmigrate"
	keyFile    = "/var/lib/libvirt/luks.key"

	sizeVDA = 6 << 20
	sizeVDB = 5<<20 + 512
)

// guest is one of the world's VMs.
type guest struct {
	vm    string
	disks []disk
}

// disk is one of a VM's disks.
type disk struct {
	target, source, volume, mapper string
	size                           int64
}

// imap is the VM of most jobs; see layout.go for the other.
var imap = guest{vm, []disk{
	{"vda", "/dev/" + group + "/" + vm, vm + "-vda-luks", "cr_" + vm + "_vda", sizeVDA},
	{"vdb", images + "/data.raw", vm + "-vdb-luks", "cr_" + vm + "_vdb", sizeVDB},
}}

// payload is the size that a disk's copy has to have.
func (d disk) payload() int64 { return (d.size + 4095) &^ 4095 }

const domain = `<domain type='qemu'><name>imap</name><uuid>11111111-2222-4333-8444-555555555555</uuid><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='pflash'>%[1]s/CODE.fd</loader><nvram>%[2]s/imap_VARS.fd</nvram></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' io='native'/><source dev='%[3]s'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%[4]s'/><target dev='vdb' bus='virtio'/></disk>
<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>
</devices></domain>
`

// quicken takes the terminals of old out of /dev, all of which every lvm command
// looks at: it is twice as fast then. Nor has it to write down for people what a
// group was like before each change.
func quicken() error {
	if err := os.WriteFile("/etc/lvm/lvmlocal.conf", []byte("backup { backup=0 archive=0 }\n"), 0o644); err != nil {
		return err
	}
	clutter, err := filepath.Glob("/dev/[tp]ty?*")
	if err != nil {
		return err
	}
	for _, path := range clutter {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// setUp makes the world on a device, with contents that the seed decides.
func setUp(device string, seed uint64) error {
	for _, argv := range [][]string{
		{"pvcreate", "-q", "--yes", device},
		{"vgcreate", "-q", "-s", "1M", group, device},
		{"lvcreate", "-q", "--yes", "-Wn", "-L", strconv.Itoa(sizeVDA) + "b", "-n", vm, group},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", argv, err, out)
		}
	}
	if err := os.MkdirAll(nvram, 0o755); err != nil {
		return err
	}
	noise := rand.New(rand.NewPCG(seed, 0))
	for _, file := range []struct {
		path string
		size int
	}{
		{imap.disks[0].source, sizeVDA},
		{imap.disks[1].source, sizeVDB},
		{images + "/CODE.fd", 128 << 10},
		{nvram + "/imap_VARS.fd", 128 << 10},
		{keyFile, 32},
	} {
		data := make([]byte, file.size)
		for i := range data {
			data[i] = byte(noise.Uint32())
		}
		// A third of it is zeros, as on a disk.
		clear(data[file.size/3&^4095 : file.size*2/3&^4095])
		if err := writeFlushed(file.path, data); err != nil {
			return err
		}
	}
	// The guest has a volume group of its own on its first disk. The host must
	// be told to look there.
	look := []string{"--config", "devices/scan_lvs=1"}
	for _, argv := range [][]string{
		{"pvcreate", "-q", "--yes", "--force", imap.disks[0].source},
		{"vgcreate", "-q", "-s", "1M", guestGroup, imap.disks[0].source},
		{"lvcreate", "-q", "--yes", "-Wn", "-l", "2", "-n", "root", guestGroup},
		{"vgchange", "-q", "-a", "n", guestGroup},
	} {
		if out, err := exec.Command(argv[0], append(look, argv[1:]...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", argv, err, out)
		}
	}
	if err := define(fmt.Sprintf(domain, images, nvram, imap.disks[0].source, imap.disks[1].source)); err != nil {
		return err
	}
	if err := setUpWiki(noise); err != nil {
		return err
	}
	return exec.Command("sync").Run()
}

// define has libvirt know a VM.
func define(definition string) error {
	cmd := exec.Command("virsh", "-q", "define", "/dev/stdin")
	cmd.Stdin = strings.NewReader(definition)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("virsh define: %w: %s", err, out)
	}
	return nil
}

func writeFlushed(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

// world is what can be seen from outside, a line a thing.
type world []string

// look sees all that vmmigrate may change, and what it must not.
func look() (world, error) {
	var w world
	out, err := exec.Command("lvs", "-a", "--noheadings", "--nosuffix", "--units", "b", "--separator", "|",
		"-o", "vg_name,lv_name,lv_uuid,lv_size,lv_tags,lv_active,segtype").Output()
	if err != nil {
		return nil, fmt.Errorf("lvs: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		w = append(w, "volume "+strings.TrimSpace(line))
	}
	out, err = exec.Command("virsh", "-q", "list", "--all").Output()
	if err != nil {
		return nil, fmt.Errorf("virsh list: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		w = append(w, "domain "+strings.Join(strings.Fields(line), " "))
	}
	mappings, err := filepath.Glob("/sys/block/dm-*/dm")
	if err != nil {
		return nil, err
	}
	for _, dm := range mappings {
		var words []string
		for _, file := range []string{"name", "uuid", "suspended", "../size"} {
			word, err := os.ReadFile(filepath.Join(dm, file))
			if err != nil {
				return nil, err
			}
			words = append(words, strings.TrimSpace(string(word)))
		}
		w = append(w, "mapping "+strings.Join(words, " "))
	}
	for _, folder := range []string{stateDir, images, nvram, headers, "/etc/libvirt/qemu"} {
		if err := w.files(folder); err != nil {
			return nil, err
		}
	}
	for _, pattern := range []string{"/tmp/.*", "/tmp/vmmigrate-*"} {
		litter, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range litter {
			w = append(w, "litter "+path)
		}
	}
	if err := w.mounts(); err != nil {
		return nil, err
	}
	for _, d := range imap.disks { // an image is a file among others
		digest, err := digestOf(d.source, d.size)
		if err != nil {
			return nil, err
		}
		w = append(w, "source "+d.target+" "+digest)
	}
	cookies, err := os.ReadFile("/proc/sysvipc/sem")
	if err != nil {
		return nil, err
	}
	w = append(w, fmt.Sprintf("semaphores %d", bytes.Count(cookies, []byte("\n"))-1))
	for _, name := range running() {
		w = append(w, "process "+name)
	}
	slices.Sort(w)
	return w, nil
}

func (w *world) files(folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if err == nil && path != folder {
				*w = append(*w, "folder "+path)
			}
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		digest, err := digestOf(path, info.Size())
		if err != nil {
			return err
		}
		*w = append(*w, fmt.Sprintf("file %s %v %d %s", path, info.Mode(), info.Size(), digest))
		return nil
	})
}

// ours are the programs that vmmigrate runs, and itself.
var ours = regexp.MustCompile(`^(vmmigrate|cryptsetup|lvcreate|lvremove|lvchange|vgchange|dmsetup|udevadm|mkfs.ext4|qemu-img|qemu-nbd)$`)

// running are the programs of ours that run.
func running() []string {
	files, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is a good one
	var names []string
	for _, file := range files {
		comm, err := os.ReadFile(file)
		name := strings.TrimSpace(string(comm))
		if err != nil || !ours.MatchString(name) || zombie(filepath.Dir(file)) {
			continue
		}
		names = append(names, name)
	}
	return names
}

func zombie(proc string) bool {
	stat, err := os.ReadFile(proc + "/stat")
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

// digestOf is the SHA-256 of the first size bytes of a file or device.
func digestOf(path string, size int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(file, size))
	if err == nil && n != size {
		err = fmt.Errorf("%s has %d bytes and not %d", path, n, size)
	}
	return hex.EncodeToString(sum.Sum(nil)), err
}

var (
	lvmUUID = regexp.MustCompile(`[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}|LVM-[A-Za-z0-9]{64}`)
	sums    = regexp.MustCompile(`[0-9]+ [0-9a-f]{64}$`)
	// own are the files of which each job writes others.
	own = regexp.MustCompile(`^file (` + stateDir + `|` + headers + `/|/etc/libvirt/qemu/[a-z]+-luks)`)
)

// alike takes out of a world what differs from one job to the next: the ids
// and what depends on them. What stays has to be the same after every job.
func (w world) alike() world {
	var all world
	for _, line := range w {
		if own.MatchString(line) {
			line = sums.ReplaceAllString(line, "")
		}
		line = jobID.ReplaceAllString(line, "JOB")
		line = uuid.ReplaceAllString(line, "UUID")
		line = lvmUUID.ReplaceAllString(line, "LVM")
		line = regexp.MustCompile(`CRYPT-LUKS2-[0-9a-f]{32}`).ReplaceAllString(line, "CRYPT-LUKS2")
		all = append(all, line)
	}
	slices.Sort(all)
	return all
}

// differs says how a world differs from what it should be.
// Lines that ignore matches may.
func (w world) differs(want world, ignore *regexp.Regexp) error {
	var errs []error
	for _, line := range w {
		if !slices.Contains(want, line) && (ignore == nil || !ignore.MatchString(line)) {
			errs = append(errs, errors.New("too much: "+line))
		}
	}
	for _, line := range want {
		if !slices.Contains(w, line) && (ignore == nil || !ignore.MatchString(line)) {
			errs = append(errs, errors.New("missing: "+line))
		}
	}
	return errors.Join(errs...)
}

// quiet waits until none of our programs runs any more.
func quiet() error {
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		left := running()
		if len(left) == 0 {
			return nil
		}
		if time.Since(begin) > time.Minute {
			return fmt.Errorf("still running: %v", left)
		}
	}
}
