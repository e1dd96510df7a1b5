package command

import (
	"context"
	"log/slog"
	"time"
)

// ReadOnly passes on only commands that are marked as changing nothing, and
// refuses every other with a *RefusedError. A command that promises to change
// nothing holds one, so the promise does not rest on its code alone.
type ReadOnly struct {
	Runner Runner
}

var _ Runner = ReadOnly{}

// Run implements Runner.
func (r ReadOnly) Run(ctx context.Context, cmd Cmd) (Result, error) {
	if !cmd.ReadOnly {
		return Result{}, &RefusedError{Argv: append([]string{cmd.Name}, cmd.Args...)}
	}
	return r.Runner.Run(ctx, cmd)
}

// Log writes a debug record of every command, with its time and outcome. It
// never sees an input: Stdin and Inputs may be secret.
type Log struct {
	Runner Runner
	Logger *slog.Logger
}

var _ Runner = Log{}

// Run implements Runner.
func (l Log) Run(ctx context.Context, cmd Cmd) (Result, error) {
	begin := time.Now()
	result, err := l.Runner.Run(ctx, cmd)
	l.Logger.DebugContext(ctx, "ran", "command", cmd.String(), "seconds", time.Since(begin).Seconds(), "error", err)
	return result, err
}
