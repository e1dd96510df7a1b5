package command

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Cmd is one program to run.
type Cmd struct {
	// Name is the program, looked up in PATH and then in the system
	// folders (/usr/sbin, /sbin, ...), which an administrator's PATH may lack.
	Name string
	// Args are its arguments, without the name. They must hold no secret.
	Args []string
	// Stdin is the program's whole standard input; nil is an empty one, which may
	// be a file (see Hold).
	// It may hold a secret.
	Stdin []byte
	// Inputs are further inputs, which the program reads from the pipes
	// /dev/fd/3, /dev/fd/4 and so on. They may hold secrets.
	Inputs [][]byte
	// Files are inputs that it may open several times, after Inputs in
	// /dev/fd: files in memory alone. They may hold secrets.
	Files [][]byte
	// Terminal gives it this process's terminal, as for a token that asks to
	// be touched: it runs in the foreground and finds Stdin there, and what it
	// says is shown as well.
	Terminal bool
	// Env is added to the inherited environment, as NAME=value.
	Env []string
	// ReadOnly marks a command that changes nothing; see the ReadOnly runner.
	ReadOnly bool
	// Timeout bounds the run; zero means the context alone does.
	Timeout time.Duration
	// Grace is how long it may take to end on SIGTERM, once its time is over
	// or its context has ended, before it is killed; zero is five seconds.
	Grace time.Duration
}

// String is the command line as a person would type it in a shell, quoted
// where it needs to be. It is for showing, never for running.
func (c Cmd) String() string { return Quote(append([]string{c.Name}, c.Args...)) }

// Result is what a program that exited 0 printed.
type Result struct {
	Stdout []byte
	Stderr []byte
}

// Runner runs programs. Run returns a *NotFoundError when the program is not
// installed, a *RefusedError when the runner forbids it, and an *Error when
// it could not be started, was ended by the context or exited non-zero.
type Runner interface {
	Run(ctx context.Context, cmd Cmd) (Result, error)
}

// Error says that a program failed.
type Error struct {
	// Argv is the program and its arguments.
	Argv []string
	// ExitCode is the program's own, or -1 when it was not started or was
	// killed by a signal.
	ExitCode int
	// Stderr is what it said, trimmed and with secrets blotted out.
	Stderr string
	// Err is the cause: an *exec.ExitError, or the context's error.
	Err error
}

func (e *Error) Error() string {
	what := fmt.Sprintf("exit code %d", e.ExitCode)
	if e.ExitCode < 0 {
		what = e.Err.Error()
	}
	if e.Stderr == "" {
		return fmt.Sprintf("%s: %s", Quote(e.Argv), what)
	}
	return fmt.Sprintf("%s: %s: %s", Quote(e.Argv), what, strings.ReplaceAll(e.Stderr, "\n", "; "))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// NotFoundError says that a program is not installed.
type NotFoundError struct {
	// Name is the program.
	Name string
	// Package is the Debian package that has it, or "" if not known.
	Package string
}

func (e *NotFoundError) Error() string {
	if e.Package == "" {
		return fmt.Sprintf("the program %q is not installed", e.Name)
	}
	return fmt.Sprintf("the program %q is not installed (it comes with the package %s)", e.Name, e.Package)
}

// RefusedError says that a ReadOnly runner was asked to change something.
type RefusedError struct {
	// Argv is the command that was refused.
	Argv []string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s would change something, and this command changes nothing", Quote(e.Argv))
}

// Quote joins argv into one line that a POSIX shell would split into the same
// words again (POSIX.1-2017, Shell Command Language, 2.2.2 single-quotes).
func Quote(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = quoteWord(word)
	}
	return strings.Join(words, " ")
}

func quoteWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
