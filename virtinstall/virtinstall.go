// Package virtinstall has virt-install draft the definition of a VM that does
// not exist yet. virt-install knows what this host's libvirt and QEMU can run
// and what an operating system has drivers for (libosinfo); it is asked to
// print XML, and makes nothing.
//
// It is never shown a real disk: of one in a folder that is no storage pool it
// makes a pool for that folder, also where it was told to print XML alone
// (virtinst/diskbackend.py, manage_path), and leaves it behind. The draft has
// placeholders, for whose sources those of the real disks are put.
package virtinstall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Program is what has to be installed.
const Program = "virt-install"

// placeholder is what virt-install is shown for a disk: virt-install makes no
// pool for anything below /dev.
const placeholder = "/dev/null"

// timeout bounds one draft. It takes a second or two; a libvirt that hangs would
// make it take for ever.
const timeout = 2 * time.Minute

// Machine is what a VM is to have. The zero value of a field is the default
// that is said with it.
type Machine struct {
	// Memory is in bytes; 0 is DefaultMemory.
	Memory int64 `json:"memory,omitempty"`
	// VCPUs is how many virtual CPUs it has; 0 is DefaultVCPUs.
	VCPUs int `json:"vcpus,omitempty"`
	// Network is what its one interface is connected to, as virt-install
	// --network takes it, such as "network=default" or "bridge=br0"; "" is no
	// interface at all.
	Network string `json:"network,omitempty"`
	// UEFI has it boot by UEFI and not by BIOS.
	UEFI bool `json:"uefi,omitempty"`
	// OS is libosinfo's short id of the guest's operating system, such as
	// "debian11"; "" takes devices that every system has drivers for.
	OS string `json:"os,omitempty"`
}

// The defaults of a Machine.
const (
	DefaultMemory = 2 << 30
	DefaultVCPUs  = 2
)

// String says in words what the machine has.
func (m Machine) String() string {
	m = m.withDefaults()
	words := []string{fmt.Sprintf("%d MiB of memory", m.Memory>>20), fmt.Sprintf("%d virtual CPUs", m.VCPUs)}
	if m.VCPUs == 1 {
		words[1] = "1 virtual CPU"
	}
	if m.UEFI {
		words = append(words, "UEFI")
	} else {
		words = append(words, "BIOS")
	}
	if m.OS != "" {
		words = append(words, "devices for "+m.OS)
	} else {
		words = append(words, "devices that any system knows")
	}
	if m.Network == "" {
		words = append(words, "no network")
	} else {
		words = append(words, m.Network)
	}
	return strings.Join(words, ", ")
}

func (m Machine) withDefaults() Machine {
	if m.Memory == 0 {
		m.Memory = DefaultMemory
	}
	if m.VCPUs == 0 {
		m.VCPUs = DefaultVCPUs
	}
	return m
}

// RefusedError says that virt-install would not draft such a machine.
type RefusedError struct {
	// Reason is what it said.
	Reason string
	// Err is how it ended.
	Err error
}

func (e *RefusedError) Error() string { return "virt-install: " + e.Reason }

// Unwrap returns how it ended.
func (e *RefusedError) Unwrap() error { return e.Err }

// Client runs virt-install.
type Client struct {
	run command.Runner
	uri string
}

// New is a Client that runs virt-install through runner for the libvirt at uri,
// "" being libvirt's own default for root.
func New(runner command.Runner, uri string) *Client {
	if uri == "" {
		uri = "qemu:///system"
	}
	return &Client{run: runner, uri: uri}
}

// Draft is the definition of a VM of that name with so many disks, all of them
// placeholders of the format raw. It changes nothing. It returns a
// *command.NotFoundError where virt-install is not installed, and a
// *RefusedError with its own words.
func (c *Client) Draft(ctx context.Context, name string, disks int, machine Machine) ([]byte, error) {
	result, err := c.run.Run(ctx, Command(c.uri, name, disks, machine))
	var failed *command.Error
	if errors.As(err, &failed) && failed.ExitCode > 0 {
		return nil, &RefusedError{Reason: reason(failed.Stderr), Err: err}
	}
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(result.Stdout)) == 0 {
		return nil, &RefusedError{Reason: "it printed no definition"}
	}
	return result.Stdout, nil
}

// Command is how virt-install is called.
func Command(uri, name string, disks int, machine Machine) command.Cmd {
	machine = machine.withDefaults()
	system := machine.OS
	if system == "" {
		system = "detect=off,require=off"
	}
	network := machine.Network
	if network == "" {
		network = "none"
	}
	args := []string{
		// With "=", since a value may begin with a dash.
		"--connect", uri, "--print-xml", "1", "--dry-run", "--import", "--noautoconsole", "--check", "all=off",
		"--name=" + name, "--memory", strconv.FormatInt(machine.Memory>>20, 10), "--vcpus", strconv.Itoa(machine.VCPUs),
		// The name of before virt-install 4, which the later ones take as well.
		"--os-variant=" + system, "--network=" + network, "--graphics", "vnc",
	}
	if machine.UEFI {
		args = append(args, "--boot", "uefi")
	}
	for range disks {
		args = append(args, "--disk", "path="+placeholder+",format=raw")
	}
	return command.Cmd{Name: Program, Args: args, ReadOnly: true, Timeout: timeout}
}

// reason is the part of what virt-install said that tells why.
func reason(said string) string {
	var why []string
	for _, line := range strings.Split(said, "\n") {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "ERROR"); ok {
			why = append(why, strings.TrimSpace(text))
		}
	}
	text := strings.Join(why, "; ")
	if text == "" {
		text = strings.ReplaceAll(strings.TrimSpace(said), "\n", "; ")
	}
	return strings.TrimSuffix(text, ".")
}
