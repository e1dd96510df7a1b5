//go:build linux && amd64

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The exit codes of vmmigrate that mean something here.
const (
	exitDone      = 0
	exitRefused   = 3
	exitResumable = 4
)

// program is the vmmigrate that ships.
const program = "/usr/local/bin/vmmigrate"

// runArgs are the job's: every step is in it, and one worker and a fixed block
// size make every run of it the same.
func (t *torment) runArgs(more ...string) []string {
	args := []string{
		"run", "--vm", t.guest().vm, "--key-file", keyFile, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
		"--workers", "1", "--block-size", "1M", "--close",
	}
	if t.Kind == layout {
		args = append(args, layoutArgs...)
	}
	return slices.Concat(args, t.More, t.recoveryArgs(), more)
}

// kind is what is special about a job.
type kind string

// The kinds of jobs, of which all but the usual one do something of their own: a
// recovery key; a disk that stays an image on a file system, with its LUKS header
// in a file.
const (
	usual    kind = "usual"
	recovery kind = "recovery"
	layout   kind = "layout"
)

// guest is the VM that is moved.
func (t *torment) guest() guest {
	if t.Kind == layout {
		return wiki
	}
	return imap
}

func (t *torment) resumeArgs() []string {
	return append([]string{"resume", t.guest().vm, "--key-file", keyFile}, t.recoveryArgs()...)
}

// recoveryFile is where a job with a recovery key writes that.
const recoveryFile = "/root/imap.recovery-key"

func (t *torment) recoveryArgs() []string {
	if t.Kind != recovery {
		return nil
	}
	return []string{"--recovery-key-file", recoveryFile}
}

// clearTheWay does what a person has to before a command that writes a recovery
// key: no such file is ever overwritten, and one that a job did not get to record
// opens nothing.
func (t *torment) clearTheWay() error {
	if t.Kind != recovery || journalSays(`"kind":"done","step":"recovery-key"`) {
		return nil
	}
	err := os.Remove(recoveryFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (t *torment) rollbackArgs(more ...string) []string {
	return append([]string{"rollback", t.guest().vm, "--yes"}, more...)
}

// outcome is what became of one call of vmmigrate.
type outcome struct {
	ending
	args   []string
	output string
}

func (o outcome) String() string {
	how := fmt.Sprintf("exit code %d", o.code)
	if o.killed {
		how = "killed"
	}
	return fmt.Sprintf("vmmigrate %s: %s\n%s", strings.Join(o.args, " "), how, strings.TrimSpace(o.output))
}

// call runs vmmigrate under the tracer.
func call(args []string, where *position, at func(instant) action) (outcome, error) {
	// Into a file: a pipe of ours would end with us and not with it.
	output, err := os.CreateTemp("", "output-")
	if err != nil {
		return outcome{}, err
	}
	defer os.Remove(output.Name())
	defer output.Close()
	cmd := exec.Command("/proc/self/exe", append([]string{"under", program}, args...)...)
	cmd.Stdout, cmd.Stderr = output, output
	where.process()
	end, err := trace(cmd, where, at)
	if err != nil {
		return outcome{}, err
	}
	said, err := os.ReadFile(output.Name())
	return outcome{ending: end, args: args, output: string(said)}, err
}

// plainly runs vmmigrate without a tracer.
func plainly(args []string) (outcome, error) {
	out, err := exec.Command(program, args...).CombinedOutput()
	o := outcome{args: args, output: string(out)}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		o.code, err = exit.ExitCode(), nil
	}
	return o, err
}

// jobBegun says whether the state directory holds a job.
func jobBegun() bool {
	jobs, _ := filepath.Glob(stateDir + "/jobs/[0-9]*") // the pattern is a good one
	return len(jobs) > 0
}

// journalSays says whether the only job's journal holds a text.
func journalSays(text string) bool {
	files, _ := filepath.Glob(stateDir + "/jobs/[0-9]*/journal") // the pattern is a good one
	if len(files) != 1 {
		return false
	}
	data, err := os.ReadFile(files[0])
	return err == nil && bytes.Contains(data, []byte(text))
}

// payloads compares what the clone's disks hold with the sources and returns
// how many bytes it compared. It unlocks them anew from what is on disk, so a
// header that lost its key would show, and so would a recovery key that does not
// fit.
func (t *torment) payloads() (int64, error) {
	if t.Kind == layout {
		return wikiPayload()
	}
	key := keyFile
	if t.Kind == recovery {
		key = recoveryFile
	}
	var bytes int64
	for _, d := range t.guest().disks {
		name := "check_" + d.target
		open := exec.Command("cryptsetup", "open", "--readonly", "--key-file", key, "/dev/"+group+"/"+d.volume, name)
		if out, err := open.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("unlock %s: %w: %s", d.volume, err, out)
		}
		err := d.compare("/dev/mapper/" + name)
		if err := errors.Join(err, lock(name)); err != nil {
			return 0, err
		}
		bytes += d.payload()
	}
	return bytes, nil
}

// lock closes a mapping of ours. udev has it open for a while, to look at it, and
// activates the guest's volume group that it finds.
func lock(name string) error {
	for try := 0; ; try++ {
		out, err := exec.Command("cryptsetup", "close", name).CombinedOutput()
		if err == nil {
			return nil
		}
		if try == 10 {
			holders, _ := exec.Command("lsblk", "-s").Output() // for the message alone
			return fmt.Errorf("lock %s: %w: %s%s", name, err, out, holders)
		}
		// What comes of it shows at the next try.
		_ = exec.Command("udevadm", "settle").Run()
		_ = exec.Command("vgchange", "-q", "-a", "n", guestGroup).Run()
	}
}

// compare holds a payload against the source and the zeros behind it.
func (d disk) compare(path string) error {
	source, err := os.Open(d.source)
	if err != nil {
		return err
	}
	defer source.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(source, d.size)); err != nil {
		return err
	}
	sum.Write(make([]byte, d.payload()-d.size))
	got, err := digestOf(path, d.payload())
	if err == nil && got != hex.EncodeToString(sum.Sum(nil)) {
		err = fmt.Errorf("%s differs from its source", d.target)
	}
	if err != nil {
		return err
	}
	device, err := os.Open(path)
	if err != nil {
		return err
	}
	defer device.Close()
	if size, err := device.Seek(0, io.SeekEnd); err != nil || size != d.payload() {
		return fmt.Errorf("%s has %d bytes and not %d (%w)", path, size, d.payload(), err)
	}
	return nil
}

// reset takes a world by force back to what it was, after something failed, so
// that what follows stands on firm ground.
func reset(before world) error {
	_ = quiet() // whatever still runs then is in the way, and says so below
	script := `
		kill -CONT $(cat /run/libvirtd.pid); virsh -q list || libvirtd -d
		dmsetup load pv0 --table "0 $(blockdev --getsz /dev/mapper/pv0) linear /dev/ubda 2048"; dmsetup resume pv0
		vgchange -q -a n guest; virsh -q destroy imap; virsh -q destroy imap-luks; virsh -q undefine --nvram imap-luks
		virsh -q undefine wiki-luks; umount /run/check /var/lib/libvirt/images/wiki-vda-luks
		for m in cr_imap_vda cr_imap_vdb cr_wiki_vda check_vda check_vdb; do dmsetup remove --retry $m; done
		lvremove -q --yes vg0/imap-vda-luks; lvremove -q --yes vg0/imap-vdb-luks; lvremove -q --yes vg0/wiki-vda-luks
		rmdir /var/lib/libvirt/images/wiki-vda-luks; find /srv/headers -type f -delete; rm -rf /tmp/vmmigrate*
		lvremove -q --yes vg0/hog; lvremove -q --yes vg0/pool
		umount -l /var/lib/vmmigrate; rm -rf /var/lib/vmmigrate/* /var/lib/libvirt/qemu/nvram/imap-luks*
		dmsetup udevcomplete_all -y`
	// Most of it is not there, which is as it should be.
	out, _ := exec.Command("sh", "-c", script).CombinedOutput()
	now, err := look()
	if err != nil {
		return err
	}
	if err := now.differs(before, nil); err != nil {
		return fmt.Errorf("the world can't be put right: %w\n%s", err, out)
	}
	return nil
}
