// Command vmmigrate moves libvirt/KVM virtual machines from plain disks onto
// LUKS-encrypted LVM volumes, on the host that runs them.
//
// Each command is in a file of its own. explain.go turns every error into what
// the user is told: what failed, in what state the disks are, the next command,
// and the exit code.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// version is set at build time by -ldflags "-X main.version=…".
var version = "dev"

func main() { os.Exit(mainCode(thisMachine())) }

func mainCode(here machine) int {
	// Without this the first event for a reader that went away, as in
	// `run --output json | head -1`, would end the process in the middle of a
	// copy (os/signal, "SIGPIPE"); with it the write fails and the copy goes on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := interruptible(context.Background())
	defer stop()
	return run(ctx, os.Args, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, here)
}

// signalName is "SIGINT" and not "interrupt".
func signalName(got os.Signal) string {
	if number, ok := got.(syscall.Signal); ok {
		return unix.SignalName(number)
	}
	return got.String()
}

// interruptible returns a context that the first SIGINT, SIGTERM or SIGHUP
// ends, with a *migrate.InterruptedError as its cause. From then on the signals
// do what they do by default: a second one ends the process at once, which is
// as safe as kill -9. A signal that was ignored when the process began, as
// SIGHUP is under nohup, stays ignored.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		select {
		case got := <-signals:
			signal.Reset(syscall.SIGINT, syscall.SIGTERM)
			// A lost terminal sends its signal once for the shell and once
			// for us; the second must not cut the checkpoint short.
			signal.Ignore(syscall.SIGHUP)
			cancel(&migrate.InterruptedError{Why: signalName(got)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(context.Canceled)
	}
}
