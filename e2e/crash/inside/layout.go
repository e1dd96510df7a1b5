//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// wiki is the VM of the jobs of kind layout. Its disk is a qcow2 image, of which a
// guest sees 6 MiB, one and a half chunks.
var wiki = guest{"wiki", []disk{
	{"vda", images + "/wiki.qcow2", "wiki-vda-luks", "cr_wiki_vda", sizeWiki},
}}

const (
	sizeWiki = 6 << 20
	// headers is the folder of its LUKS header, on a small volume of its own:
	// what is in memory is refused.
	headers       = "/srv/headers"
	headersVolume = "headers"
	// wikiImage is what its image is called on the file system.
	wikiImage = "vda.qcow2"
)

// layoutArgs have the disk stay an image, with its LUKS header in a file.
var layoutArgs = []string{"--layout", "filesystem", "--header", "vda=" + headers + "/wiki.header"}

const wikiDomain = `<domain type='qemu'><name>wiki</name><uuid>11111111-2222-4333-8444-666666666666</uuid><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>
<interface type='user'><mac address='52:54:00:11:22:55'/><model type='virtio'/></interface>
</devices></domain>
`

// setUpWiki makes the VM: there is something in both chunks of its disk, and most
// of it is a hole.
func setUpWiki(noise *rand.Rand) error {
	device := "/dev/" + group + "/" + headersVolume
	for _, argv := range [][]string{
		{"lvcreate", "-q", "--yes", "-Wn", "-L", "24M", "-n", headersVolume, group},
		{"mkfs.ext4", "-q", "-m", "0", device},
		{"mkdir", "-p", headers},
		{"mount", device, headers},
	} {
		if err := runs(argv...); err != nil {
			return err
		}
	}
	raw := make([]byte, sizeWiki)
	for _, part := range []struct{ from, size int }{{0, 300 << 10}, {3 << 20, 100 << 10}, {5 << 20, 600 << 10}} {
		for i := range part.size {
			raw[part.from+i] = byte(noise.Uint32())
		}
	}
	const plain = "/tmp/wiki.raw"
	if err := writeFlushed(plain, raw); err != nil {
		return err
	}
	defer os.Remove(plain)
	if err := runs("qemu-img", "convert", "-f", "raw", "-O", "qcow2", plain, wiki.disks[0].source); err != nil {
		return err
	}
	return define(fmt.Sprintf(wikiDomain, wiki.disks[0].source))
}

// runs runs a program that has to succeed.
func runs(argv ...string) error {
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", argv, err, out)
	}
	return nil
}

// wikiPayload compares what the clone's image holds with the source's. It unlocks
// the volume anew with the header in its file, looks whether its file system is
// whole, and that nothing else is on it.
func wikiPayload() (int64, error) {
	d := wiki.disks[0]
	const mapper, dir = "check_vda", "/run/check"
	device := "/dev/mapper/" + mapper
	if err := runs("cryptsetup", "open", "--key-file", keyFile, "--header", headers+"/wiki.header", "/dev/"+group+"/"+d.volume, mapper); err != nil {
		return 0, err
	}
	// For writing: the last to have it open may have been a host that lost its power.
	err := errors.Join(os.MkdirAll(dir, 0o700), runs("mount", device, dir))
	if err == nil {
		err = errors.Join(
			runs("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", d.source, dir+"/"+wikiImage),
			runs("qemu-img", "check", "-q", dir+"/"+wikiImage),
			alone(dir), runs("umount", dir), runs("e2fsck", "-fn", device))
	}
	return d.size, errors.Join(err, lock(mapper))
}

// alone says that nothing is beside the image.
func alone(dir string) error {
	var names []string
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if err == nil && !slices.Equal(names, []string{"lost+found", wikiImage}) {
		err = fmt.Errorf("on the file system are %v", names)
	}
	return err
}

// mounts sees what is mounted, and the files that loop devices are over. The
// state directory is what some tests mount something on.
func (w *world) mounts() error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(table)) {
		// The fifth field is where (proc(5)).
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] != stateDir {
			*w = append(*w, "mount "+fields[4])
		}
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return err
	}
	for _, loop := range loops {
		file, err := os.ReadFile(loop)
		if err == nil && strings.TrimSpace(string(file)) != "/tmp/state.img" {
			*w = append(*w, "loop device over "+strings.TrimSpace(string(file)))
		}
	}
	return nil
}
