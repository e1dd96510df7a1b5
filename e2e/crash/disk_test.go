//go:build e2e

package crash

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// faulty defines what a script needs to make a part of the physical volume bad,
// and all of it good again. A volume's table has one line, "0 SECTORS linear
// MAJOR:MINOR FIRST", since it lies in one piece.
const faulty = `
	disk=$(blockdev --getsz /dev/mapper/pv0)
	# bad VOLUME FIRST COUNT TARGET: so many sectors of the volume, from that
	# one on, are handled by TARGET, in which AT is their place on the disk.
	bad() {
		first=$(($(dmsetup table "$1" | cut -d' ' -f5) + $2)); next=$((first + $3))
		{
			echo "0 $first linear /dev/ubda 2048"
			echo "$first $3 $(echo "$4" | sed "s/AT/$((first + 2048))/")"
			echo "$next $((disk - next)) linear /dev/ubda $((next + 2048))"
		} | dmsetup load pv0
		dmsetup resume pv0
	}
	good() { dmsetup load pv0 --table "0 $disk linear /dev/ubda 2048"; dmsetup resume pv0; }
`

// The volumes by device-mapper's names, and where in them the payload begins:
// it takes up their end (see package migrate, invariant 2).
const (
	sourceVolume = "vg0-imap"
	targetVolume = "vg0-imap--vda--luks"
	sourceSize   = 6 << 20 / 512
	targetSize   = 22 << 20 / 512
	payloadStart = targetSize - sourceSize
)

const (
	// beforeCopy is when the first disk's payload is open and empty.
	beforeCopy = "write journal: intent copy vda"
	// copying is when a first part of it is about to be written.
	copying = "copy vda: write payload #1"
	// copied is when all of it is.
	copied = "write journal: done copy vda"
	// formatting and backingUp are when cryptsetup is about to.
	formatting = "run cryptsetup luksFormat /dev/vg0/imap-vda-luks"
	backingUp  = "run cryptsetup luksHeaderBackup /dev/vg0/imap-vdb-luks"
)

// bad is a script that makes eight sectors of a volume bad, at a place that
// chance decides.
func bad(random *rand.Rand, volume string, from, to int64) string {
	return fmt.Sprintf("%s bad %s %d 8 error", faulty, volume, from+random.Int64N((to-from)/8)*8)
}

func diskFaults() []variants {
	var targets, sources variants
	for i := range 2 {
		targets = append(targets, scenario{fmt.Sprintf("the target has bad sector %d", i+1), func(p place, random *rand.Rand) {
			c := p.at(copying, bad(random, targetVolume, payloadStart, targetSize), "run")
			p.expect(c, 4, "could not be written", "vmmigrate resume", "vmmigrate rollback")
			p.shell(faulty + "good")
			p.end([]string{"resume", "rollback"}[i], "")
		}})
		sources = append(sources, scenario{fmt.Sprintf("the source has bad sector %d", i+1), func(p place, random *rand.Rand) {
			c := p.at(beforeCopy, bad(random, sourceVolume, 0, sourceSize), "run")
			p.expect(c, 4, "could not be read", "vmmigrate resume", "vmmigrate rollback")
			p.shell(faulty + "good")
			p.end([]string{"resume", "rollback"}[i], "")
		}})
	}
	return []variants{
		targets,
		sources,
		{{"a sector goes bad between copy and verification", func(p place, random *rand.Rand) {
			c := p.at(copied, bad(random, targetVolume, payloadStart, targetSize), "run")
			p.expect(c, 4, "verify of vda failed", "vmmigrate resume")
			p.shell(faulty + "good")
			p.end("resume", "")
		}}},
		{{"the header's place is bad", func(p place, random *rand.Rand) {
			c := p.at(formatting, bad(random, targetVolume, 0, 64), "run")
			p.expect(c, 1, "removed again") // nothing was copied yet: nothing is kept
			p.shell(faulty + "good")
			p.end("rollback", "")
		}}},
		{{"the disk loses what it said it wrote", func(p place, _ *rand.Rand) {
			c := p.at(copying, fmt.Sprintf("%s bad %s %d %d 'flakey /dev/ubda AT 0 60 1 drop_writes'", faulty, targetVolume, payloadStart, sourceSize), "run")
			p.expect(c, 5, "the clone is not defined")
			p.shell(faulty + "good")
			p.end("rollback", "")
		}}},
		{{"the disk fails every other second", func(p place, _ *rand.Rand) {
			c := p.at(copying, fmt.Sprintf("%s bad %s %d %d 'flakey /dev/ubda AT 1 1 1 error_writes'", faulty, targetVolume, payloadStart, sourceSize), "run", "--max-rate", "2M")
			for try := 1; c.Code == 4 && try < 8; try++ {
				c.Code, c.Output = p.vmmigrate(resume()...)
			}
			p.shell(faulty + "good")
			p.end("resume", "")
		}}},
		{fullState("tmpfs", copying, false), fullState("ext4", "write journal: intent create-volume vda", false), fullState("ext4", "write journal: done define", false)},
		{fullState("tmpfs", backingUp, true), fullState("ext4", backingUp, true)},
		{{"the state directory becomes read-only", func(p place, random *rand.Rand) {
			p.shell(mount["ext4"])
			instants := []string{"write journal: done format vda", copied, "write journal: done define"}
			instant := instants[random.IntN(len(instants))]
			c := p.at(instant, `echo 1 >/sys/fs/ext4/$(basename $(losetup -nO NAME -j /tmp/state.img))/trigger_fs_error`, "run")
			p.expect(c, 4, "journal could not be written", "vmmigrate resume")
			p.shell(`umount /var/lib/vmmigrate; e2fsck -fy /tmp/state.img >/dev/null || [ $? -le 2 ]; mount -o loop,errors=remount-ro /tmp/state.img /var/lib/vmmigrate; rmdir /var/lib/vmmigrate/lost+found`)
			p.end("resume", "")
			p.shell(unmount)
		}}, {"the state directory is read-only from the start", func(p place, _ *rand.Rand) {
			p.shell(mount["tmpfs"] + "; mount -o remount,ro /var/lib/vmmigrate")
			code, output := p.vmmigrate("run", "--vm", "imap", "--key-file", "/var/lib/libvirt/luks.key")
			expect(p.t, code, output, 3, "could not be written", "read-only")
			p.shell("mount -o remount,rw /var/lib/vmmigrate")
			p.end("rollback", "")
			p.shell(unmount)
		}}},
		{{"the thin pool is full, and says so", func(p place, _ *rand.Rand) {
			p = p.thin("y")
			c := p.at(copying, fill, "run", "--thin-pool", "pool")
			p.expect(c, 4, "vmmigrate resume")
			p.shell("lvextend -q -L +64M vg0/pool")
			p.end("resume", `pool|hog|pmspare`)
			p.shell("lvremove -q --yes vg0/hog vg0/pool")
		}}, {"the thin pool is full, and waits", func(p place, _ *rand.Rand) {
			p = p.thin("n")
			done := make(chan call)
			go func() { done <- p.at(copying, fill, "run", "--thin-pool", "pool") }()
			for begin := time.Now(); !strings.Contains(p.shell("dmsetup status vg0-pool-tpool"), "out_of_data_space"); time.Sleep(200 * time.Millisecond) {
				if time.Since(begin) > time.Minute {
					p.t.Fatal("the pool did not fill up")
				}
			}
			p.shell("lvextend -q -L +64M vg0/pool")
			p.expect(<-done, 0)
			p.end("resume", `pool|hog|pmspare`)
			p.shell("lvremove -q --yes vg0/hog vg0/pool")
		}}},
	}
}

// mount gives the state directory a file system of its own of 64 MiB, which is
// room for all a job keeps.
var mount = map[string]string{
	"tmpfs": `mount -t tmpfs -o size=64M,mode=700 tmpfs /var/lib/vmmigrate`,
	"ext4": `truncate -s 64M /tmp/state.img; mke2fs -q -F -t ext4 /tmp/state.img
		mount -o loop,errors=remount-ro /tmp/state.img /var/lib/vmmigrate; rmdir /var/lib/vmmigrate/lost+found`,
}

const unmount = `umount /var/lib/vmmigrate; rm -f /tmp/state.img`

// fullState fills the state directory at an instant. What is still to be
// written may find room in the last block of its file, so that the job gets
// through; must says that it can't.
func fullState(filesystem, instant string, must bool) scenario {
	return scenario{"the state directory on " + filesystem + " is full at " + strings.ReplaceAll(instant, "/", "-"), func(p place, _ *rand.Rand) {
		p.shell(mount[filesystem])
		c := p.at(instant, `cat /dev/zero >/var/lib/vmmigrate/full`, "run")
		if must || c.Code != 0 {
			p.expect(c, 4, "vmmigrate resume")
		}
		p.shell("rm /var/lib/vmmigrate/full")
		p.end("resume", "")
		p.shell(unmount)
	}}
}

// thin makes a thin pool of 60 MiB, and learns what a job in it leaves.
func (p place) thin(errorWhenFull string) place {
	p.shell(`lvcreate -q --yes --type thin-pool -L 60M --poolmetadatasize 4M -n pool vg0
		[ "$1" = n ] || lvchange -q --errorwhenfull "$1" vg0/pool # n is the default, and an error to set again
		lvcreate -q --yes --type thin -V 100M --thinpool pool -n hog vg0`, errorWhenFull)
	return p.rehearse("--thin-pool", "pool")
}

// fill leaves 3 MiB of the pool, less than what is still to be copied.
const fill = `used=$(lvs --noheadings -o data_percent vg0/pool | cut -d. -f1)
	dd if=/dev/urandom of=/dev/vg0/hog bs=1M count=$((60 - used * 60 / 100 - 4)) oflag=direct status=none`
