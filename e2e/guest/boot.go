package guest

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"libvirt.org/go/libvirtxml"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// Report is what a guest printed on its serial console.
type Report struct {
	// Says is the text in a file of its root.
	Says string
	// Disks are what it read of each disk, by the name it has for it (vda).
	Disks map[string]DiskSum
	// Took is the time from the start until the domain was shut off.
	Took time.Duration
}

// DiskSum is what a guest read of one disk.
type DiskSum struct {
	// Size is in bytes.
	Size int64
	// SHA256 is in lower-case hexadecimal.
	SHA256 string
}

// bootTimeout is how long a boot may take: 10 s on an idle machine.
const bootTimeout = 5 * time.Minute

// Boot starts a domain that Define defined, or a clone of one, waits until it
// is shut off and returns what it printed.
func Boot(ctx context.Context, h *testhost.Host, name string) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	begin := time.Now()
	log, err := serialLogOf(ctx, h, name)
	if err != nil {
		return Report{}, err
	}
	console, err := h.Shell(ctx, `
		mkdir -p "${2%/*}"; rm -f "$2"
		virsh -q start "--domain=$1"
		while [ "$(virsh domstate "--domain=$1")" = running ]; do sleep 0.3; done
		cat "$2"`, name, log)
	if err != nil {
		return Report{}, fmt.Errorf("boot the guest %q: %w", name, err)
	}
	report, err := parse(console)
	report.Took = time.Since(begin)
	if err != nil {
		return report, fmt.Errorf("boot the guest %q: %w; its console:\n%s", name, err, console)
	}
	return report, nil
}

// serialLogOf returns the file that a domain's serial console is written to.
func serialLogOf(ctx context.Context, h *testhost.Host, name string) (string, error) {
	text, err := h.Output(ctx, "virsh", "dumpxml", "--domain="+name)
	if err != nil {
		return "", err
	}
	var domain libvirtxml.Domain
	if err := domain.Unmarshal(text); err != nil {
		return "", fmt.Errorf("the XML of domain %q: %w", name, err)
	}
	for _, serial := range domain.Devices.Serials {
		if serial.Source != nil && serial.Source.File != nil {
			return serial.Source.File.Path, nil
		}
	}
	return "", fmt.Errorf("domain %q has no serial console that goes to a file", name)
}

var diskLine = regexp.MustCompile(`^DISK (\S+) (\d+) bytes SHA256 ([0-9a-f]{64})$`)

// parse reads what init.sh printed.
func parse(console string) (Report, error) {
	report := Report{Disks: map[string]DiskSum{}}
	done := false
	for line := range strings.Lines(console) {
		line = strings.TrimRight(line, "\r\n")
		if text, ok := strings.CutPrefix(line, "SAYS "); ok {
			report.Says = text
		}
		if m := diskLine.FindStringSubmatch(line); m != nil {
			size, err := strconv.ParseInt(m[2], 10, 64)
			if err != nil {
				return report, err
			}
			report.Disks[m[1]] = DiskSum{Size: size, SHA256: m[3]}
		}
		done = done || line == "GUEST done"
	}
	if !done {
		return report, fmt.Errorf("it did not get to its end")
	}
	return report, nil
}
