package planfile

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// Copy says how hard the copy may press the disks and the processors: the flags
// of run of those names. What is nil, empty or 0 is chosen elsewhere.
type Copy struct {
	// MaxRate is in bytes a second, BlockSize in bytes.
	MaxRate, BlockSize                                      int64
	Retries, Workers                                        int
	IOIdle, NoReadWorkqueue, NoWriteWorkqueue, SameCPUCrypt *bool
	Probe                                                   migrate.PerfProbe
}

// flags are those of the options that are on or off.
func (c *Copy) flags(o *migrate.Options) []struct{ chosen, into *bool } {
	return []struct{ chosen, into *bool }{
		{c.IOIdle, &o.Pace.Idle},
		{c.NoReadWorkqueue, &o.Perf.NoReadWorkqueue},
		{c.NoWriteWorkqueue, &o.Perf.NoWriteWorkqueue},
		{c.SameCPUCrypt, &o.Perf.SameCPUCrypt},
	}
}

// copyOf are the choices that options differ in from what happens without any.
func copyOf(o migrate.Options) Copy {
	c := Copy{MaxRate: o.Pace.MaxRate, BlockSize: o.Pace.BlockSize, Retries: o.Pace.Retries, Workers: o.Pace.Workers}
	if o.Perf.Probe != migrate.ProbeAuto {
		c.Probe = o.Perf.Probe
	}
	for _, flag := range []struct {
		set  bool
		into **bool
	}{{o.Pace.Idle, &c.IOIdle}, {o.Perf.NoReadWorkqueue, &c.NoReadWorkqueue}, {o.Perf.NoWriteWorkqueue, &c.NoWriteWorkqueue}, {o.Perf.SameCPUCrypt, &c.SameCPUCrypt}} {
		if flag.set {
			*flag.into = &flag.set
		}
	}
	return c
}

// choose changes options to what is chosen.
func (c *Copy) choose(o *migrate.Options) {
	o.Pace.MaxRate = cmp.Or(c.MaxRate, o.Pace.MaxRate)
	o.Pace.BlockSize = cmp.Or(c.BlockSize, o.Pace.BlockSize)
	o.Pace.Retries = cmp.Or(c.Retries, o.Pace.Retries)
	o.Pace.Workers = cmp.Or(c.Workers, o.Pace.Workers)
	o.Perf.Probe = cmp.Or(c.Probe, o.Perf.Probe)
	for _, flag := range c.flags(o) {
		if flag.chosen != nil {
			*flag.into = *flag.chosen
		}
	}
}

func (r *reader) copy(f *fields) Copy {
	c := Copy{
		MaxRate: f.size("max-rate"), IOIdle: f.boolean("io-idle"), Retries: f.number("retries"), Workers: f.number("workers"), BlockSize: f.size("block-size"),
		NoReadWorkqueue: f.boolean("perf-no_read_workqueue"), NoWriteWorkqueue: f.boolean("perf-no_write_workqueue"), SameCPUCrypt: f.boolean("perf-same_cpu_crypt"),
		Probe: migrate.PerfProbe(f.text("perf-probe")),
	}
	switch c.Probe {
	case "", migrate.ProbeAuto, migrate.ProbeAlways, migrate.ProbeNever:
	default:
		r.fail(f.place["perf-probe"], "perf-probe is auto, always or never, not %q", c.Probe)
	}
	f.end()
	return c
}

// copy writes the choices, if there are any.
func (w *writer) copy(depth int, c Copy) {
	if c == (Copy{}) {
		return
	}
	fmt.Fprintf(w, "%scopy:\n", strings.Repeat("  ", depth))
	w.size(depth+1, "max-rate", c.MaxRate)
	w.boolean(depth+1, "io-idle", c.IOIdle)
	w.number(depth+1, "retries", c.Retries)
	w.number(depth+1, "workers", c.Workers)
	w.size(depth+1, "block-size", c.BlockSize)
	w.boolean(depth+1, "perf-no_read_workqueue", c.NoReadWorkqueue)
	w.boolean(depth+1, "perf-no_write_workqueue", c.NoWriteWorkqueue)
	w.boolean(depth+1, "perf-same_cpu_crypt", c.SameCPUCrypt)
	w.text(depth+1, "perf-probe", string(c.Probe))
}
