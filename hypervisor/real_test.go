//go:build realhost

package hypervisor_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/hypervisor/hypervisortest"
)

// These tests are for the inside of a test host with a libvirtd of its own
// alone: they define domains, and stop the daemon.

func sh(t *testing.T, argv ...string) string {
	t.Helper()
	c := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

func dial(t *testing.T, timeout time.Duration) *hypervisor.Conn {
	t.Helper()
	conn, err := hypervisor.Dial(t.Context(), hypervisor.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

const oneUUID = "6a1f6c1e-0b7d-4d5c-9a51-aaaaaaaaaaaa"

func definition(name, uuid string, devices ...string) []byte {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(name)) // a strings.Builder never fails
	return fmt.Appendf(nil, `<domain type='qemu'><name>%s</name><uuid>%s</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices>%s<graphics type='vnc' autoport='yes' passwd='secret'/></devices></domain>`, escaped.String(), uuid, strings.Join(devices, ""))
}

func disk(path string) string {
	return "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='" + path + "'/><target dev='vda' bus='virtio'/></disk>"
}

func TestRealLibvirtDoesWhatTheFakeDoes(t *testing.T) {
	folder := t.TempDir()
	sh(t, "virsh", "pool-create-as", "con-pool", "dir", "--target", folder)
	t.Cleanup(func() { sh(t, "virsh", "pool-destroy", "con-pool") })
	sh(t, "virsh", "vol-create-as", "con-pool", "con-volume", "1M")
	hypervisortest.Conformance(t, hypervisortest.Env{
		Client:     dial(t, 0),
		Definition: func(name, uuid string) []byte { return definition(name, uuid) },
		Save:       func(t *testing.T, d hypervisor.Domain) { sh(t, "virsh", "managedsave", d.Name) },
		Drop:       func(t *testing.T, d hypervisor.Domain) { sh(t, "virsh", "managedsave-remove", d.Name) },
		Pool:       "con-pool", Volume: "con-volume", Path: filepath.Join(folder, "con-volume"),
	})
}

func TestARealCheckNeedsNoDiskToBeThere(t *testing.T) {
	conn := dial(t, 0)
	for what, device := range map[string]string{
		"file":  disk("/no/such/file.img"),
		"block": "<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/mapper/cr_no_such'/><target dev='vda' bus='virtio'/></disk>",
	} {
		if err := conn.Validate(t.Context(), definition("con-check", oneUUID, device)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, bad := range map[string]string{
		"two disks of one target": disk("/a") + disk("/b"),
		"a bus that is none":      "<disk type='file'><source file='/a'/><target dev='vda' bus='nonsense'/></disk>",
	} {
		var refused *hypervisor.RefusedError
		err := conn.Validate(t.Context(), definition("con-check", oneUUID, bad))
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", what, err)
		}
		t.Logf("%s: %v", what, err)
	}
}

func TestARealDefineIsHeldAgainstTheSchema(t *testing.T) {
	conn := dial(t, 0)
	text := []byte(strings.Replace(string(definition("con-schema", oneUUID)), "<vcpu>", "<no-such-element/><vcpu>", 1))
	var refused *hypervisor.RefusedError
	if d, err := conn.Define(t.Context(), text); !errors.As(err, &refused) {
		t.Errorf("defined %+v, %v", d, err)
	} else {
		t.Log(err)
	}
	t.Logf("the check without a define says: %v", conn.Validate(t.Context(), text))
}

func TestARealDomainsSnapshotsAreCounted(t *testing.T) {
	conn := dial(t, 0)
	image := filepath.Join(t.TempDir(), "a.qcow2")
	sh(t, "qemu-img", "create", "-q", "-f", "qcow2", image, "1M")
	d, err := conn.Define(t.Context(), definition("con-snap", oneUUID, strings.Replace(disk(image), "'raw'", "'qcow2'", 1)))
	if err != nil {
		t.Fatal(err)
	}
	sh(t, "virsh", "snapshot-create-as", "con-snap", "s1")
	if now, err := conn.Domain(t.Context(), "con-snap"); err != nil || now.Snapshots != 1 || now.Checkpoints != 0 {
		t.Errorf("%+v, %v", now, err)
	}
	var refused *hypervisor.RefusedError
	if err := conn.Undefine(t.Context(), d.UUID); !errors.As(err, &refused) {
		t.Error(err)
	}
	sh(t, "virsh", "snapshot-delete", "con-snap", "s1")
	if err := conn.Undefine(t.Context(), d.UUID); err != nil {
		t.Error(err)
	}
}

func TestARealUndefineKeepsTheDisk(t *testing.T) {
	conn := dial(t, 0)
	image := filepath.Join(t.TempDir(), "a.img")
	sh(t, "truncate", "-s", "1M", image)
	d, err := conn.Define(t.Context(), definition("con-keep", oneUUID, disk(image)))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Undefine(t.Context(), d.UUID); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(image); err != nil {
		t.Error(err)
	}
}

func TestARealTransientDomainIsSaidToBe(t *testing.T) {
	conn := dial(t, 0)
	file := filepath.Join(t.TempDir(), "a.xml")
	if err := os.WriteFile(file, definition("con-transient", oneUUID), 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, "virsh", "create", file)
	d, err := conn.Domain(t.Context(), "con-transient")
	if err != nil || d.Persistent || d.State != hypervisor.Running {
		t.Errorf("%+v, %v", d, err)
	}
	if err := conn.Destroy(t.Context(), d.UUID); err != nil {
		t.Error(err)
	}
}

// daemon is the process number of the libvirtd that serves the socket.
func daemon(t *testing.T) int {
	t.Helper()
	var pid int
	if _, err := fmt.Sscan(sh(t, "cat", "/run/libvirtd.pid"), &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestARealDaemonThatHangsCostsItsTimeAndNoMore(t *testing.T) {
	conn := dial(t, 2*time.Second)
	pid := daemon(t)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for what, ask := range map[string]func() error{
		"list":   func() error { _, err := conn.Domains(t.Context()); return err },
		"define": func() error { _, err := conn.Define(t.Context(), definition("con-hang", oneUUID)); return err },
		"check":  func() error { return conn.Validate(t.Context(), definition("con-hang", oneUUID)) },
		"dial": func() error {
			_, err := hypervisor.Dial(t.Context(), hypervisor.Options{Timeout: 2 * time.Second})
			return err
		},
	} {
		begin := time.Now()
		err := ask()
		var limit *hypervisor.TimeoutError
		if !errors.As(err, &limit) || time.Since(begin) > 30*time.Second {
			t.Errorf("%s: after %s %v", what, time.Since(begin), err)
		}
		t.Logf("%s: after %s %v", what, time.Since(begin).Round(time.Millisecond), err)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Domains(t.Context()); err != nil {
		t.Errorf("once it goes on: %v", err)
	}
}

func TestARealRestartOfTheDaemonIsSurvived(t *testing.T) {
	conn := dial(t, 0)
	events, err := conn.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(daemon(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range events { //nolint:revive // until it ends
	}
	var gone *hypervisor.UnreachableError
	if _, err := conn.Domains(t.Context()); !errors.As(err, &gone) {
		t.Errorf("while it is down: %v", err)
	}
	sh(t, "libvirtd", "-d")
	limit := time.Now().Add(time.Minute)
	for {
		if _, err = conn.Domains(t.Context()); err == nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
