package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/google/shlex"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/luks"
)

func keyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "key-file", Category: categoryKey, Usage: "take the bytes of `FILE` as they are, as cryptsetup does; - is standard input"},
		&cli.IntFlag{Name: "passphrase-fd", Category: categoryKey, Value: -1, Usage: "take the bytes that file descriptor `N` gives until its end"},
		&cli.StringFlag{Name: "passphrase-command", Category: categoryKey, Usage: "take what `COMMAND` prints; it runs without a shell and finds the VM's name in $VMMIGRATE_VM"},
		&cli.StringFlag{Name: "key-prompt", Category: categoryKey, Usage: "ask on the terminal `HOW` often: each asks for every VM's passphrase (the default), once for one that all have"},
	}
}

// keySourceError says that a key can't be had from where the user said.
type keySourceError struct {
	// source is the flag or place, and reason what is wrong with it.
	source string
	err    error
}

func (e *keySourceError) Error() string { return fmt.Sprintf("no key from %s: %v", e.source, e.err) }
func (e *keySourceError) Unwrap() error { return e.err }

// keyring gives each VM's key from the one source that the flags name. Keys
// that come from a file or descriptor are read once, before anything is done.
type keyring struct {
	session *session
	// fixed is the key for all VMs, or empty.
	fixed luks.Key
	// drawn are the keys by VM that ready got beforehand.
	drawn map[string]luks.Key
	// argv is the passphrase command, or empty.
	argv []string
	// prompts is how often the terminal asks at least: twice for a new key, once
	// for one that exists, never without a terminal.
	prompts int
	places
}

// newKeyring reads the key flags. prompts is how often to ask on the terminal.
// A source that can't be read is a *keySourceError or *luks.KeyError.
func (s *session) newKeyring(c *cli.Context, prompts int) (*keyring, error) {
	k := &keyring{session: s, prompts: prompts, drawn: make(map[string]luks.Key)}
	given := 0
	for _, name := range []string{"key-file", "passphrase-fd", "passphrase-command", "key-prompt"} {
		if c.IsSet(name) {
			given++
		}
	}
	if given > 1 {
		return nil, &usageError{reason: "give only one of --key-file, --passphrase-fd, --passphrase-command, --key-prompt", command: c.Command.Name}
	}
	switch how := c.String("key-prompt"); how {
	case "", "each":
	case "once":
		k.once = true
	default:
		return nil, &usageError{reason: fmt.Sprintf("--key-prompt %q is neither each nor once", how), command: c.Command.Name}
	}
	k.flagged = given > 0
	var err error
	switch {
	case c.IsSet("key-file"):
		k.fixed, err = awaited(c.Context, func() (luks.Key, error) { return s.readKeyFile(c.String("key-file")) })
	case c.IsSet("passphrase-fd"):
		k.fixed, err = awaited(c.Context, func() (luks.Key, error) { return readDescriptor(c.Int("passphrase-fd")) })
	case c.IsSet("passphrase-command"):
		k.argv, err = shlex.Split(c.String("passphrase-command"))
		if err == nil && len(k.argv) == 0 {
			err = errors.New("it is empty")
		}
		if err != nil {
			err = &usageError{reason: fmt.Sprintf("--passphrase-command: %v", err), command: c.Command.Name}
		}
	}
	return k, err
}

// wipe forgets all keys.
func (k *keyring) wipe() {
	k.fixed.Wipe()
	k.asked.Wipe()
	for _, key := range k.drawn {
		key.Wipe()
	}
}

// Key implements migrate.Keyring.
func (k *keyring) Key(ctx context.Context, vm string, fresh bool) (luks.Key, error) {
	if k.fixed.Len() > 0 {
		return duplicate(k.fixed)
	}
	if key, drawn := k.drawn[vm]; drawn {
		return duplicate(key)
	}
	prompts := k.prompts
	if fresh {
		prompts = 2
	}
	return k.draw(ctx, vm, prompts)
}

// duplicate makes a key of its own of one that has to stay.
func duplicate(key luks.Key) (luks.Key, error) {
	return luks.NewKey(append([]byte(nil), key.Bytes()...))
}

// draw gets a VM's key from wherever it comes from; on the terminal it is asked
// for prompts times.
func (k *keyring) draw(ctx context.Context, vm string, prompts int) (luks.Key, error) {
	if len(k.argv) > 0 {
		return k.fromCommand(ctx, vm)
	}
	if source, found := k.source(vm); found {
		return k.fromPlan(ctx, vm, source, prompts)
	}
	key, found, err := fromCredential(vm)
	if found || err != nil {
		return key, err
	}
	return k.ask(ctx, vm, k.once, prompts)
}

// ready gets a VM's key before anything is changed: a key that can't be had is
// refused then, and a batch does not stop in the night to ask for the next.
func (k *keyring) ready(ctx context.Context, vm string) error {
	if k.fixed.Len() > 0 {
		return nil
	}
	key, err := k.draw(ctx, vm, k.prompts)
	if err != nil {
		return err
	}
	k.drawn[vm] = key
	return nil
}

// awaited returns what read does, or the context's cause if that ends first: a
// pipe may be one that nobody ever writes to. read is then left behind, to end
// with the process.
func awaited[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		value, err := read()
		answered <- answer{value, err}
	}()
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func (s *session) readKeyFile(path string) (luks.Key, error) {
	source := "--key-file " + path
	if path == "-" {
		if _, ok := s.terminalIn(); ok {
			return luks.Key{}, &usageError{reason: "--key-file - takes the key from a pipe, and standard input is the terminal"}
		}
		return readKey("--key-file - (standard input)", s.in)
	}
	return s.keyFromFile(source, path)
}

// keyFromFile takes a file's bytes for the key; source is what errors call it.
func (s *session) keyFromFile(source, path string) (luks.Key, error) {
	file, err := os.Open(path)
	if err != nil {
		return luks.Key{}, &keySourceError{source, reason(err)}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return luks.Key{}, &keySourceError{source, reason(err)}
	}
	if info.IsDir() {
		return luks.Key{}, &keySourceError{source, errors.New("it is a folder")}
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		line(s.err, "vmmigrate: warning: %s can be read by others (mode %04o); chmod 600 it", printable(path), info.Mode().Perm())
	}
	return readKey(source, file)
}

// reason is an error without the operation and path that the user knows.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func readKey(source string, from io.Reader) (luks.Key, error) {
	key, err := luks.ReadKey(from)
	if err != nil {
		return luks.Key{}, &keySourceError{source, err}
	}
	return key, nil
}

func readDescriptor(n int) (luks.Key, error) {
	source := fmt.Sprintf("--passphrase-fd %d", n)
	if n < 0 {
		return luks.Key{}, &usageError{reason: source + " is no file descriptor"}
	}
	if _, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err != nil {
		return luks.Key{}, &keySourceError{source, errors.New("it is not open")}
	}
	file := os.NewFile(uintptr(n), source)
	defer file.Close()
	return readKey(source, file)
}
