package migrate

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

// pacer is a Copier that notes how hard it was told to press the disks.
type pacer struct {
	Copier
	paces []Pace
}

func (p *pacer) Verify(ctx context.Context, r VerifyRequest) (blockcopy.Result, error) {
	p.paces = append(p.paces, r.Pace)
	return p.Copier.Verify(ctx, r)
}

func (p *pacer) SourceDigests(ctx context.Context, source SourcePlan, payload int64, chunks []int64, pace Pace) ([]blockcopy.Digest, error) {
	p.paces = append(p.paces, pace)
	return p.Copier.SourceDigests(ctx, source, payload, chunks, pace)
}

func TestWhatIsReadToCompareKeepsToThePaceToo(t *testing.T) {
	w := newWorldIn(t, scratch(t), 8192)
	gentle := options()
	gentle.Pace = Pace{MaxRate: 1 << 20, Idle: true, Retries: 3}
	plan := w.plan(gentle)
	w.disarm()
	env := w.env()
	noting := &pacer{Copier: env.Copier}
	env.Copier = noting
	engine := &Engine{Env: env, StopAfter: Verify}
	_, err := engine.Run(w.context(), plan)
	w.wantStopped(err, Verify, Kept, "the run")
	engine.StopAfter = ""
	if _, err := engine.Resume(w.context(), plan.Job); err != nil {
		t.Fatal(err)
	}
	w.back = true
	if err := engine.Rollback(w.context(), plan.Job, false); err != nil {
		t.Fatal(err)
	}
	// The verification, the resume's look at the source and the rollback's at
	// the payload.
	if want := []Pace{gentle.Pace, gentle.Pace, gentle.Pace}; !cmp.Equal(noting.paces, want) {
		t.Errorf("%+v", noting.paces)
	}
}

func TestCopiesOfOneRateShareIt(t *testing.T) {
	rates := new(Rates)
	if one := rates.throttle(1000); one == nil || one != rates.throttle(1000) || one == rates.throttle(2000) || rates.throttle(0) != nil {
		t.Error("a rate is not shared, or another's is")
	}
	if (*Rates)(nil).throttle(1000) != nil {
		t.Error("a rate is shared with nobody")
	}
}
