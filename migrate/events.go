package migrate

import "time"

// EventName says what an event reports.
type EventName string

// The events of a job, in the words of the command line's JSON output.
const (
	JobStarted  EventName = "job-started"
	StepStarted EventName = "step-started"
	StepDone    EventName = "step-done"
	Progress    EventName = "progress"
	Warning     EventName = "warning"
	JobDone     EventName = "job-done"
	JobFailed   EventName = "job-failed"
)

// Event is one thing that happened to a job.
type Event struct {
	Event EventName
	Time  time.Time
	Job   string
	VM    string
	// Step and Disk say where the job is; Disk is empty for a step that is
	// about the whole VM. Disks and DiskIndex (from 1) count them.
	Step      StepName
	Disk      string
	DiskIndex int
	Disks     int
	// Duration is how long the step, or the job, took.
	Duration time.Duration
	// Bytes of Total are done, at BytesPerSecond; ETA is what is left, or
	// negative if that can't be told yet.
	Bytes          int64
	Total          int64
	BytesPerSecond float64
	ETA            time.Duration
	// Message is a warning's text, or what a step found worth saying.
	Message string
	// Summary is a finished job's outcome.
	Summary *Summary
}

// Summary is what a finished job has to show.
type Summary struct {
	Clone string
	// Adopted is true where the clone was made of images that no domain had.
	Adopted bool
	Disks   []DiskSummary
	Seconds float64
}

// DiskSummary is what became of one disk.
type DiskSummary struct {
	Target string
	Bytes  int64
	// Seconds is the copy's own time, without the verification.
	Seconds float64
	// Min, Median and Max are throughputs in bytes per second.
	Min, Median, Max float64
	// Digest is SHA-256 over the binary SHA-256 digests of the payload's
	// 4 MiB chunks in order, in hexadecimal.
	Digest   string
	Verified VerifyMode
	// Mapper is the payload's device name, and Device its path.
	Mapper string
	Device string
}

// Reporter is told what happens. Report returns quickly and is called by one
// goroutine at a time.
type Reporter interface {
	Report(Event)
}
