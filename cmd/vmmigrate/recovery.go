package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/migrate"
)

const flagRecoveryFile = "recovery-key-file"

func recoveryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "recovery-key", Category: categoryKey, Usage: "add a second, generated key to each VM's volumes and show it once, on the terminal"},
		recoveryFileFlag(),
	}
}

func recoveryFileFlag() cli.Flag {
	return &cli.StringFlag{Name: flagRecoveryFile, Category: categoryKey, Usage: "write the recovery key to the new `FILE` and show it nowhere; with several VMs FILE is a folder, and gets one for each"}
}

// wantsRecovery says whether the flags ask for a recovery key.
func wantsRecovery(c *cli.Context) bool { return c.Bool("recovery-key") || c.IsSet(flagRecoveryFile) }

// recovery is where the recovery keys of a command go: to a file, or to the
// terminal. Anywhere else, such as into a pipe or a log, they are not shown.
type recovery struct {
	session  *session
	reporter *reporter
	// path is the file, or the folder for the files of several VMs.
	path string
}

var _ migrate.Recovery = (*recovery)(nil)

func (s *session) recovery(c *cli.Context, reporter *reporter) *recovery {
	return &recovery{session: s, reporter: reporter, path: c.String(flagRecoveryFile)}
}

// file is where the key of a VM goes. The name of a VM holds no slash.
func (r *recovery) file(vm string) string {
	if info, err := os.Stat(r.path); err == nil && info.IsDir() {
		return filepath.Join(r.path, strings.ReplaceAll(vm, "/", "_")+".recovery-key")
	}
	return r.path
}

// ready returns an error, before anything is done, if a recovery key of one of
// the VMs could not be handed over.
func (r *recovery) ready(c *cli.Context, vms []string) error {
	if r.path == "" {
		if c.IsSet(flagRecoveryFile) {
			return &usageError{reason: "--" + flagRecoveryFile + " was given an empty name", command: c.Command.Name}
		}
		return r.visible()
	}
	info, err := os.Stat(r.path)
	if len(vms) > 1 && (err != nil || !info.IsDir()) {
		return &usageError{reason: "with several VMs --" + flagRecoveryFile + " names a folder, which gets a file for each", command: c.Command.Name}
	}
	for _, vm := range vms {
		path := r.file(vm)
		if _, err := os.Lstat(path); err == nil {
			return before(&recoveryFileError{path, errors.New("it exists already, and no recovery key is ever overwritten")})
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return before(&recoveryFileError{path, errors.New("there is no such folder")})
		}
	}
	return nil
}

// recoveryFileError says that a recovery key can't be written to a file.
type recoveryFileError struct {
	path string
	err  error
}

func (e *recoveryFileError) Error() string {
	return fmt.Sprintf("no recovery key to %s: %v", e.path, e.err)
}
func (e *recoveryFileError) Unwrap() error { return e.err }

// visible returns an error unless a person sees what is printed.
func (r *recovery) visible() error {
	if _, tty := terminal(r.session.out); !tty || r.session.json {
		return &usageError{reason: "a recovery key is shown on a terminal alone, and standard output is none; give --" + flagRecoveryFile, command: "run"}
	}
	return nil
}

// Deliver implements migrate.Recovery.
func (r *recovery) Deliver(_ context.Context, vm string, key luks.Key) error {
	if r.path != "" {
		return writeRecoveryKey(r.file(vm), key)
	}
	if err := r.visible(); err != nil {
		return err
	}
	r.reporter.mu.Lock()
	defer r.reporter.mu.Unlock()
	var failed error
	r.reporter.screen.aside(func() {
		// One write, so that it is shown whole or the step fails.
		_, failed = fmt.Fprintf(r.session.out, "\nRecovery key for the disks of %s. Write it down now; it is not shown again,\nand kept nowhere:\n\n    %s\n\n", printable(vm), key.Bytes())
	})
	return failed
}

// writeRecoveryKey writes a key to a new file that its owner alone may read,
// without a newline, so that the file serves as a key file.
func writeRecoveryKey(path string, key luks.Key) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &recoveryFileError{path, errors.New("it exists already, and no recovery key is ever overwritten")}
	}
	if err != nil {
		return &recoveryFileError{path, reason(err)}
	}
	_, err = file.Write(key.Bytes())
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(path) // half a key is none, and would be in the way
		return &recoveryFileError{path, reason(err)}
	}
	return nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
