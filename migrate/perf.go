package migrate

import (
	"context"

	"github.com/vmmigrate/vmmigrate/luks"
)

// PerfOptions tune dm-crypt for the copy (cryptsetup-open(8), --perf-*). They
// hold for this opening of the mapping alone.
type PerfOptions struct {
	NoReadWorkqueue  bool `json:"no_read_workqueue,omitempty"`
	NoWriteWorkqueue bool `json:"no_write_workqueue,omitempty"`
	SameCPUCrypt     bool `json:"same_cpu_crypt,omitempty"`
	// Probe says when to measure whether the first two help.
	Probe PerfProbe `json:"probe,omitempty"`
}

// PerfProbe says when dm-crypt's options are measured.
type PerfProbe string

// The times to measure.
const (
	// ProbeAuto measures for payloads that take long enough to gain by it.
	ProbeAuto PerfProbe = "auto"
	// ProbeAlways measures, and ProbeNever does not.
	ProbeAlways PerfProbe = "always"
	ProbeNever  PerfProbe = "never"
)

const (
	// probeFrom is the payload from which ProbeAuto measures. Each of the two
	// more unlocks takes seconds (argon2id by default), so that a tenth of a
	// copy's time has to be more than that.
	probeFrom = 16 << 30
	// probeBytes is how much is written for each measurement.
	probeBytes = 64 << 20
	// probeGain is what has to be gained for the options to be used; less is
	// within what two measurements of the same thing differ by.
	probeGain = 1.1
)

// openings are how a mapping is opened, one way after the other, with the flags
// that were asked for, or that the measurement chose.
func (j *Job) openings(ctx context.Context, disk *DiskPlan) ([]luks.OpenOptions, error) {
	perf := j.Plan.Options.Perf
	if _, err := j.noted(Open, disk, &perf); err != nil {
		return nil, err
	}
	all := j.Plan.openings(disk, perf)
	if !all[0].Persistent {
		return all, nil
	}
	header, err := j.Encryption.Header(ctx, disk.headerAt())
	if err != nil {
		return nil, err
	}
	if len(header.Flags) > 0 {
		return []luks.OpenOptions{j.Plan.openOptions(disk, perf)}, nil // ours, or ones that would be lost
	}
	return all, nil
}

// wantsProbe says whether to measure: not where flags were chosen, and never
// once a byte of the payload counts, since the measurement writes to it.
func (j *Job) wantsProbe(disk *DiskPlan) (bool, error) {
	perf := j.Plan.Options.Perf
	chosen := perf.NoReadWorkqueue || perf.NoWriteWorkqueue || perf.SameCPUCrypt
	long := perf.Probe == ProbeAlways || perf.Probe == ProbeAuto && disk.Payload >= probeFrom
	if chosen || !long || disk.Payload < probeBytes {
		return false, nil
	}
	var before PerfOptions
	measured, err := j.noted(Open, disk, &before)
	if err != nil || measured {
		return false, err
	}
	copied, err := exists(j.chunksPath(disk))
	return !copied && !j.cameTo(key(MakeFilesystem, disk)), err
}

// probe measures writing with and without dm-crypt's work queues, and leaves
// the mapping open in the better way. What it writes is overwritten by the copy.
func (j *Job) probe(ctx context.Context, disk *DiskPlan, key luks.Key) error {
	plain, err := j.Copier.WriteRate(ctx, disk.Device, probeBytes)
	if err != nil {
		return err
	}
	perf := j.Plan.Options.Perf
	perf.NoReadWorkqueue, perf.NoWriteWorkqueue = true, true
	options := luks.OpenOptions{AllowDiscards: j.Plan.Options.AllowDiscards, NoReadWorkqueue: true, NoWriteWorkqueue: true}
	if err := j.reopen(ctx, disk, key, options); err == nil {
		direct, err := j.Copier.WriteRate(ctx, disk.Device, probeBytes)
		if err != nil {
			return err
		}
		if direct >= plain*probeGain {
			j.say(Open, disk, "%s, without dm-crypt's work queues: they cost %.0f%%", disk.Device, 100*(1-plain/direct))
			return j.note(Open, disk, perf)
		}
	}
	// No gain, or a kernel before 5.9 that does not know the flags.
	if err := j.note(Open, disk, j.Plan.Options.Perf); err != nil {
		return err
	}
	options.NoReadWorkqueue, options.NoWriteWorkqueue = false, false
	return j.reopen(ctx, disk, key, options)
}

func (j *Job) reopen(ctx context.Context, disk *DiskPlan, key luks.Key, options luks.OpenOptions) error {
	if err := closeOurs(ctx, j, disk); err != nil {
		return err
	}
	options.Header = disk.HeaderFile
	return j.Encryption.Open(ctx, disk.Volume.Path, disk.Mapper, key, options)
}
