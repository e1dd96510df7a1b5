package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
)

// costRuns is how often a move is timed.
const costRuns = 5

// costTarget is the most seconds that a run may take beside moving bytes and
// deriving keys.
const costTarget = 3.0

// runCost times moves of the guest, with one of its small disks and with both,
// and tells what they take beside copying and reading back. The key derivation is
// one that takes no time, so that what LUKS costs besides is counted.
func runCost(ctx context.Context) error {
	stage, err := scenario.Set(ctx, scenario.Options{Log: os.Stderr})
	if err != nil {
		return err
	}
	defer stage.PowerCut()
	for _, one := range []struct {
		disks string
		args  []string
	}{{"one disk", []string{"--skip-disk", "vdb"}}, {"two disks", nil}} {
		if err := costOf(ctx, stage, one.disks, one.args); err != nil {
			return err
		}
	}
	if err := costOfPrograms(ctx, stage); err != nil {
		return err
	}
	return stage.Stop()
}

// costOf times some moves and their parts.
func costOf(ctx context.Context, stage *scenario.Stage, disks string, args []string) error {
	var fixed []float64
	parts := make(map[string][]float64)
	for range costRuns {
		r, err := stage.Migrate(ctx, "imap", append(args, "--output", "json")...)
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
	fmt.Printf("a run of %s in the test host, beside copying and reading back: %.1f s, from %.1f to %.1f s in %d runs; asked for at most %.0f s: %s\n",
		disks, middle(fixed), slices.Min(fixed), slices.Max(fixed), costRuns, costTarget, verdict)
	for _, step := range []string{"preflight", "create-volume", "format", "open", "copy", "verify", "header-backup", "firmware", "define"} {
		if len(parts[step]) > 0 {
			fmt.Printf("  %-14s %5.2f s\n", step, middle(parts[step]))
		}
	}
	return nil
}

// costOfPrograms tells how much longer a program takes in the test host than on
// the machine: a run starts some twelve for each disk, and does little else.
func costOfPrograms(ctx context.Context, stage *scenario.Stage) error {
	var here, there []float64
	for range costRuns {
		began := time.Now()
		if _, err := stage.Run(ctx, "lvm", "version"); err != nil {
			return err
		}
		there = append(there, time.Since(began).Seconds())
		began = time.Now()
		if err := exec.CommandContext(ctx, "lvm", "version").Run(); err != nil {
			return err
		}
		here = append(here, time.Since(began).Seconds())
	}
	fmt.Printf("starting `lvm version` takes %.0f ms in the test host and %.0f ms on this machine: every system call there is two switches of process here\n",
		1000*middle(there), 1000*middle(here))
	return nil
}

// middle is the median of an odd number.
func middle(list []float64) float64 {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
