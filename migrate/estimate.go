package migrate

import (
	"context"
	"os"
	"time"
)

// Estimate says how long a plan would take, as far as a look at the sources
// tells. Writing and encrypting are not tried, so it is a least time.
type Estimate struct {
	// ReadRate is the sources' throughput in bytes per second, 0 if unknown.
	ReadRate float64 `json:"read_bytes_per_second"`
	// Seconds is the least time of copy and verification, 0 if unknown.
	Seconds float64 `json:"seconds"`
}

// The bounds of the look at each source.
const (
	estimateTime  = 150 * time.Millisecond
	estimateBytes = 64 << 20
	estimateBlock = 1 << 20
)

// EstimateTime reads a little of each source of a plan. A source that can't be
// read makes no estimate; the plan itself says why.
func EstimateTime(ctx context.Context, plan *Plan) Estimate {
	var estimate Estimate
	for _, disk := range plan.Disks {
		rate := readRate(ctx, disk.Source)
		if rate == 0 {
			return Estimate{}
		}
		passes := 2.0 // the copy, and reading the payload back
		switch plan.Options.Verify {
		case VerifyNone:
			passes = 1
		case VerifyFull:
			passes = 3
		case VerifyTarget:
		}
		estimate.Seconds += passes * float64(disk.Payload) / rate
		if estimate.ReadRate == 0 || rate < estimate.ReadRate {
			estimate.ReadRate = rate
		}
	}
	return estimate
}

// readRate reads from the middle of a disk, where there is more often data than
// at its end and less often what is cached than at its start.
func readRate(ctx context.Context, source SourcePlan) float64 {
	file, err := os.Open(source.Path)
	if err != nil {
		return 0
	}
	defer file.Close()
	buffer := make([]byte, min(estimateBlock, source.Size))
	offset := source.Size / 2 / estimateBlock * estimateBlock
	begin := time.Now()
	var read int64
	for read < estimateBytes && time.Since(begin) < estimateTime && ctx.Err() == nil {
		n, err := file.ReadAt(buffer, offset+read)
		read += int64(n)
		if err != nil {
			break
		}
	}
	if elapsed := time.Since(begin).Seconds(); elapsed > 0 {
		return float64(read) / elapsed
	}
	return 0
}
