package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/luks"
)

const categoryNewKey = "New key (asked for twice by default)"

func newKeyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "new-key-file", Category: categoryNewKey, Usage: "take the bytes of `FILE` as they are, as cryptsetup does; - is standard input"},
		&cli.IntFlag{Name: "new-passphrase-fd", Category: categoryNewKey, Value: -1, Usage: "take the bytes that file descriptor `N` gives until its end"},
		&cli.StringFlag{Name: "pbkdf", Category: categoryNewKey, Usage: "derive with `ALGORITHM`: argon2id, argon2i or pbkdf2 (default: cryptsetup's)"},
		&cli.IntFlag{Name: "pbkdf-force-iterations", Category: categoryNewKey, Usage: "make `N` rounds instead of measuring how many take two seconds"},
	}
}

// afterKeys is what is done, or not, once keys were changed.
func afterKeys() cli.Flag {
	return &cli.BoolFlag{Name: "no-header-backup", Usage: "make no new header backup; the older ones open with the older keys"}
}

func (s *session) keyCommand() *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "add, change, remove and test the keys of clones",
		Description: "All disks of a clone have the same keys. A header backup from before a change opens with\n" +
			"the keys of its time, and with those alone: so a new one is made after each change, and\n" +
			"the older ones are to be destroyed if a key was taken away because it leaked.",
		Subcommands: []*cli.Command{s.keyAddCommand(), s.keyChangeCommand(), s.keyRemoveCommand(), s.keyTestCommand()},
		Action:      groupAction,
	}
}

func (s *session) keyAddCommand() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "have a clone's disks unlock with a further key",
		ArgsUsage: "CLONE",
		Description: "Asks for a key that fits, then for the new one. What can't be added to every disk is\n" +
			"added to none. The disks may be open.\n\n" +
			"Examples:\n" +
			"  # Add a passphrase for a colleague.\n" +
			"  vmmigrate key add imap-luks\n" +
			"  # Add a key file to a clone that has one.\n" +
			"  vmmigrate key add imap-luks --key-file /root/luks.key --new-key-file /root/second.key",
		Flags: slices.Concat(keyFlags(), newKeyFlags(), []cli.Flag{afterKeys()}),
		Action: func(c *cli.Context) error {
			return s.changeKeys(c, func(ctx context.Context, m *lifecycle.Manager, name string) ([]lifecycle.KeySlot, error) {
				return m.AddKey(ctx, name, s.newKey(c, name), keyOptions(c))
			})
		},
	}
}

func (s *session) keyChangeCommand() *cli.Command {
	return &cli.Command{
		Name:      "change",
		Usage:     "put a new key in the place of one of a clone's",
		ArgsUsage: "CLONE",
		Description: "Adds the new key to every disk, tries it, and only then takes the old one away. Cut\n" +
			"short it leaves disks that open with both or with the new key alone; the same command\n" +
			"with the same two keys finishes it.\n\n" +
			"Examples:\n" +
			"  # Change the passphrase.\n" +
			"  vmmigrate key change imap-luks\n" +
			"  # Put a key file in a passphrase's place.\n" +
			"  vmmigrate key change imap-luks --new-key-file /root/luks.key",
		Flags: slices.Concat(keyFlags(), newKeyFlags(), []cli.Flag{afterKeys()}),
		Action: func(c *cli.Context) error {
			return s.changeKeys(c, func(ctx context.Context, m *lifecycle.Manager, name string) ([]lifecycle.KeySlot, error) {
				return m.ChangeKey(ctx, name, s.newKey(c, name), keyOptions(c))
			})
		},
	}
}

func (s *session) keyRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "take a key away from a clone's disks, by its slot",
		ArgsUsage: "CLONE",
		Description: "The key that is asked for is one that stays: so there is always one left that is known\n" +
			"to work, and the last slot is never taken. status shows the slots, and key test says\n" +
			"which of them a key unlocks.\n\n" +
			"Examples:\n" +
			"  # Take away the key of slot 1, with one that stays.\n" +
			"  vmmigrate key remove imap-luks --slot 1\n" +
			"  # The same for one disk, in a script.\n" +
			"  vmmigrate key remove imap-luks --slot 1 --disk vdb --key-file /root/luks.key",
		Flags: append(keyFlags(),
			&cli.IntFlag{Name: "slot", Value: -1, Usage: "take the key of slot `N` away"},
			&cli.StringFlag{Name: "disk", Usage: "from the disk `TARGET` only"},
			afterKeys()),
		Action: func(c *cli.Context) error {
			if c.Int("slot") < 0 {
				return &usageError{reason: "key remove needs --slot, the number of the key slot", command: pathOf(c)}
			}
			return s.changeKeys(c, func(ctx context.Context, m *lifecycle.Manager, name string) ([]lifecycle.KeySlot, error) {
				return m.RemoveKey(ctx, name, c.String("disk"), c.Int("slot"))
			})
		},
	}
}

func (s *session) keyTestCommand() *cli.Command {
	return &cli.Command{
		Name:      "test",
		Usage:     "try a key on every disk of a clone",
		ArgsUsage: "CLONE",
		Description: "Says which key slot of each disk the key unlocks. Opens nothing and changes nothing.\n\n" +
			"Exits 0 if it fits every disk and 1 if not.\n\n" +
			"Examples:\n" +
			"  # Is this still the passphrase?\n" +
			"  vmmigrate key test imap-luks\n" +
			"  # Is the file in the safe the right one?\n" +
			"  vmmigrate key test imap-luks --key-file /media/stick/imap.key",
		Flags: keyFlags(),
		Action: func(c *cli.Context) error {
			name, err := oneClone(c)
			if err != nil {
				return err
			}
			return s.withKeys(c, name, slotsChange(func(ctx context.Context, m *lifecycle.Manager, name string) ([]lifecycle.KeySlot, error) {
				return m.TestKey(ctx, name)
			}), nil)
		},
	}
}

func keyOptions(c *cli.Context) lifecycle.KeyOptions {
	return lifecycle.KeyOptions{PBKDF: c.String("pbkdf"), Iterations: c.Int("pbkdf-force-iterations")}
}

// newKey reads the new key from where the flags say, when it is wanted.
func (s *session) newKey(c *cli.Context, name string) lifecycle.NewKey {
	return func(ctx context.Context) (luks.Key, error) {
		switch {
		case c.IsSet("new-key-file"):
			return awaited(ctx, func() (luks.Key, error) { return s.readKeyFile(c.String("new-key-file")) })
		case c.IsSet("new-passphrase-fd"):
			return awaited(ctx, func() (luks.Key, error) { return readDescriptor(c.Int("new-passphrase-fd")) })
		}
		if _, ok := s.terminalIn(); !ok {
			return luks.Key{}, &usageError{reason: "there is no terminal to ask for the new passphrase on; give --new-key-file or --new-passphrase-fd", command: pathOf(c)}
		}
		line(s.err, "%s", printable("Now the new passphrase of "+name+"."))
		return s.prompt(ctx, name, 2)
	}
}

// checkNewKey refuses flags that contradict each other.
func checkNewKey(c *cli.Context) error {
	bad := func(reason string) error { return &usageError{reason: reason, command: pathOf(c)} }
	switch {
	case c.IsSet("new-key-file") && c.IsSet("new-passphrase-fd"):
		return bad("give only one of --new-key-file, --new-passphrase-fd")
	case c.String("new-key-file") == "-" && c.String("key-file") == "-":
		return bad("standard input can't give both keys")
	case c.IsSet("new-passphrase-fd") && c.IsSet("passphrase-fd") && c.Int("new-passphrase-fd") == c.Int("passphrase-fd"):
		return bad("one file descriptor can't give both keys")
	case c.String("pbkdf") != "" && !slices.Contains(luks.PBKDFs, c.String("pbkdf")):
		return bad(fmt.Sprintf("--pbkdf %q is none of argon2id, argon2i, pbkdf2", c.String("pbkdf")))
	case c.Int("pbkdf-force-iterations") < 0:
		return bad("--pbkdf-force-iterations can't be negative")
	}
	return nil
}

// changeKeys changes keys and backs the headers up anew.
func (s *session) changeKeys(c *cli.Context, do func(context.Context, *lifecycle.Manager, string) ([]lifecycle.KeySlot, error)) error {
	if err := checkNewKey(c); err != nil {
		return err
	}
	name, err := oneClone(c)
	if err != nil {
		return err
	}
	return s.withKeys(c, name, slotsChange(do), s.backUpAnew(c))
}

// slotsChange says whether any key slot was changed.
func slotsChange(do func(context.Context, *lifecycle.Manager, string) ([]lifecycle.KeySlot, error)) keysChange {
	return func(ctx context.Context, m *lifecycle.Manager, name string) (bool, error) {
		slots, err := do(ctx, m, name)
		return len(slots) > 0, err
	}
}

// backUpAnew is what follows a change of keys: new header backups, unless they
// are not wanted.
func (s *session) backUpAnew(c *cli.Context) func(*lifecycle.Manager, string) error {
	return func(m *lifecycle.Manager, name string) error {
		if c.Bool("no-header-backup") {
			line(s.err, "%s", printable("The header backups of "+name+" from before open with the older keys. A new one: vmmigrate header backup "+named(name)))
			return nil
		}
		if _, err := m.SaveHeaders(c.Context, name, lifecycle.SaveOptions{}); err != nil {
			return &afterKeysError{clone: name, err: err}
		}
		if !s.quiet {
			line(s.people(), "Move the header backups off this host. Those from before open with the older keys: destroy them if one of these leaked.")
		}
		return nil
	}
}

// afterKeysError says that keys were changed and the headers not backed up.
type afterKeysError struct {
	clone string
	err   error
}

func (e *afterKeysError) Error() string {
	return fmt.Sprintf("the keys of %q were changed, and its headers could not be backed up: %v", e.clone, e.err)
}
func (e *afterKeysError) Unwrap() error { return e.err }

// keysChange does something with a clone's keys, and says whether it changed
// them.
type keysChange = func(ctx context.Context, m *lifecycle.Manager, name string) (changed bool, err error)

// withKeys does something with the keys of one clone; then follows if anything
// was changed.
func (s *session) withKeys(c *cli.Context, name string, do keysChange, then func(*lifecycle.Manager, string) error) error {
	if err := s.needRoot(c); err != nil {
		return err
	}
	keys, err := s.newKeyring(c, 1)
	if err != nil {
		return err
	}
	defer keys.wipe()
	m, closeHost, err := s.manager(c.Context, c, cloneKeys{keyring: keys, boot: atBoot(c)}, writes)
	if err != nil {
		return err
	}
	defer closeHost()
	told := s.lifeReporter()
	m.Report = told.report
	changed, err := do(c.Context, m, name)
	if err == nil && changed && then != nil {
		err = then(m, name)
	}
	if err != nil {
		told.failedOnly(name, err)
	}
	return err
}
