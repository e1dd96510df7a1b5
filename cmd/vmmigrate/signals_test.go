package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// started is a program of TestMain's under way.
type started struct {
	*exec.Cmd
	said   *bufio.Reader
	stderr *strings.Builder
}

// start runs a program that has to end within a few seconds.
func start(t *testing.T, name string, args ...string) started {
	t.Helper()
	s := started{Cmd: exec.Command(name, args...), stderr: new(strings.Builder)}
	s.Stderr = s.stderr
	pipe, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.said = bufio.NewReader(pipe)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = s.Process.Kill() })
	t.Cleanup(func() { timer.Stop(); _ = s.Process.Kill() })
	return s
}

func (s started) line(t *testing.T) string {
	t.Helper()
	line, err := s.said.ReadString('\n')
	if err != nil {
		t.Fatalf("%s said no more: %v: %s", s.Path, err, s.stderr)
	}
	return strings.TrimSpace(line)
}

func (s started) send(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := s.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// status waits for the end: the exit code, or the signal that ended it.
func (s started) status(t *testing.T) syscall.WaitStatus {
	t.Helper()
	err := s.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return s.ProcessState.Sys().(syscall.WaitStatus)
}

func TestTheFirstSignalIsTakenNoteOfAndTheSecondEndsAtOnce(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		s := start(t, "stubborn")
		s.line(t)
		s.send(t, signal)
		if got, want := s.line(t), "interrupted: "+unix.SignalName(signal); got != want {
			t.Errorf("the first %v gave %q, not %q", signal, got, want)
		}
		s.send(t, signal)
		if status := s.status(t); !status.Signaled() || status.Signal() != signal {
			t.Errorf("the second %v did not end it: %v", signal, status)
		}
	}
}

func TestALostTerminalStopsOnceAndDoesNotCutTheCheckpointShort(t *testing.T) {
	// Who runs the tests under nohup has them ignore SIGHUP, and all that they
	// start. A signal that is caught is at its default there (execve(2)).
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	s := start(t, "stubborn")
	s.line(t)
	s.send(t, syscall.SIGHUP)
	if got := s.line(t); got != "interrupted: SIGHUP" {
		t.Errorf("SIGHUP gave %q", got)
	}
	s.send(t, syscall.SIGHUP)
	s.send(t, syscall.SIGTERM)
	if status := s.status(t); status.Signal() != syscall.SIGTERM {
		t.Errorf("a second SIGHUP ended it: %v", status)
	}
}

func TestUnderNohupALostTerminalStopsNothing(t *testing.T) {
	s := start(t, "sh", "-c", "trap '' HUP; exec stubborn")
	s.line(t)
	s.send(t, syscall.SIGHUP)
	s.send(t, syscall.SIGINT)
	if got := s.line(t); got != "interrupted: SIGINT" {
		t.Errorf("it was stopped by what should be ignored: %q", got)
	}
}

// A pipe that nobody ever writes to is what a wait looks like, of a key file or
// of a definition.
func TestCtrlCEndsAWaitWithExitCode4(t *testing.T) {
	for _, args := range [][]string{
		{"run", "--vm", "imap", "--key-file"},
		{"xml"},
	} {
		pipe := filepath.Join(t.TempDir(), "pipe")
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, "vmmigrate", append(args, pipe)...)
		// This waits until vmmigrate has opened its end.
		writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.send(t, syscall.SIGINT)
		if status := s.status(t); status.ExitStatus() != exitResumable {
			t.Errorf("%v: %v, not exit code 4", args, status)
		}
		const want = "vmmigrate: interrupted: SIGINT\nState: nothing has been changed\n"
		if got := s.stderr.String(); got != want {
			t.Errorf("%v said %q, not %q", args, got, want)
		}
		_ = writer.Close() // nobody reads it any more
	}
}

func TestAReaderThatGoesAwayDoesNotKill(t *testing.T) {
	for _, args := range [][]string{{"help", "run"}, {"jobs", "--state-dir", t.TempDir()}, {"--version"}} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		c := exec.Command("vmmigrate", args...)
		c.Stdout, c.Stderr = writer, io.Discard
		_ = c.Run() // its exit code is looked at below
		if status := c.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
			t.Errorf("%v was ended by %v", args, status.Signal())
		}
		_ = writer.Close()
	}
}
