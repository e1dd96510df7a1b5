package migrate

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Estimate says how long a plan would take, as far as a look at the sources
// and the processors tells. Writing is not tried, so it is a least time.
type Estimate struct {
	// ReadRate is the slowest source's throughput in bytes per second, and
	// CipherRate that of the encryption in memory on all processors; 0 if
	// unknown.
	ReadRate   float64 `json:"read_bytes_per_second"`
	CipherRate float64 `json:"cipher_bytes_per_second"`
	// Seconds is the least time of copy and verification, 0 if unknown.
	Seconds float64 `json:"seconds"`
}

// The bounds of the look at sources and processors: of each, and of all
// sources of a command together.
const (
	estimateTime  = 100 * time.Millisecond
	estimateTotal = 500 * time.Millisecond
	estimateBytes = 64 << 20
	estimateBlock = 1 << 20
	// cipherTime is for the measurement, cipherWait for that and the loading
	// of a kernel module.
	cipherTime = 50 * time.Millisecond
	cipherWait = 400 * time.Millisecond
)

// Estimates reads a little of the largest source on each physical device, once
// for all plans, and has the kernel encrypt a little with each cipher. A plan
// with a source that can't be read has no estimate; the plan itself says why.
func Estimates(ctx context.Context, devices Devices, plans []*Plan) []Estimate {
	m := &measurement{devices: devices, known: make(map[string]string), read: make(map[string]float64), cipher: make(map[LUKSOptions]float64)}
	m.look(ctx, plans)
	estimates := make([]Estimate, len(plans))
	for i, plan := range plans {
		estimates[i] = m.estimate(ctx, plan)
	}
	return estimates
}

// measurement is what was measured for one command.
type measurement struct {
	devices Devices
	// known are the physical devices by source.
	known map[string]string
	// read are the rates by physical device, and cipher those by cipher and
	// key size.
	read   map[string]float64
	cipher map[LUKSOptions]float64
}

// look reads from each device once, as long as the time for all lasts.
func (m *measurement) look(ctx context.Context, plans []*Plan) {
	largest := make(map[string]SourcePlan)
	var order []string
	for _, plan := range plans {
		for _, disk := range plan.Disks {
			on := m.on(ctx, disk.Source)
			source, known := largest[on]
			if !known {
				order = append(order, on)
			}
			if !known || disk.Source.Size > source.Size {
				largest[on] = disk.Source
			}
		}
	}
	begin := time.Now()
	for _, on := range order {
		if time.Since(begin) > estimateTotal {
			return
		}
		source := largest[on]
		rate, err := within(ctx, "read from "+source.Path, func() (float64, error) { return readRate(ctx, source), nil })
		if err == nil {
			m.read[on] = rate
		}
	}
}

// on names the physical devices that a source is on.
func (m *measurement) on(ctx context.Context, source SourcePlan) string {
	if on, known := m.known[source.Path]; known {
		return on
	}
	on := source.Path
	if numbers, err := m.devices.Physical(ctx, source.Path); err == nil && len(numbers) > 0 {
		on = strings.Join(numbers, " ")
	}
	m.known[source.Path] = on
	return on
}

func (m *measurement) estimate(ctx context.Context, plan *Plan) Estimate {
	var estimate Estimate
	if len(plan.Disks) == 0 {
		return estimate
	}
	estimate.CipherRate = m.encrypt(ctx, plan.Options.LUKS)
	passes := 2.0 // the copy, and reading the payload back
	switch plan.Options.Verify {
	case VerifyNone:
		passes = 1
	case VerifyFull:
		passes = 3
	case VerifyTarget:
	}
	for _, disk := range plan.Disks {
		rate := m.read[m.on(ctx, disk.Source)]
		if rate == 0 {
			return Estimate{}
		}
		if estimate.ReadRate == 0 || rate < estimate.ReadRate {
			estimate.ReadRate = rate
		}
		if estimate.CipherRate > 0 {
			rate = min(rate, estimate.CipherRate)
		}
		estimate.Seconds += passes * float64(disk.Bytes()) / rate
	}
	return estimate
}

// encrypt is the rate of a cipher, measured the first time.
func (m *measurement) encrypt(ctx context.Context, options LUKSOptions) float64 {
	cipher := LUKSOptions{Cipher: options.Cipher, KeySize: options.KeySize}
	rate, known := m.cipher[cipher]
	if known {
		return rate
	}
	measured := make(chan float64, 1)
	go func() {
		rate, err := luks.Speed(ctx, cipher.Cipher, cipher.KeySize, cipherTime)
		if err != nil {
			rate = 0 // then the estimate rests on the sources alone, and says so
		}
		measured <- rate
	}()
	timer := time.NewTimer(cipherWait)
	defer timer.Stop()
	select {
	case rate = <-measured:
	case <-timer.C:
	case <-ctx.Done():
	}
	m.cipher[cipher] = rate
	return rate
}

// readRate reads from the middle of a disk, where there is more often data than
// at its end, and past the page cache where the disk lets us: what is in memory
// says nothing of the disk.
func readRate(ctx context.Context, source SourcePlan) float64 {
	file, err := os.OpenFile(source.Path, os.O_RDONLY|unix.O_DIRECT|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EINVAL) {
		file, err = os.OpenFile(source.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return 0
	}
	defer file.Close()
	// Memory from mmap begins at a page, as O_DIRECT wants it.
	buffer, err := unix.Mmap(-1, 0, estimateBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Munmap(buffer) }() // fails only for what is not mapped
	offset := source.all()[0].Size / 2 / estimateBlock * estimateBlock
	begin := time.Now()
	var read int64
	for read < estimateBytes && time.Since(begin) < estimateTime && ctx.Err() == nil {
		n, err := file.ReadAt(buffer, offset+read)
		read += int64(n)
		if err != nil {
			break // the end of a small disk, as a rule
		}
	}
	if elapsed := time.Since(begin).Seconds(); elapsed > 0 && read > 0 {
		return float64(read) / elapsed
	}
	return 0
}
