package virtinstall_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/virtinstall"
)

// runner answers as virt-install 4.1.0 did when it was tried.
type runner struct {
	result command.Result
	err    error
	ran    []command.Cmd
}

func (r *runner) Run(_ context.Context, cmd command.Cmd) (command.Result, error) {
	r.ran = append(r.ran, cmd)
	return r.result, r.err
}

func TestADraftNamesNoDiskOfTheHostAndChangesNothing(t *testing.T) {
	run := &runner{result: command.Result{Stdout: []byte("<domain/>")}}
	got, err := virtinstall.New(run, "").Draft(t.Context(), "-x", 2, virtinstall.Machine{Memory: 4 << 30, VCPUs: 3, Network: "bridge=br0", UEFI: true, OS: "debian11"})
	if err != nil || string(got) != "<domain/>" {
		t.Fatalf("%q, %v", got, err)
	}
	cmd := run.ran[0]
	want := "virt-install --connect qemu:///system --print-xml 1 --dry-run --import --noautoconsole --check all=off --name=-x --memory 4096 --vcpus 3 " +
		"--os-variant=debian11 --network=bridge=br0 --graphics vnc --boot uefi --disk path=/dev/null,format=raw --disk path=/dev/null,format=raw"
	if cmd.String() != want || !cmd.ReadOnly {
		t.Errorf("%s\n%s", cmd, want)
	}
}

func TestWhatIsNotSaidHasADefault(t *testing.T) {
	cmd := virtinstall.Command("qemu:///system", "files", 1, virtinstall.Machine{})
	for _, word := range []string{"2048", "2", "--os-variant=detect=off,require=off", "--network=none"} {
		if !slices.Contains(cmd.Args, word) {
			t.Errorf("no %q in %s", word, cmd)
		}
	}
	if slices.Contains(cmd.Args, "uefi") {
		t.Errorf("it boots by UEFI: %s", cmd)
	}
	if got := (virtinstall.Machine{VCPUs: 1, UEFI: true, OS: "win10", Network: "network=default"}).String(); got != "2048 MiB of memory, 1 virtual CPU, UEFI, devices for win10, network=default" {
		t.Error(got)
	}
}

func TestWhatVirtInstallRefusesIsToldInItsOwnWords(t *testing.T) {
	for said, want := range map[string]string{
		"ERROR    Unknown OS name 'beos9'. See `--osinfo list` for valid values.":                  "Unknown OS name 'beos9'. See `--osinfo list` for valid values",
		"WARNING  VNC is odd\nERROR    Did not find any UEFI binary path for arch 'x86_64'\nusage": "Did not find any UEFI binary path for arch 'x86_64'",
		"Traceback\nImportError: no module named libvirt":                                          "Traceback; ImportError: no module named libvirt",
	} {
		run := &runner{err: &command.Error{Argv: []string{"virt-install"}, ExitCode: 1, Stderr: said}}
		_, err := virtinstall.New(run, "qemu:///system").Draft(t.Context(), "files", 1, virtinstall.Machine{})
		var refused *virtinstall.RefusedError
		if !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("%q: %v", said, err)
		}
	}
	var refused *virtinstall.RefusedError
	if _, err := virtinstall.New(new(runner), "").Draft(t.Context(), "files", 1, virtinstall.Machine{}); !errors.As(err, &refused) {
		t.Errorf("no definition: %v", err)
	}
	missing := &command.NotFoundError{Name: "virt-install", Package: "virtinst"}
	_, err := virtinstall.New(&runner{err: missing}, "").Draft(t.Context(), "files", 1, virtinstall.Machine{})
	if !errors.Is(err, missing) || !strings.Contains(err.Error(), "virtinst") {
		t.Errorf("not installed: %v", err)
	}
}
