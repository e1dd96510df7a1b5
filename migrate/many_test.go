package migrate

import (
	"fmt"
	"testing"
)

// many is a host with so many VMs that could be moved.
func many(tb testing.TB, vms int) *Facts {
	tb.Helper()
	t, ok := tb.(*testing.T)
	if !ok {
		t = new(testing.T)
	}
	s := &situation{t: t, facts: new(Facts), taken: Budget{}, options: options()}
	s.facts.VGs = append(s.facts.VGs, group("vg0", 4*mib, 300*int64(vms)))
	for i := range vms {
		s.addVM(fmt.Sprint("vm", i), fmt.Sprintf("7ab5dae4-2a1c-4c38-a1c5-%012d", i), rawDisk("vda", fmt.Sprintf("/srv/vm%d.img", i), ""), cdrom)
	}
	return s.facts
}

func BenchmarkPlanTwoHundred(b *testing.B) {
	facts := many(b, 200)
	for b.Loop() {
		decider := &Decider{Facts: facts, Random: dice(1), Store: Store{Now: noon}, Taken: Budget{}}
		for _, domain := range facts.Domains {
			plan, err := decider.Decide(domain.Name, options())
			if err != nil || plan.Result() != ResultReady {
				b.Fatal(plan, err)
			}
		}
	}
}
