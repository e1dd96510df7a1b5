//go:build e2e

package pages_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/pages"
	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
)

const (
	docs = "../../docs/"
	// passphrase is typed wherever one is asked for, and is what the key file
	// of the stage holds.
	passphrase = "correct horse battery staple"
	// actTime is for one command. Booting a guest takes a minute on a busy
	// machine.
	actTime = 5 * time.Minute
	// atOnce is how many hosts run at a time: one a core of a small machine.
	atOnce = 2
)

// TestMain fails, rather than skips, on a machine that can't run a test host.
func TestMain(m *testing.M) {
	if err := testhost.CheckMachine(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestPages(t *testing.T) {
	files, err := filepath.Glob(docs + "how-to/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no how-to pages: %v", err)
	}
	if _, err := os.Stat(docs + "tutorial.md"); err == nil {
		files = append(files, docs+"tutorial.md")
	}
	places := make(chan struct{}, atOnce)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".md"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			acts, err := pages.Read(string(text))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			places <- struct{}{}
			defer func() { <-places }()
			play(t, file, acts)
		})
	}
}

// play does what a page says, up to the first thing that goes otherwise.
func play(t *testing.T, file string, acts []pages.Act) {
	options := scenario.Options{DiskSize: 2 << 30, Log: t.Output()}
	for _, act := range acts {
		if act.Script == "reboot" {
			options.Dir = t.TempDir()
		}
		options.Systemd = options.Systemd || strings.HasPrefix(act.Script, "systemctl")
	}
	stage, err := arrive(t.Context(), options, scenario.Set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the host's console:\n" + stage.ConsoleTail())
		}
		stage.PowerCut()
	})
	for _, act := range acts {
		if act.Script != "reboot" {
			err = do(t, stage, act)
		} else if err = stage.Stop(); err == nil {
			var back *scenario.Stage
			if back, err = arrive(t.Context(), options, scenario.Return); err == nil {
				stage = back
			}
		}
		if err != nil {
			t.Fatalf("%s:%d: %v", file, act.Line, err)
		}
	}
}

// quickKeys stands in for cryptsetup where a key slot is made, and makes one
// that takes no time to open: seconds for each are cryptsetup's to be tested.
const quickKeys = `#!/bin/sh
case "$1 $*" in
*--pbkdf* | *--iter-time*) ;;
luksFormat* | luksAddKey*) verb=$1; shift; set -- "$verb" --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$@" ;;
esac
exec /usr/sbin/cryptsetup "$@"
`

// arrive sets or returns to a stage whose key file holds what is typed.
func arrive(ctx context.Context, options scenario.Options, boot func(context.Context, scenario.Options) (*scenario.Stage, error)) (*scenario.Stage, error) {
	stage, err := boot(ctx, options)
	if err == nil {
		err = stage.WriteFile(ctx, scenario.KeyFile, []byte(passphrase), 0o600)
	}
	if err == nil {
		err = stage.WriteFile(ctx, "/usr/local/sbin/cryptsetup", []byte(quickKeys), 0o755)
	}
	return stage, err
}

// do does one thing that a page says, as root in root's home at a terminal.
func do(t *testing.T, stage *scenario.Stage, act pages.Act) error {
	ctx, cancel := context.WithTimeoutCause(t.Context(), actTime, fmt.Errorf("not done after %s", actTime))
	defer cancel()
	if act.Setup {
		_, err := stage.Shell(ctx, "cd /root\n"+act.Script)
		return err
	}
	person := newPerson(act.Typed)
	defer person.leave()
	c := stage.Command("bash", "-c", "cd /root\n"+act.Script)
	// A dumb terminal has no bar on it that redraws itself.
	c.Env = []string{"TERM=dumb"}
	c.Stdin, c.Stdout, c.Pty = person.keyboard, person, &wire.Size{Rows: 40, Cols: 120}
	result, err := c.Run(ctx)
	printed := person.screen()
	t.Logf("line %d:\n# %s\n%s", act.Line, act.Script, printed)
	var exit *testhost.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return fmt.Errorf("%s: %w; on the terminal:\n%s", act.Script, err, printed)
	case result.ExitCode != act.ExitCode:
		return fmt.Errorf("%s: exit code %d, not %d; on the terminal:\n%s", act.Script, result.ExitCode, act.ExitCode, printed)
	}
	if missing := pages.Missing(act.Shown, printed); missing != "" {
		return fmt.Errorf("%s: the page shows %q there, and on the terminal is:\n%s", act.Script, missing, printed)
	}
	return nil
}

// prompted is the end of a screen on which somebody is asked for something.
var prompted = regexp.MustCompile(`(?i)(passphrase[^\n]*|the same again|password): $|\[y/N\] $`)

// person reads the screen and types at every prompt.
type person struct {
	keyboard *io.PipeReader
	hands    *io.PipeWriter

	mu    sync.Mutex
	shown bytes.Buffer
	typed []string
}

func newPerson(typed []string) *person {
	p := &person{typed: typed}
	p.keyboard, p.hands = io.Pipe()
	return p
}

// Write shows the person what is printed.
func (p *person) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown.Write(data)
	if prompt := prompted.FindString(p.shown.String()); prompt != "" {
		answer := passphrase
		if len(p.typed) > 0 {
			answer, p.typed = p.typed[0], p.typed[1:]
		} else if strings.HasPrefix(prompt, "[") {
			answer = "y"
		}
		go func() {
			// The echo is switched off only after the prompt is printed.
			time.Sleep(500 * time.Millisecond)
			_, _ = p.hands.Write([]byte(answer + "\n")) // to a keyboard that is gone when the program is
		}()
	}
	return len(data), nil
}

func (p *person) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.String()
}

// leave ends what still waits at the keyboard.
func (p *person) leave() { p.keyboard.Close() }
