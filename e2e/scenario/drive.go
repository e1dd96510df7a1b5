package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// The exit codes of vmmigrate, as its manual promises them.
const (
	Done      = 0
	Failed    = 1
	Usage     = 2
	Refused   = 3
	Resumable = 4
	Differs   = 5
)

// KeyFile is a key on the host, readable by root alone; Key is what it holds.
// It ends in a newline, which is part of it.
const (
	KeyFile = "/root/imap.key"
	Key     = "correct horse battery staple\n"
)

// Cheap are the words that make a key derivation take no time. What is slow
// about it is cryptsetup's and tested there.
var cheap = []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}

// Migrate runs `vmmigrate run` for a VM with KeyFile and a cheap key
// derivation, and args besides.
func (s *Stage) Migrate(ctx context.Context, vm string, args ...string) (testhost.Result, error) {
	words := append([]string{"run", "--vm=" + vm, "--key-file", KeyFile, "--yes"}, cheap...)
	return s.VMMigrate(ctx, append(words, args...)...)
}

// VMMigrate runs vmmigrate on the host. An exit code other than 0 is in the
// Result, not an error.
func (s *Stage) VMMigrate(ctx context.Context, args ...string) (testhost.Result, error) {
	result, err := s.Run(ctx, append([]string{"vmmigrate"}, args...)...)
	var exit *testhost.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return result, err
}

// Event is one line of `vmmigrate --output json run`, as far as tests look.
type Event struct {
	Event          string  `json:"event"`
	Job            string  `json:"job"`
	Step           string  `json:"step"`
	Disk           string  `json:"disk"`
	BytesPerSecond int64   `json:"bytes_per_second"`
	Seconds        float64 `json:"seconds"`
	Clone          string  `json:"clone"`
	// Disks are those of job-done.
	Disks []struct {
		Disk   string `json:"disk"`
		Digest string `json:"digest"`
		Min    int64  `json:"min_bytes_per_second"`
		Median int64  `json:"median_bytes_per_second"`
		Max    int64  `json:"max_bytes_per_second"`
	} `json:"disks"`
}

// Events reads what vmmigrate printed with --output json.
func Events(stdout string) ([]Event, error) {
	var events []Event
	for line := range strings.Lines(stdout) {
		var event Event
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			return nil, fmt.Errorf("no event: %q: %w", line, err)
		}
		events = append(events, event)
	}
	return events, nil
}

// DiskSum returns a device's or a file's size in bytes and its SHA-256, taken
// by coreutils.
func (s *Stage) DiskSum(ctx context.Context, path string) (size int64, sum string, err error) {
	text, err := s.Shell(ctx, `
		if [ -b "$1" ]; then blockdev --getsize64 "$1"; else stat -c %s "$1"; fi
		sha256sum <"$1"`, path)
	if err != nil {
		return 0, "", err
	}
	_, err = fmt.Sscan(text, &size, &sum)
	return size, sum, err
}
