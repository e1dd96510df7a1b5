package luks

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// script is a runner that answers as cryptsetup 2.6.1 and dmsetup 1.02.185 did
// when they were tried.
type script struct {
	t       *testing.T
	answers []answer
	ran     []command.Cmd
}

// answer is what a command whose line begins with cmd prints: text, a file of
// testdata, or an exit code and words. A once answer is given one time.
type answer struct {
	cmd, text, file string
	code            int
	stderr          string
	once            bool
}

func (s *script) Run(_ context.Context, cmd command.Cmd) (command.Result, error) {
	s.t.Helper()
	s.ran = append(s.ran, cmd)
	line := cmd.String()
	for i, a := range s.answers {
		if !strings.HasPrefix(line, a.cmd) {
			continue
		}
		if a.once {
			s.answers = append(s.answers[:i:i], s.answers[i+1:]...)
		}
		if a.code != 0 {
			return command.Result{}, &command.Error{Argv: append([]string{cmd.Name}, cmd.Args...), ExitCode: a.code, Stderr: a.stderr}
		}
		if a.file == "" {
			return command.Result{Stdout: []byte(a.text)}, nil
		}
		return command.Result{Stdout: []byte(read(s.t, a.file))}, nil
	}
	s.t.Fatalf("not in the script: %s", line)
	return command.Result{}, nil
}

func read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// changes are the commands that ran, those that only look left out.
func (s *script) changes() []string {
	var lines []string
	for _, cmd := range s.ran {
		if !cmd.ReadOnly {
			lines = append(lines, cmd.String())
		}
	}
	return lines
}

// scripted is a client on a host with no devices, on which time stands still.
func scripted(t *testing.T, answers ...answer) (*Client, *script) {
	t.Helper()
	s := &script{t: t, answers: answers}
	c := New(s)
	c.sys, c.proc = t.TempDir(), t.TempDir()
	c.size = func(string) (int64, error) { return 1 << 30, nil }
	c.number = func(string) (string, bool) { return "", false }
	c.wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return c, s
}

// file writes a file into a made-up sysfs or procfs.
func file(t *testing.T, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// link makes a symbolic link in a made-up sysfs or procfs.
func link(t *testing.T, to string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func aKey(t *testing.T, text string) Key {
	t.Helper()
	key, err := NewKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Wipe)
	return key
}
