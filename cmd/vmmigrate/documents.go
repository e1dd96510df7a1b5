package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// These are the documents of --output json. Their schemas in docs/ are made
// from these types and the comments at their fields: go test ./cmd/vmmigrate -update.

// planDocument is what `vmmigrate plan --output json` prints.
type planDocument struct {
	// Plans holds one plan for each VM that was chosen.
	Plans []plannedVM `json:"plans"`
}

// plannedVM is what would be done to one VM.
type plannedVM struct {
	*migrate.Plan
	// Result is what the plan comes to.
	Result migrate.Result `json:"result"`
	// Estimate says how long it would take at least.
	Estimate migrate.Estimate `json:"estimate"`
	// XMLDiff is what changes in the domain's definition, as a unified diff;
	// it is there with --xml if the definition can be rewritten.
	XMLDiff string `json:"xml_diff,omitempty"`
}

// jobsDocument is what `vmmigrate jobs --output json` prints.
type jobsDocument struct {
	// Jobs are all jobs in the state directory, oldest first.
	Jobs []jobLine `json:"jobs"`
}

// jobLine is one job and where it stands.
type jobLine struct {
	// Job is its id, and Kind what it does.
	Job  string  `json:"job"`
	Kind jobKind `json:"kind"`
	// VM is the domain that it migrates, and Clone the one that it makes; of a
	// cutover, VM is the name that the two exchange, and Clone what the clone
	// is called without it; of a retirement, VM is the original that goes and
	// Clone what stays. Neither is there for a job whose journal is
	// damaged.
	VM    string `json:"vm,omitempty"`
	Clone string `json:"clone,omitempty"`
	// State says where it stands.
	State migrate.State `json:"state"`
	// Step is the last step that was recorded, and Disk the disk it was about.
	Step migrate.StepName `json:"step,omitempty"`
	Disk string           `json:"disk,omitempty"`
	// Started is the time of the first record, and Updated that of the last.
	Started *time.Time `json:"started,omitempty"`
	Updated *time.Time `json:"updated,omitempty"`
	// Failure is why it stopped, or why its journal can't be read.
	Failure string `json:"failure,omitempty"`
	// Next are the commands with which it goes on.
	Next []string `json:"next,omitempty"`
}

// jobKind is what a job does.
type jobKind string

// The kinds of job.
const (
	kindMove        jobKind = "move"
	kindCutover     jobKind = "cutover"
	kindCutoverUndo jobKind = "cutover-undo"
	kindRetire      jobKind = "retire"
)

// verifyDocument is what `vmmigrate verify --output json` prints.
type verifyDocument struct {
	// Job is the job's id.
	Job string `json:"job"`
	// VM is the domain that was migrated.
	VM string `json:"vm"`
	// Equal says whether every byte of every disk is the same.
	Equal bool `json:"equal"`
	// Disks are the disks that were compared.
	Disks []migrate.Verification `json:"disks"`
}

// event is one line of what `vmmigrate run`, `resume`, `rollback`, `cutover` and
// `retire` print with --output json.
type event struct {
	// Event says what happened.
	Event migrate.EventName `json:"event"`
	// Time is when, as in RFC 3339.
	Time time.Time `json:"time"`
	// Job is the job's id, and VM the domain that it migrates.
	Job string `json:"job"`
	VM  string `json:"vm"`
	// Step is where the job is, and Disk the disk that the step is about, by
	// its target name; a step about the whole VM has none.
	Step migrate.StepName `json:"step,omitempty"`
	Disk string           `json:"disk,omitempty"`
	// Seconds is how long the step, or the job, took.
	Seconds *float64 `json:"seconds,omitempty"`
	// Bytes is how much of Total bytes is done.
	Bytes *int64 `json:"bytes,omitempty"`
	// Total is how much there is to do, in bytes.
	Total *int64 `json:"total,omitempty"`
	// BytesPerSecond is the throughput.
	BytesPerSecond *int64 `json:"bytes_per_second,omitempty"`
	// ETASeconds is how long the rest will take; it is not there as long as
	// that can't be told.
	ETASeconds *int64 `json:"eta_seconds,omitempty"`
	// Message is a warning's text, or a remark: what a step did, that a job is
	// "resumed", or that it is a "rollback".
	Message string `json:"message,omitempty"`
	// Clone is the new domain's name.
	Clone string `json:"clone,omitempty"`
	// Disks say what became of each disk.
	Disks []diskResult `json:"disks,omitempty"`
	// Error says in a sentence why the job failed.
	Error string `json:"error,omitempty"`
	// ExitCode is the exit code that the failure alone would have.
	ExitCode int `json:"exit_code,omitempty"`
	// Next are the commands to type next; there may be none.
	Next []string `json:"next,omitzero"` // never nil where a job failed
}

// diskResult is what became of one disk.
type diskResult struct {
	// Disk is its target name in the domain, such as vda.
	Disk string `json:"disk"`
	// Device is the path of the decrypted device.
	Device string `json:"device"`
	// Bytes is its size.
	Bytes int64 `json:"bytes"`
	// Seconds is the copy's own time, without the verification.
	Seconds float64 `json:"seconds"`
	// Min is the lowest throughput that was seen, Median the one in the
	// middle, and Max the highest.
	Min    int64 `json:"min_bytes_per_second"`
	Median int64 `json:"median_bytes_per_second"`
	Max    int64 `json:"max_bytes_per_second"`
	// Digest is SHA-256 over the SHA-256 digests of the disk's 4 MiB chunks in
	// order, in hexadecimal.
	Digest string `json:"digest"`
	// Verified says how the copy was checked.
	Verified migrate.VerifyMode `json:"verified"`
}

// writeDocument prints a document, indented to be read by people as well.
func writeDocument(w io.Writer, document any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// newPlanDocument puts plans together; diffs are those of --xml, or nil.
func newPlanDocument(plans []*migrate.Plan, estimates []migrate.Estimate, diffs []xmlDiff) planDocument {
	document := planDocument{Plans: []plannedVM{}}
	for i, plan := range plans {
		shown := *plan
		if shown.Disks == nil {
			shown.Disks = []migrate.DiskPlan{} // a list, also of none
		}
		vm := plannedVM{Plan: &shown, Result: plan.Result(), Estimate: estimates[i]}
		if diffs != nil {
			vm.XMLDiff = diffs[i].text
		}
		document.Plans = append(document.Plans, vm)
	}
	return document
}

// xmlDiff is what changes in a VM's definition, or why that can't be told.
type xmlDiff struct {
	text string
	err  error
}

func xmlDiffs(plans []*migrate.Plan, facts *migrate.Facts, color bool) []xmlDiff {
	diffs := make([]xmlDiff, len(plans))
	for i, plan := range plans {
		before, after, err := migrate.Definitions(facts, plan)
		if err != nil {
			diffs[i].err = err
			continue
		}
		context := 3
		if plan.Adopted != nil {
			context = bytes.Count(after, []byte("\n")) + 1 // nobody has seen any of it
		}
		diffs[i].text = domainxml.Unified(before, after, domainxml.RenderOptions{From: plan.VM, To: plan.Clone.Name, Context: context, Color: color})
	}
	return diffs
}

// writeXMLDiffs shows what changes in each VM's definition. One that can't be
// rewritten is told of; the plan names it as a blocker.
func writeXMLDiffs(w io.Writer, plans []*migrate.Plan, diffs []xmlDiff) error {
	for i, diff := range diffs {
		text := diff.text
		if diff.err != nil {
			text = printable(fmt.Sprintf("The definition of %s can't be rewritten: %v", plans[i].VM, diff.err)) + "\n"
		}
		if _, err := fmt.Fprintf(w, "\n%s", text); err != nil {
			return err
		}
	}
	return nil
}
