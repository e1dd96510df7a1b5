package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
)

// costRuns is how often a move is timed.
const costRuns = 5

// costTarget is the most seconds that a run may take beside moving bytes and
// deriving keys.
const costTarget = 3.0

// runCost times moves of the guest with its two small disks, and tells what
// they take beside copying and reading back. The key derivation is one that
// takes no time, so that what LUKS costs besides is counted.
func runCost(ctx context.Context) error {
	stage, err := scenario.Set(ctx, scenario.Options{Log: os.Stderr})
	if err != nil {
		return err
	}
	defer stage.PowerCut()
	var fixed []float64
	parts := make(map[string][]float64)
	for range costRuns {
		r, err := stage.Migrate(ctx, "imap", "--output", "json")
		if err != nil || r.ExitCode != scenario.Done {
			return fmt.Errorf("run: exit code %d, %w\n%s", r.ExitCode, err, r.Stderr)
		}
		events, err := scenario.Events(r.Stdout)
		if err != nil {
			return err
		}
		sum := make(map[string]float64)
		for _, e := range events {
			if e.Event == "step-done" {
				sum[e.Step] += e.Seconds
			}
		}
		whole := events[len(events)-1].Seconds
		fixed = append(fixed, whole-sum["copy"]-sum["verify"])
		for step, seconds := range sum {
			parts[step] = append(parts[step], seconds)
		}
		if r, err := stage.VMMigrate(ctx, "rollback", "imap", "--yes"); err != nil || r.ExitCode != scenario.Done {
			return fmt.Errorf("rollback: exit code %d, %w\n%s", r.ExitCode, err, r.Stderr)
		}
	}
	verdict := "met"
	if middle(fixed) > costTarget {
		verdict = "missed"
	}
	fmt.Printf("a run of two disks in the test host, beside copying and reading back: %.1f s, from %.1f to %.1f s in %d runs; asked for at most %.0f s: %s\n",
		middle(fixed), slices.Min(fixed), slices.Max(fixed), costRuns, costTarget, verdict)
	for _, step := range []string{"preflight", "create-volume", "format", "open", "copy", "verify", "header-backup", "firmware", "define"} {
		if len(parts[step]) > 0 {
			fmt.Printf("  %-14s %5.2f s\n", step, middle(parts[step]))
		}
	}
	return stage.Stop()
}

// middle is the median of an odd number.
func middle(list []float64) float64 {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
