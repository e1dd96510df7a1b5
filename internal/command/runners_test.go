package command

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// recorder is a Runner that remembers and does nothing.
type recorder struct {
	ran []Cmd
	err error
}

func (r *recorder) Run(_ context.Context, cmd Cmd) (Result, error) {
	r.ran = append(r.ran, cmd)
	return Result{Stdout: []byte("out")}, r.err
}

func TestAReadOnlyRunnerPassesOnWhatOnlyLooksAndNothingElse(t *testing.T) {
	inner := &recorder{}
	runner := ReadOnly{Runner: inner}
	if got, err := runner.Run(t.Context(), Cmd{Name: "lvs", ReadOnly: true}); err != nil || string(got.Stdout) != "out" {
		t.Errorf("%q, %v", got.Stdout, err)
	}
	var refused *RefusedError
	if _, err := runner.Run(t.Context(), Cmd{Name: "lvremove", Args: []string{"--yes", "a b"}}); !errors.As(err, &refused) || len(refused.Argv) != 3 || !strings.Contains(err.Error(), "lvremove --yes 'a b'") {
		t.Error(err)
	}
	if len(inner.ran) != 1 || inner.ran[0].Name != "lvs" {
		t.Errorf("ran %v", inner.ran)
	}
}

func TestALogHasEveryCommandAndNoInput(t *testing.T) {
	var out bytes.Buffer
	inner := &recorder{err: errors.New("broken")}
	runner := Log{Runner: inner, Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	got, err := runner.Run(t.Context(), Cmd{Name: "cryptsetup", Args: []string{"open", "--", "/dev/vg0/a b"}, Stdin: []byte("correct horse"), Inputs: [][]byte{[]byte("battery staple")}})
	if !errors.Is(err, inner.err) || string(got.Stdout) != "out" {
		t.Errorf("%q, %v", got.Stdout, err)
	}
	for _, want := range []string{"cryptsetup open -- '/dev/vg0/a b'", "seconds=", "error=broken", "level=DEBUG"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
	if strings.Contains(out.String(), "horse") || strings.Contains(out.String(), "staple") {
		t.Errorf("logged %s", &out)
	}
}

func TestACommandIsShownAsAPersonWouldTypeIt(t *testing.T) {
	for want, argv := range map[string][]string{
		"lvs --reportformat json -o vg_name,lv_name -- vg0/a": {"lvs", "--reportformat", "json", "-o", "vg_name,lv_name", "--", "vg0/a"},
		"rm -- -rf '' 'a b' 'it'\\''s' '$x' 'täst'":           {"rm", "--", "-rf", "", "a b", "it's", "$x", "täst"},
		"": nil,
	} {
		if got := Quote(argv); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAShellReadsAQuotedLineAsTheSameWords(t *testing.T) {
	word := rapid.OneOf(
		rapid.StringOf(rapid.RuneFrom([]rune("ab \t\n'\"\\$`*?[]{}()<>|&;#~!=%^+-_./:@,äß木"))),
		rapid.SampledFrom([]string{"", "-", "--", "~", "a=b", "#", "if", "!", "\\", "'", "''"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(word, 1, 6).Draw(t, "words")
		out, err := exec.Command("sh", "-c", "printf '%s\\0' "+Quote(words)).Output()
		if want := strings.Join(words, "\x00") + "\x00"; err != nil || string(out) != want {
			t.Errorf("%s is read as %q, %v", Quote(words), out, err)
		}
	})
}
