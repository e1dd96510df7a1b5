package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/boot"
)

// unlockSaid is what a command line of autostart enable means.
func unlockSaid(t *testing.T, words ...string) (name string, unlock boot.Unlock, err error) {
	t.Helper()
	s := &session{streams: streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}}, machine: testMachine()}
	app := s.app()
	for _, command := range app.Commands {
		for _, sub := range command.Subcommands {
			if command.Name == "autostart" && sub.Name == "enable" {
				sub.Action = func(c *cli.Context) error {
					var err error
					name, unlock, err = unlockOf(c)
					return err
				}
			}
		}
	}
	args, err := arrange(app, append([]string{"vmmigrate", "autostart", "enable"}, words...))
	if err == nil {
		err = app.RunContext(t.Context(), args)
	}
	return name, unlock, err
}

func TestUnlockTakesItsPathOrURLAsAWordOrBehindAColon(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	key := boot.Unlock{Method: boot.KeyFile, KeyFile: "/etc/my key"}
	tang := boot.Unlock{Method: boot.Tang, URL: "http://tang:8080"}
	for _, c := range []struct {
		words []string
		name  string
		want  boot.Unlock
	}{
		{[]string{"imap", "--unlock", "prompt"}, "imap", boot.Unlock{Method: boot.Prompt}},
		{[]string{"--unlock=prompt", "--", "-rf"}, "-rf", boot.Unlock{Method: boot.Prompt}},
		{[]string{"imap", "--unlock", "key-file", "/etc/my key"}, "imap", key},
		{[]string{"--unlock", "key-file", "/etc/my key", "my imap"}, "my imap", key},
		{[]string{"--unlock", "key-file:/etc/my key", "imap"}, "imap", key},
		{[]string{"key-file", "--unlock", "key-file:k"}, "key-file", boot.Unlock{Method: boot.KeyFile, KeyFile: filepath.Join(here, "k")}},
		{[]string{"imap", "--unlock", "key-file", "./k"}, "imap", boot.Unlock{Method: boot.KeyFile, KeyFile: filepath.Join(here, "k")}},
		{[]string{"imap", "--unlock", "tang", "http://tang:8080/"}, "imap", tang},
		{[]string{"imap", "--unlock=tang:http://tang:8080"}, "imap", tang},
		{[]string{"imap", "--unlock=tang:http://tang:8080", "--tang-thumbprint", "x"}, "imap", boot.Unlock{Method: boot.Tang, URL: "http://tang:8080", Thumbprint: "x"}},
		{[]string{"imap", "--unlock", "tpm2", "--tpm2-device", "swtpm:", "--tpm2-pcrs", "0+7"}, "imap", boot.Unlock{Method: boot.TPM2, Device: "swtpm:", PCRs: "0+7"}},
		{[]string{"imap", "--unlock", "fido2", "--fido2-device", "/dev/hidraw1"}, "imap", boot.Unlock{Method: boot.FIDO2, Device: "/dev/hidraw1"}},
	} {
		name, unlock, err := unlockSaid(t, c.words...)
		if err != nil || name != c.name || unlock != c.want {
			t.Errorf("%q: %q, %+v, %v", c.words, name, unlock, err)
		}
	}
}

func TestAnUnlockThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	for _, words := range [][]string{
		{"imap"},
		{"--unlock", "prompt"},
		{"imap", "web", "--unlock", "prompt"},
		{"imap", "--unlock", "prompt:x"},
		{"imap", "--unlock", "password"},
		{"imap", "--unlock", ""},
		{"imap", "--unlock", "key-file"},
		{"imap", "key", "--unlock", "key-file"},
		{"imap", "--unlock", "key-file:"},
		{"imap", "/a", "--unlock", "key-file:/b"},
		{"--unlock", "key-file", "/etc/key"},
		{"imap", "--unlock", "tang"},
		{"imap", "--unlock", "prompt", "--force"},
		{"imap", "--unlock", "key-file:/k", "--tpm2-pcrs", "7"},
	} {
		var usage *usageError
		if name, unlock, err := unlockSaid(t, words...); !errors.As(err, &usage) {
			t.Errorf("%q: %q, %+v, %v", words, name, unlock, err)
		}
	}
	for _, url := range []string{"tang:ftp://x", "tang:http://", "tang:http://me:secret@x", "tang:/path"} {
		var bad *boot.TangError
		if _, _, err := unlockSaid(t, "imap", "--unlock", url); !errors.As(err, &bad) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestATangServerIsTrustedByItsKeyOrByAPerson(t *testing.T) {
	const set = `{"keys":[{"alg":"ES512","crv":"P-521","key_ops":["verify"],"kty":"EC","x":"AB","y":"CD"},{"alg":"ECMR","crv":"P-521","key_ops":["deriveKey"],"kty":"EC","x":"EF","y":"GH"}]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"payload":%q,"protected":"x","signature":"y"}`, base64.RawURLEncoding.EncodeToString([]byte(set)))
	}))
	defer server.Close()
	keys, err := boot.TangKeys(t.Context(), server.URL)
	if err != nil || len(keys) != 1 {
		t.Fatalf("%q, %v", keys, err)
	}
	ask := func(args ...string) (thumbprint, said string, err error) {
		var errs bytes.Buffer
		s := &session{streams: streams{out: &bytes.Buffer{}, err: &errs}, machine: testMachine()}
		app := &cli.App{
			Flags: []cli.Flag{&cli.BoolFlag{Name: "yes"}, &cli.StringFlag{Name: "thp"}},
			Action: func(c *cli.Context) error {
				var err error
				thumbprint, err = s.trustTang(context.Background(), c, server.URL, c.String("thp"))
				return err
			},
		}
		err = app.Run(append([]string{"x"}, args...))
		return thumbprint, errs.String(), err
	}
	if got, _, err := ask("--yes"); got != keys[0] || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, _, err := ask("--thp", keys[0]); got != keys[0] || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	var trust *boot.TangTrustError
	if _, _, err := ask("--thp", "another", "--yes"); !errors.As(err, &trust) || trust.Offered[0] != keys[0] {
		t.Errorf("%v", err)
	}
	var usage *usageError
	if _, said, err := ask(); !errors.As(err, &usage) || !strings.Contains(said, keys[0]) {
		t.Errorf("without a terminal and without --yes: %q, %v", said, err)
	}
}
