package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// writeOutcomes prints what became of each VM of a batch, and how it goes on.
func writeOutcomes(w io.Writer, outcomes []migrate.Outcome) {
	t := tableFor(w, "VM", "RESULT", "BYTES", "TIME", "RATE", "CLONE", "NEXT")
	for _, o := range outcomes {
		t.add(outcomeRow(o)...)
	}
	line(w, "\n%s", t.text(0))
}

func outcomeRow(o migrate.Outcome) []string {
	switch {
	case o.Done:
		isClone := func(f migrate.Finding) bool { return f.Code == migrate.AlreadyDone }
		if !slices.ContainsFunc(o.Plan.Blockers, isClone) {
			return []string{o.Plan.VM, "encrypted", "-", "-", "-", "-", "-"} // by somebody else, or it is a clone itself
		}
		return []string{o.Plan.VM, "done before", "-", "-", "-", o.Plan.Clone.Name, startClone(o.Plan.Clone.Name)}
	case o.Err != nil:
		a := explain(o.Err)
		next := "-"
		if len(a.next) > 0 {
			next = a.next[0]
		}
		return []string{o.Plan.VM, fmt.Sprintf("failed (%d)", a.exit), "-", "-", "-", "-", next}
	case o.Summary == nil:
		return []string{o.Plan.VM, "not begun", "-", "-", "-", "-", command.Quote([]string{"vmmigrate", "run", "--vm", o.Plan.VM})}
	}
	var bytes int64
	var copying float64
	for _, d := range o.Summary.Disks {
		bytes, copying = bytes+d.Bytes, copying+d.Seconds
	}
	rate := "-"
	if copying > 0 {
		rate = perSecond(float64(bytes) / copying)
	}
	return []string{
		o.Plan.VM, "migrated", humanize.IBytes(uint64(bytes)), seconds(time.Duration(o.Summary.Seconds * float64(time.Second))), rate,
		o.Summary.Clone, startClone(o.Summary.Clone),
	}
}
