package lvm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// script is a runner that answers as lvm2 2.03.16 did when it was tried.
type script struct {
	t       *testing.T
	answers []answer
	ran     []command.Cmd
}

// answer is what a command whose line begins with cmd prints: a file of
// testdata, or exit code 5 and words.
type answer struct{ cmd, file, stderr string }

func (s *script) Run(_ context.Context, cmd command.Cmd) (command.Result, error) {
	s.t.Helper()
	s.ran = append(s.ran, cmd)
	line := cmd.String()
	for _, a := range s.answers {
		if !strings.HasPrefix(line, a.cmd) {
			continue
		}
		if a.stderr != "" {
			return command.Result{}, &command.Error{Argv: append([]string{cmd.Name}, cmd.Args...), ExitCode: failed, Stderr: a.stderr}
		}
		if a.file == "" {
			return command.Result{}, nil
		}
		text, err := os.ReadFile(filepath.Join("testdata", a.file))
		if err != nil {
			s.t.Fatal(err)
		}
		return command.Result{Stdout: text}, nil
	}
	s.t.Fatalf("not in the script: %s", line)
	return command.Result{}, nil
}

// lines are the commands that ran, those that only look left out.
func (s *script) changes() []string {
	var lines []string
	for _, cmd := range s.ran {
		if !cmd.ReadOnly {
			lines = append(lines, cmd.String())
		}
	}
	return lines
}

func scripted(t *testing.T, answers ...answer) (*Client, *script) {
	s := &script{t: t, answers: answers}
	return New(s), s
}
