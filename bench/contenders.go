package main

import (
	"context"
	"os/exec"
	"strings"
)

// ours begins the names of our own contenders; the others are those that
// ratios are taken against.
const (
	ours       = "vmmigrate"
	copyOnly   = ours + ", verify none"
	digestOnly = ours + ", digests only"
	withTarget = ours + ", verify target"
	withFull   = ours + ", verify full"
	holesName  = ours + ", verify none, 90% holes"
	tuned      = "qemu-img, tuned"
	readOnly   = "only reading"
	writeOnly  = "only writing"
	// readBack is a pass that only reads what was written: the least that a
	// verification can cost.
	readBack = "only reading back"
)

// slowRounds is in how many rounds those run that are known to be slow.
const slowRounds = 3

// contender is one way of copying.
type contender struct {
	name string
	argv []string
	// source is what the target must equal afterwards; "" for the passes that
	// copy nothing.
	source string
	// slow is one that is known to be: it runs in the first rounds alone.
	slow bool
}

func (c contender) run(ctx context.Context) (measurement, error) { return run(ctx, c.argv) }

// contenders lists who competes on d. A program that is not installed is left
// out of it.
func contenders(d *devices, o options) ([]contender, error) {
	me, err := self()
	if err != nil {
		return nil, err
	}
	s, t := d.source, d.target
	our := func(args ...string) []string { return append([]string{me, childCommand}, args...) }
	list := []contender{
		{name: readOnly, argv: our("read", s)},
		{name: writeOnly, argv: our("write", t)},
		{name: readBack, argv: our("read", t)},
		{name: copyOnly, argv: our("copy", "-verify", "none", s, t), source: s},
		{name: digestOnly, argv: our("copy", "-verify", "digest", s, t), source: s},
		{name: withTarget, argv: our("copy", "-verify", "target", s, t), source: s},
		{name: withFull, argv: our("copy", "-verify", "full", s, t), source: s},
		{name: holesName, argv: our("copy", "-verify", "none", d.holed, t), source: d.holed},
		{name: tuned, argv: []string{"qemu-img", "convert", "-n", "-m", "16", "-W", "-T", "none", "-t", "none", "-f", "raw", "-O", "raw", s, t}, source: s},
		{name: "dd, direct", argv: []string{"dd", "if=" + s, "of=" + t, "bs=4M", "iflag=direct", "oflag=direct", "conv=fsync,notrunc"}, source: s},
	}
	if o.slow {
		xml, err := d.domain()
		if err != nil {
			return nil, err
		}
		list = append(
			list,
			contender{name: "qemu-img, defaults", argv: []string{"qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", s, t}, source: s, slow: true},
			contender{name: "nbdcopy", argv: []string{"nbdcopy", "--flush", s, t}, source: s, slow: true},
			contender{name: "virt-clone", argv: []string{
				"virt-clone", "--connect", "test:///default", "--original-xml", xml, "--name", "clone",
				"--file", t, "--nonsparse", "--check", "all=off",
			}, source: s, slow: true},
			contender{name: "dd, buffered", argv: []string{"dd", "if=" + s, "of=" + t, "bs=4M", "conv=fsync,notrunc"}, source: s, slow: true},
		)
	}
	var found []contender
	for _, c := range list {
		if _, err := exec.LookPath(c.argv[0]); err == nil && wanted(c.name, o.only) {
			found = append(found, c)
		}
	}
	return found, nil
}

func wanted(name, only string) bool {
	for start := range strings.SplitSeq(only, ",") {
		if strings.HasPrefix(name, strings.TrimSpace(start)) {
			return true
		}
	}
	return false
}
