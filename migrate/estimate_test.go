package migrate

import (
	"fmt"
	"testing"
	"time"
)

func TestAnEstimateIsMadeOfSourcesThatCanBeRead(t *testing.T) {
	plan := &Plan{Options: Options{Verify: VerifyFull, LUKS: DefaultLUKS()}, Disks: []DiskPlan{{Payload: 8 * mib, Source: SourcePlan{Path: file(t, 8*mib), Size: 8 * mib}}}}
	gone := &Plan{Options: plan.Options, Disks: []DiskPlan{plan.Disks[0], {Payload: 8 * mib, Source: SourcePlan{Path: "/nowhere", Size: 8 * mib}}}}
	bare := &Plan{Options: plan.Options}
	estimates := Estimates(t.Context(), Host{}, []*Plan{plan, gone, bare})

	first, rate := estimates[0], estimates[0].ReadRate
	if first.CipherRate > 0 {
		rate = min(rate, first.CipherRate)
	}
	if want := 3 * float64(8*mib) / rate; first.ReadRate <= 0 || first.Seconds != want {
		t.Errorf("got %+v, want %g seconds", first, want)
	}
	if estimates[1] != (Estimate{}) {
		t.Errorf("with a source that is not there: %+v", estimates[1])
	}
	if estimates[2] != (Estimate{}) {
		t.Errorf("without a disk: %+v", estimates[2])
	}
}

func TestTheEstimatesOfTwoHundredVMsTakeNoLongerThanThoseOfOne(t *testing.T) {
	var plans []*Plan
	for i := range 200 {
		path := file(t, 4*mib)
		plans = append(plans, &Plan{VM: fmt.Sprint(i), Options: Options{Verify: VerifyTarget, LUKS: DefaultLUKS()}, Disks: []DiskPlan{{Payload: 4 * mib, Source: SourcePlan{Path: path, Size: 4 * mib}}}})
	}
	begin := time.Now()
	estimates := Estimates(t.Context(), Host{}, plans)
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("they took %s", took)
	}
	for _, estimate := range estimates {
		if estimate != estimates[0] || estimate.Seconds == 0 {
			t.Fatalf("%+v and %+v on one device", estimate, estimates[0])
		}
	}
}
