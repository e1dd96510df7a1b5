package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
)

// keyCommandError says that a passphrase command failed, without its arguments
// and without anything that it printed as the key: either may be the secret.
type keyCommandError struct {
	reason string
	err    error
}

func (e *keyCommandError) Error() string { return e.reason }
func (e *keyCommandError) Unwrap() error { return e.err }

func keyCommandFailed(err error, printed []byte, limit time.Duration) error {
	var failed *command.Error
	if !errors.As(err, &failed) {
		return err
	}
	reason := fmt.Sprintf("it ended with exit code %d", failed.ExitCode)
	switch {
	case errors.Is(failed.Err, context.DeadlineExceeded):
		reason = fmt.Sprintf("it did not end within %s", limit)
	case failed.ExitCode < 0:
		reason = failed.Err.Error()
	}
	said := failed.Stderr
	if secret := bytes.TrimSpace(printed); len(secret) > 0 {
		said = strings.ReplaceAll(said, string(secret), "[redacted]")
	}
	if said != "" {
		reason += ": " + strings.ReplaceAll(said, "\n", "; ")
	}
	return &keyCommandError{reason, failed.Err}
}

// fromCommand takes what the passphrase command prints.
func (k *keyring) fromCommand(ctx context.Context, vm string) (luks.Key, error) {
	return k.fromProgram(ctx, "--passphrase-command "+k.argv[0], k.argv, vm)
}

// fromProgram takes what a program prints for the key; source is what errors
// call it.
func (k *keyring) fromProgram(ctx context.Context, source string, argv []string, vm string) (luks.Key, error) {
	result, err := command.Local{}.Run(ctx, command.Cmd{
		Name: argv[0], Args: argv[1:], Env: []string{"VMMIGRATE_VM=" + vm}, Timeout: k.session.keyTime,
	})
	if err != nil {
		err = keyCommandFailed(err, result.Stdout, k.session.keyTime)
		clear(result.Stdout)
		return luks.Key{}, &keySourceError{source, err}
	}
	key, err := luks.NewKey(result.Stdout)
	if err != nil {
		return luks.Key{}, &keySourceError{source, err}
	}
	return key, nil
}

// credential is the path of the systemd credential for a VM's key, or "" where
// systemd gave none (systemd.exec(5), CREDENTIALS_DIRECTORY).
func credential(vm string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || strings.ContainsRune(vm, '/') {
		return ""
	}
	return filepath.Join(dir, "vmmigrate."+vm)
}

func fromCredential(vm string) (key luks.Key, found bool, err error) {
	path := credential(vm)
	if path == "" {
		return luks.Key{}, false, nil
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return luks.Key{}, false, nil
	}
	if err != nil {
		return luks.Key{}, true, &keySourceError{"the credential " + path, reason(err)}
	}
	defer file.Close()
	key, err = readKey("the credential "+path, file)
	return key, true, err
}
