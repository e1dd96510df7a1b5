package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sh is a command that runs a POSIX shell script, the one tool that every
// machine has.
func sh(script string, args ...string) Cmd {
	return Cmd{Name: "sh", Args: append([]string{"-c", script, "sh"}, args...)}
}

func run(t *testing.T, cmd Cmd) (Result, error) {
	t.Helper()
	return Local{}.Run(t.Context(), cmd)
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	args := []string{"", " ", "-rf", "--", "mail server (alt)", "täst", `quo"te'd`, "$(reboot)", "`x`", "a\nb", "*", "~", "\\", strings.Repeat("n", 10_000)}
	got, err := run(t, sh(`for a; do printf '%s\0' "$a"; done`, args...))
	if want := strings.Join(args, "\x00") + "\x00"; err != nil || string(got.Stdout) != want {
		t.Errorf("got %q, %v", got.Stdout, err)
	}
}

func TestMessagesAreInTheCLocale(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("LANG", "de_DE.UTF-8")
	cmd := sh(`printf '%s %s %s' "$LC_ALL" "$LVM_SUPPRESS_FD_WARNINGS" "$MORE"`)
	cmd.Env = []string{"MORE=more"}
	if got, err := run(t, cmd); err != nil || string(got.Stdout) != "C 1 more" {
		t.Errorf("got %q, %v", got.Stdout, err)
	}
}

func TestBothPipesAreDrainedHoweverMuchComes(t *testing.T) {
	const much = 3 << 20
	got, err := run(t, sh(fmt.Sprintf(`head -c %d /dev/zero; head -c %d /dev/zero >&2; head -c %d /dev/zero`, much, much, much)))
	if err != nil || len(got.Stdout) != 2*much || len(got.Stderr) != much {
		t.Errorf("got %d and %d bytes, %v", len(got.Stdout), len(got.Stderr), err)
	}
}

func TestInputsArriveByteForByteEachOnItsOwnPipe(t *testing.T) {
	large := bytes.Repeat([]byte{'\n', 0, 'x', 255}, 1<<20)
	cmd := sh(`cat; echo; cat <&3; echo; cat <&4 | wc -c`)
	cmd.Stdin, cmd.Inputs = []byte("std\x00in\n"), [][]byte{[]byte("three\n"), large}
	got, err := run(t, cmd)
	if want := fmt.Sprintf("std\x00in\n\nthree\n\n%d\n", len(large)); err != nil || strings.ReplaceAll(string(got.Stdout), " ", "") != want {
		t.Errorf("got %q, %v", got.Stdout, err)
	}
}

func TestInputThatIsNotReadIsNoError(t *testing.T) {
	cmd := sh(`exit 0`)
	cmd.Stdin = bytes.Repeat([]byte("x"), 1<<20)
	cmd.Inputs = [][]byte{bytes.Repeat([]byte("y"), 1<<20)}
	if _, err := run(t, cmd); err != nil {
		t.Error(err)
	}
}

func TestNoInputIsAnEmptyOne(t *testing.T) {
	if got, err := run(t, sh(`cat | wc -c`)); err != nil || strings.TrimSpace(string(got.Stdout)) != "0" {
		t.Errorf("got %q, %v", got.Stdout, err)
	}
}

func TestAFailureCarriesWhatRanItsExitCodeAndItsWords(t *testing.T) {
	got, err := run(t, sh(`echo out; echo ' first' >&2; echo second >&2; exit 5`, "a b"))
	var failed *Error
	if !errors.As(err, &failed) || failed.ExitCode != 5 || failed.Stderr != "first\nsecond" || failed.Argv[0] != "sh" || failed.Argv[len(failed.Argv)-1] != "a b" {
		t.Fatalf("%+v", err)
	}
	if string(got.Stdout) != "out\n" {
		t.Errorf("printed %q", got.Stdout)
	}
	if want := `exit code 5: first; second`; !strings.HasSuffix(err.Error(), want) || !strings.Contains(err.Error(), "'a b'") {
		t.Error(err)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Error("the cause is not there")
	}
}

func TestAProgramThatDiesByASignalHasNoExitCode(t *testing.T) {
	_, err := run(t, sh(`kill -KILL $$`))
	var failed *Error
	if !errors.As(err, &failed) || failed.ExitCode != -1 || !strings.Contains(err.Error(), "killed") {
		t.Error(err)
	}
}

func TestASecretThatAProgramEchoesIsBlottedOutOfItsError(t *testing.T) {
	const secret, second = "correct horse\n", "battery staple"
	cmd := sh(`cat >&2; key=$(cat <&3); echo "bad key: $key" >&2; exit 1`)
	cmd.Stdin, cmd.Inputs = []byte(secret), [][]byte{[]byte(second)}
	got, err := run(t, cmd)
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), string(got.Stderr)} {
		if strings.Contains(text, "horse") || strings.Contains(text, "staple") {
			t.Errorf("it says %q", text)
		}
	}
	if !strings.Contains(err.Error(), "bad key: [redacted]") {
		t.Error(err)
	}
}

func TestAShortSecretDoesNotMakeAnErrorUnreadable(t *testing.T) {
	cmd := sh(`echo "no such device" >&2; exit 4`)
	cmd.Stdin = []byte("e")
	if _, err := run(t, cmd); !strings.Contains(err.Error(), "no such device") {
		t.Error(err)
	}
}

func TestAProgramThatIsNotInstalledIsNamedWithItsPackage(t *testing.T) {
	var missing *NotFoundError
	if _, err := run(t, Cmd{Name: "no-such-program"}); !errors.As(err, &missing) || missing.Name != "no-such-program" || missing.Package != "" {
		t.Error(err)
	}
	if _, err := run(t, Cmd{Name: "/no/such/program"}); !errors.As(err, &missing) {
		t.Error(err)
	}
	// A package is known whether or not this machine has it.
	err := error(&NotFoundError{Name: "cryptsetup", Package: "cryptsetup-bin"})
	if want := `the program "cryptsetup" is not installed (it comes with the package cryptsetup-bin)`; err.Error() != want {
		t.Error(err)
	}
}

func TestAProgramIsFoundInTheSystemFoldersWhenPATHLacksThem(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := run(t, sh(`exit 0`)); err != nil {
		t.Error(err)
	}
}

func TestNothingIsRunFromTheCurrentFolder(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "evil"), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(folder)
	for _, path := range []string{"", ".", ":/bin"} {
		t.Setenv("PATH", path)
		var missing *NotFoundError
		if _, err := run(t, Cmd{Name: "evil"}); !errors.As(err, &missing) {
			t.Errorf("PATH=%q: %v", path, err)
		}
	}
}

func TestAProgramEndsWithItsContextAndGetsToCleanUp(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	ready := mark + ".ready"
	stop := errors.New("stop it")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for {
			if _, err := os.Stat(ready); err == nil {
				cancel(stop)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	begin := time.Now()
	_, err := Local{}.Run(ctx, sh(`trap 'echo cleaned >"$1"; exit 7' TERM; : >"$2"; while :; do sleep 0.01; done`, mark, ready))
	var failed *Error
	if !errors.As(err, &failed) || failed.ExitCode != -1 || !errors.Is(err, stop) || time.Since(begin) > 30*time.Second {
		t.Errorf("after %s: %v", time.Since(begin), err)
	}
	if text, err := os.ReadFile(mark); err != nil || string(text) != "cleaned\n" {
		t.Errorf("it was not let to clean up: %q, %v", text, err)
	}
}

func TestAContextThatHasEndedRunsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mark := filepath.Join(t.TempDir(), "mark")
	_, err := Local{}.Run(ctx, sh(`: >"$1"`, mark))
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it ran")
	}
}

func TestATimeLimitIsSaidToBeOne(t *testing.T) {
	cmd := sh(`exec sleep 100`)
	cmd.Timeout = 50 * time.Millisecond
	_, err := run(t, cmd)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Error(err)
	}
}

func TestAProgramIsOutOfReachOfTheTerminalsCtrlC(t *testing.T) {
	got, err := run(t, sh(`cut -d ' ' -f 5 /proc/$$/stat`))
	if err != nil || strings.TrimSpace(string(got.Stdout)) == fmt.Sprint(syscall.Getpgrp()) {
		t.Errorf("its process group is ours, %s: %v", got.Stdout, err)
	}
}

func TestADaemonThatAProgramLeavesBehindDoesNotMakeItFail(t *testing.T) {
	if testing.Short() {
		t.Log("the wait of five seconds is left out by -short")
		return
	}
	got, err := run(t, sh(`echo started; sleep 30 & echo $!`))
	if err != nil || !strings.HasPrefix(string(got.Stdout), "started\n") {
		t.Errorf("printed %q, %v", got.Stdout, err)
	}
	var pid int
	if _, err := fmt.Sscanf(string(got.Stdout), "started\n%d", &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestAProgramThatIgnoresSIGTERMIsKilledOnceItsGraceIsOver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := Local{}.Run(ctx, Cmd{Name: "sh", Args: []string{"-c", `trap "" TERM; exec sleep 20`}, Grace: 100 * time.Millisecond})
	if took := time.Since(began); err == nil || took > grace {
		t.Errorf("%v after %s", err, took)
	}
}

func TestAFileInMemoryMayBeOpenedSeveralTimes(t *testing.T) {
	secret := []byte("correct horse\nbattery\x00staple\n")
	cmd := Cmd{Name: "sh", Args: []string{"-c", `cat /dev/fd/4; cat /dev/fd/3 /dev/fd/4; stat -L -c %a /dev/fd/4; exit 3`}, Inputs: [][]byte{[]byte("input")}, Files: [][]byte{secret}}
	result, err := Local{}.Run(t.Context(), cmd)
	if want := string(secret) + "input" + string(secret) + "400\n"; string(result.Stdout) != want {
		t.Errorf("%q", result.Stdout)
	}
	var failed *Error
	if !errors.As(err, &failed) || failed.ExitCode != 3 {
		t.Errorf("%v", err)
	}
}
