package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/migrate"
)

const secret = "correct horse battery staple"

// ring is a keyring whose keys come from a passphrase command, if any.
func ring(t *testing.T, argv ...string) *keyring {
	t.Helper()
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nothing.Close() })
	s := &session{streams: streams{in: nothing, out: io.Discard, err: io.Discard}, machine: testMachine()}
	s.keyTime = time.Minute // a busy machine is slow, and no test waits for it
	return &keyring{session: s, argv: argv, prompts: 2, drawn: make(map[string]luks.Key)}
}

func wantKey(t *testing.T, key luks.Key, err error, want string) {
	t.Helper()
	if err != nil || string(key.Bytes()) != want {
		t.Fatalf("the key is not the one that was given: %v", err)
	}
}

func TestAPassphraseCommandsOutputIsTheKeyByteForByte(t *testing.T) {
	k := ring(t, "printf", "%s", secret+"\n")
	key, err := k.Key(t.Context(), "imap", true)
	wantKey(t, key, err, secret+"\n")
}

func TestAPassphraseCommandFindsTheVMsNameInItsEnvironment(t *testing.T) {
	k := ring(t, "sh", "-c", `printf %s "$VMMIGRATE_VM"`)
	for _, vm := range []string{"imap", "mail server (alt)", "-rf", "täst"} {
		key, err := k.Key(t.Context(), vm, true)
		wantKey(t, key, err, vm)
	}
}

func TestAPassphraseCommandThatFailsTellsNothingOfTheKey(t *testing.T) {
	for name, argv := range map[string][]string{
		"it fails after it printed the key":   {"sh", "-c", "echo '" + secret + "'; exit 3"},
		"it repeats the key in its complaint": {"sh", "-c", "echo '" + secret + "'; echo 'bad: " + secret + "' >&2; exit 3"},
		"the key is among its arguments":      {"sh", "-c", "exit 3", secret},
		"it can't be run":                     {"/no/such/program", secret},
		"it prints nothing":                   {"true", secret},
		"it hangs":                            {"sh", "-c", "exec sleep 60", secret},
	} {
		k := ring(t, argv...)
		if name == "it hangs" {
			k.session.keyTime = 300 * time.Millisecond
		}
		_, err := k.Key(t.Context(), "imap", true)
		var source *keySourceError
		if !errors.As(err, &source) {
			t.Errorf("%s: %v is no *keySourceError", name, err)
			continue
		}
		var said strings.Builder
		explain(before(err)).write(&said)
		explain(stopped(migrate.Format, &migrate.KeyError{Err: err})).write(&said)
		if strings.Contains(said.String(), secret) {
			t.Errorf("%s: the key is in %q", name, said.String())
		}
	}
}

func TestAPassphraseCommandThatHangsIsWaitedForSoLong(t *testing.T) {
	begin := time.Now()
	k := ring(t, "sleep", "60")
	k.session.keyTime = 300 * time.Millisecond
	_, err := k.Key(t.Context(), "imap", true)
	if err == nil || !strings.HasSuffix(err.Error(), "it did not end within 300ms") {
		t.Errorf("unexpected: %v", err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestCtrlCEndsAPassphraseCommand(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	k := ring(t, "sleep", "60")
	time.AfterFunc(100*time.Millisecond, func() { cancel(&migrate.InterruptedError{Why: "SIGINT"}) })
	_, err := k.Key(ctx, "imap", true)
	var stopped *migrate.InterruptedError
	if !errors.As(err, &stopped) {
		t.Fatalf("%v does not tell of the interruption", err)
	}
	if a := explain(before(err)); a.exit != exitResumable {
		t.Errorf("exit code %d, not 4: %s", a.exit, a.what)
	}
}

func TestKeysAreDrawnOnceAndBeforehand(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	k := ring(t, "sh", "-c", `echo x >>"$1"; printf %s "$VMMIGRATE_VM"`, "sh", count)
	if err := k.ready(t.Context(), "imap"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		key, err := k.Key(t.Context(), "imap", true)
		wantKey(t, key, err, "imap")
		key.Wipe() // as a job does at its end
	}
	calls, err := os.ReadFile(count)
	if err != nil || len(calls) != 2 {
		t.Errorf("the command ran %d times: %v", len(calls)/2, err)
	}
	k.wipe()
	if key, err := k.Key(t.Context(), "imap", true); err == nil {
		t.Errorf("a wiped keyring gave a key of %d bytes", key.Len())
	}
}

func TestWithoutATerminalNobodyIsAskedAndNothingWaits(t *testing.T) {
	err := ring(t).ready(t.Context(), "imap")
	if a := explain(err); a.exit != exitUsage || !strings.Contains(a.what, "give --key-file, --passphrase-fd or --passphrase-command") {
		t.Errorf("exit code %d: %s", a.exit, a.what)
	}
}

func TestASystemdCredentialIsTheKeyOfTheVMThatItNames(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := os.WriteFile(filepath.Join(dir, "vmmigrate.mail server (alt)"), []byte(secret), 0o400); err != nil {
		t.Fatal(err)
	}
	k := ring(t)
	if err := k.ready(t.Context(), "mail server (alt)"); err != nil {
		t.Fatal(err)
	}
	key, err := k.Key(t.Context(), "mail server (alt)", true)
	wantKey(t, key, err, secret)
	for _, other := range []string{"imap", "../vmmigrate.mail server (alt)"} {
		if err := k.ready(t.Context(), other); err == nil {
			t.Errorf("%s got a key from nowhere", other)
		}
	}
}

func TestAKeyToFormatWithIsTypedTwiceOnTheTerminal(t *testing.T) {
	for name, test := range map[string]struct {
		fresh bool
		typed string
		want  string
	}{
		"a volume tells a wrong one": {false, "typo\n", "typo"},
		"nothing tells a wrong one":  {true, "typo\nright\nright\nright\n", "right"},
	} {
		k := ring(t)
		k.prompts = 1
		var key luks.Key
		var err error
		typing(t, test.typed, func(tty *os.File) {
			k.session.in = tty
			key, err = k.Key(t.Context(), "imap", test.fresh)
		})
		if err != nil || string(key.Bytes()) != test.want {
			t.Errorf("%s: the key is %q: %v", name, key.Bytes(), err)
		}
	}
}
