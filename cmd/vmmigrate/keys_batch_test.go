package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/planfile"
)

// planned is a keyring that follows a plan file.
func planned(t *testing.T, keys planfile.Keys) *keyring {
	t.Helper()
	k := ring(t)
	k.follow(&planfile.File{Keys: keys})
	return k
}

func keyFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAPlansKeysAreTakenFromWhereItSays(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := os.WriteFile(filepath.Join(dir, "luks"), []byte("credential\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := planned(t, planfile.Keys{
		Default: &planfile.KeySource{Command: []string{"sh", "-c", `printf "of %s" "$VMMIGRATE_VM"`}},
		VMs:     map[string]planfile.KeySource{"imap": {File: keyFile(t, "file\n")}, "web": {Credential: "luks"}},
	})
	for vm, want := range map[string]string{"imap": "file\n", "web": "credential\n", "other": "of other"} {
		if err := k.ready(t.Context(), vm); err != nil {
			t.Fatalf("%s: %v", vm, err)
		}
		key, err := k.Key(t.Context(), vm, true)
		wantKey(t, key, err, want)
	}
}

func TestAFlagOverridesThePlansKeys(t *testing.T) {
	k := ring(t, "printf", "flag")
	k.flagged = true
	k.follow(&planfile.File{Keys: planfile.Keys{Default: &planfile.KeySource{File: "/nowhere"}}})
	key, err := k.Key(t.Context(), "imap", true)
	wantKey(t, key, err, "flag")
}

func TestAPlansKeyThatCannotBeHadIsRefusedWithItsPlaceAndNothingOfIt(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	for what, source := range map[string]planfile.KeySource{
		"no such key file /nowhere": {File: "/nowhere"},
		"a folder /":                {File: "/"},
		"no credentials luks":       {Credential: "luks"},
		"it fails sh":               {Command: []string{"sh", "-c", "echo " + secret + "; exit 3"}},
		"it hangs sleep":            {Command: []string{"sleep", "60"}},
		"no such program /nowhere":  {Command: []string{"/nowhere"}},
		"no terminal":               {Prompt: planfile.PromptEach},
	} {
		k := planned(t, planfile.Keys{Default: &source})
		k.session.keyTime = 300 * time.Millisecond
		err := k.ready(t.Context(), "imap")
		if err == nil {
			t.Errorf("%s: there is a key", what)
			continue
		}
		place := what[strings.LastIndexByte(what, ' ')+1:]
		if strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), place) {
			t.Errorf("%s: %v", what, err)
		}
		a := explain(before(err))
		if what != "no terminal" && a.exit != exitRefused {
			t.Errorf("%s: exit %d", what, a.exit)
		}
	}
}

func TestAPromptForAllAsksOnce(t *testing.T) {
	for how, k := range map[string]*keyring{
		"by flag": ring(t), "by plan": planned(t, planfile.Keys{Default: &planfile.KeySource{Prompt: planfile.PromptOnce}}),
	} {
		k.once = how == "by flag"
		written := onTerminal(t, 80, func(tty *os.File) {
			// What is typed ahead would be flushed by the change to no echo,
			// so the terminal's line discipline is asked to hold it.
			k.session.in, k.session.err = tty, tty
			typed := make(chan error, 1)
			go func() {
				for range 2 {
					time.Sleep(200 * time.Millisecond)
					for _, b := range []byte("geheim\n") {
						if err := unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSTI, int(b)); err != nil {
							typed <- err
							return
						}
					}
				}
				typed <- nil
			}()
			for _, vm := range []string{"imap", "web", "post"} {
				key, err := k.Key(t.Context(), vm, true)
				if errors.Is(err, os.ErrClosed) {
					t.Fatal(err)
				}
				wantKey(t, key, err, "geheim")
			}
			if err := <-typed; err != nil {
				t.Error(err)
			}
		})
		if n := strings.Count(written, "Passphrase for the disks of "+allVMs); n != 1 {
			t.Errorf("%s: asked %d times: %q", how, n, written)
		}
	}
}
