package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/vmmigrate/vmmigrate/luks"
)

// terminalIn returns standard input if a person is at it.
func (s *session) terminalIn() (*os.File, bool) {
	return s.in, s.in != nil && term.IsTerminal(int(s.in.Fd()))
}

// promptTries is how often a new passphrase may be mistyped.
const promptTries = 3

// prompt asks for a VM's passphrase on the terminal: times is 2 for a new one,
// which has to be typed the same twice.
func (s *session) prompt(ctx context.Context, vm string, times int) (luks.Key, error) {
	in, ok := s.terminalIn()
	if !ok {
		return luks.Key{}, &usageError{reason: "there is no terminal to ask for the passphrase on; give --key-file, --passphrase-fd or --passphrase-command"}
	}
	for range promptTries {
		first, err := s.ask(ctx, in, fmt.Sprintf("Passphrase for the disks of %s: ", vm))
		if err != nil {
			return luks.Key{}, err
		}
		if len(first) == 0 {
			fmt.Fprintln(s.err, "An empty passphrase protects nothing. Once more.")
			continue
		}
		if times > 1 {
			second, err := s.ask(ctx, in, "The same again: ")
			if err != nil {
				clear(first)
				return luks.Key{}, err
			}
			same := bytes.Equal(first, second)
			clear(second)
			if !same {
				clear(first)
				fmt.Fprintln(s.err, "The two differ. Once more.")
				continue
			}
		}
		return luks.NewKey(first)
	}
	return luks.Key{}, &keySourceError{"the terminal", errors.New("no passphrase was given")}
}

// ask reads one line without echo. A signal ends it, with the echo restored.
func (s *session) ask(ctx context.Context, in *os.File, question string) ([]byte, error) {
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("ask on the terminal: %w", err)
	}
	fmt.Fprint(s.err, question)
	type answer struct {
		line []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answered <- answer{line, err}
	}()
	select {
	case a := <-answered:
		fmt.Fprintln(s.err)
		if a.err != nil {
			return nil, &keySourceError{"the terminal", a.err}
		}
		return a.line, nil
	case <-ctx.Done():
		_ = term.Restore(fd, before) // the process is about to end anyway
		fmt.Fprintln(s.err)
		return nil, context.Cause(ctx)
	}
}

// canConfirm says whether confirm could ask, or would not have to.
func (s *session) canConfirm(c *cli.Context) error {
	if _, ok := s.terminalIn(); ok || c.Bool("yes") {
		return nil
	}
	return &usageError{reason: "this asks before it goes on, and there is no terminal to ask on; give --yes", command: c.Command.Name}
}

// confirm asks a yes-or-no question. Without a terminal, and without --yes,
// the answer is a usage error: it never waits for nobody.
func (s *session) confirm(ctx context.Context, c *cli.Context, question string) error {
	if c.Bool("yes") {
		return nil
	}
	if err := s.canConfirm(c); err != nil {
		return err
	}
	line, err := s.answer(ctx, question+" [y/N] ")
	if err != nil {
		return err
	}
	if line = strings.ToLower(strings.TrimSpace(line)); line != "y" && line != "yes" {
		return errNotConfirmed
	}
	return nil
}

// answer is the line that a person types after a question, without its end, or
// the cause of the context's end. Whoever calls it has seen that there is a
// terminal.
func (s *session) answer(ctx context.Context, question string) (string, error) {
	in, _ := s.terminalIn()
	fmt.Fprint(s.err, question)
	answered := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // no answer is a no
		answered <- strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	}()
	select {
	case line := <-answered:
		return line, nil
	case <-ctx.Done():
		fmt.Fprintln(s.err)
		return "", context.Cause(ctx)
	}
}
