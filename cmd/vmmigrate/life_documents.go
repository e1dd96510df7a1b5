package main

import (
	"time"

	"github.com/vmmigrate/vmmigrate/lifecycle"
)

// These are the documents and events of the commands for the life after the
// move; see documents.go.

// headerBackupDocument is what `vmmigrate header backup --output json` prints.
type headerBackupDocument struct {
	// Backups are the files that were made, one for each disk.
	Backups []lifecycle.Backup `json:"backups"`
}

// headerCheckDocument is what `vmmigrate header check --output json` prints.
type headerCheckDocument struct {
	// VM is the clone.
	VM string `json:"vm"`
	// Good says whether every backup opens with the keys that its volume has.
	Good bool `json:"good"`
	// Checks hold what came of each.
	Checks []lifecycle.HeaderCheck `json:"checks"`
}

// lifeEvent is one line of what `vmmigrate start`, `stop`, `unlock`, `lock`,
// `header restore`, the `key` and the `autostart` commands print with --output json.
type lifeEvent struct {
	// Event says what happened; failed is how it ended for a clone that it
	// failed for.
	Event lifecycle.EventName `json:"event"`
	// Time is when, as in RFC 3339.
	Time time.Time `json:"time"`
	// VM is the clone, and Disk the target of the disk that it is about.
	VM   string `json:"vm"`
	Disk string `json:"disk,omitempty"`
	// Message says more, in words.
	Message string `json:"message,omitempty"`
	// Seconds is how long it took, or has taken so far.
	Seconds *float64 `json:"seconds,omitempty"`
	// Error says in a sentence why it failed.
	Error string `json:"error,omitempty"`
	// ExitCode is the exit code that the failure alone would have.
	ExitCode int `json:"exit_code,omitempty"`
	// Next are the commands to type next; there may be none.
	Next []string `json:"next,omitempty"`
}
