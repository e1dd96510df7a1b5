package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

func newKey(t *testing.T, text string) luks.Key {
	t.Helper()
	key, err := luks.NewKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestARecoveryKeyIsShownOnATerminalAndNowhereElse(t *testing.T) {
	const text = "cbdefghi-jklnrtuv"
	written := onTerminal(t, 80, func(tty *os.File) {
		s := &session{streams: streams{out: tty, err: tty}}
		r := &recovery{session: s, reporter: s.reporter()}
		if err := r.Deliver(t.Context(), "im\x1bap", newKey(t, text)); err != nil {
			t.Error(err)
		}
	})
	if lines, _ := painted(t, written); strings.Count(show(lines), text) != 1 {
		t.Errorf("%q", written)
	}
	for what, s := range map[string]*session{
		"a pipe": {streams: streams{out: io.Discard, err: io.Discard}},
		"JSON":   {streams: streams{out: os.Stdout, err: io.Discard}, json: true},
	} {
		r := &recovery{session: s, reporter: s.reporter()}
		if err := r.Deliver(t.Context(), "imap", newKey(t, text)); err == nil || strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestARecoveryKeysFileIsForItsOwnerAloneAndNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	r := &recovery{session: &session{streams: streams{out: io.Discard, err: io.Discard}, json: true}, path: filepath.Join(dir, "key")}
	if err := r.Deliver(t.Context(), "imap", newKey(t, "the key")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(r.path)
	content, err2 := os.ReadFile(r.path)
	if err != nil || err2 != nil || info.Mode() != 0o600 || string(content) != "the key" {
		t.Errorf("%v %q, %v, %v", info.Mode(), content, err, err2)
	}
	if err := r.Deliver(t.Context(), "imap", newKey(t, "another")); err == nil || strings.Contains(err.Error(), "another") {
		t.Errorf("a second time: %v", err)
	}
	if content, _ := os.ReadFile(r.path); string(content) != "the key" {
		t.Errorf("it was replaced by %q", content)
	}

	r.path = dir
	for _, vm := range []string{"imap", "täst", "a/b", ".."} {
		if err := r.Deliver(t.Context(), vm, newKey(t, "of "+vm)); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("%v, %v", entries, err)
	}
	r.path = "/dev/full"
	if err := r.Deliver(t.Context(), "imap", newKey(t, "lost")); err == nil {
		t.Error("a file that is there was taken")
	}
}
