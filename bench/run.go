package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// measurement is what one run of one contender took.
type measurement struct {
	wall, processor time.Duration
	// memory is the most bytes that were resident at once.
	memory int64
}

// run starts argv and measures it. It goes past internal/command because that
// does not tell a process's use of the processor and of memory, and because a
// measured process must be started as bare as can be.
func run(ctx context.Context, argv []string) (measurement, error) {
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	begin := time.Now()
	err := c.Run()
	wall := time.Since(begin)
	if err != nil {
		return measurement{}, fmt.Errorf("%s: %w: %s", command.Quote(argv), err, strings.TrimSpace(said.String()))
	}
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return measurement{}, fmt.Errorf("%s: the system tells nothing of its use", argv[0])
	}
	return measurement{
		wall:      wall,
		processor: c.ProcessState.UserTime() + c.ProcessState.SystemTime(),
		memory:    usage.Maxrss << 10, // in KiB, getrusage(2)
	}, nil
}

// self is this program, for running our side in a process of its own.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Clean(path), nil
}
