package migrate

import (
	"context"
	"errors"
	"fmt"
)

// Outcome is what became of one VM of a batch.
type Outcome struct {
	Plan    *Plan
	Summary *Summary
	Err     error
}

// BatchError says that some VMs of a batch failed; the others are done.
type BatchError struct {
	// Failed counts those that failed, of All.
	Failed, All int
	// Errs are their errors, in the order of the batch.
	Errs []error
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("%d of %d VMs failed", e.Failed, e.All)
}

// Unwrap returns the errors of those that failed.
func (e *BatchError) Unwrap() []error { return e.Errs }

// RunAll carries plans out one after another. One that fails does not keep the
// next from running; an interruption does. failed is told of each failure as it
// comes. With one plan the error is its own, with several a *BatchError.
func (e *Engine) RunAll(ctx context.Context, plans []*Plan, failed func(Outcome)) ([]Outcome, error) {
	var outcomes []Outcome
	var errs []error
	for _, plan := range plans {
		if err := interrupted(ctx); err != nil {
			errs = append(errs, err)
			break
		}
		summary, err := e.Run(ctx, plan)
		outcome := Outcome{Plan: plan, Summary: summary, Err: err}
		outcomes = append(outcomes, outcome)
		if err != nil {
			errs = append(errs, err)
			failed(outcome)
		}
		var stopped *InterruptedError
		if errors.As(err, &stopped) {
			break
		}
	}
	switch {
	case len(errs) == 0:
		return outcomes, nil
	case len(plans) == 1:
		return outcomes, errs[0]
	default:
		return outcomes, &BatchError{Failed: len(errs), All: len(plans), Errs: errs}
	}
}
