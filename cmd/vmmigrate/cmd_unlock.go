package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/lifecycle"
)

func (s *session) unlockCommand() *cli.Command {
	return &cli.Command{
		Name:      "unlock",
		Usage:     "unlock the disks of clones",
		ArgsUsage: "CLONE...|--all",
		Description: "Opens every encrypted disk of the clones, under the name that their definitions use.\n" +
			"The volumes are found by the UUID in their LUKS headers, whatever they are called by\n" +
			"now. What is open already stays as it is, and no key is asked for then. Where one disk\n" +
			"of a clone does not open, those opened before it are locked again.\n\n" +
			"Examples:\n" +
			"  # Unlock after a reboot, to look at the disks from the host.\n" +
			"  vmmigrate unlock imap-luks\n" +
			"  # Unlock all, each with its own key out of a password store.\n" +
			"  vmmigrate unlock --all --passphrase-command 'sh -c \"pass show luks/$VMMIGRATE_VM\"'",
		Flags: append([]cli.Flag{allFlag()}, keyFlags()...),
		Action: func(c *cli.Context) error {
			return s.withClones(c, false, func(ctx context.Context, m *lifecycle.Manager, name string) error { return m.Unlock(ctx, name) })
		},
	}
}

func (s *session) lockCommand() *cli.Command {
	return &cli.Command{
		Name:      "lock",
		Usage:     "lock the disks of clones that are off",
		ArgsUsage: "CLONE...|--all",
		Description: "Closes every mapping of the clones' encrypted disks, also one that was opened by hand\n" +
			"under another name. The guest's own volume groups, which the host's LVM may have\n" +
			"activated, are deactivated first. A disk that something holds stays open, and who holds\n" +
			"it is said.\n\n" +
			"Examples:\n" +
			"  # Lock what unlock has opened.\n" +
			"  vmmigrate lock imap-luks\n" +
			"  # Lock whatever is off and still open; those that run are named as failed.\n" +
			"  vmmigrate lock --all",
		Flags: []cli.Flag{allFlag()},
		Action: func(c *cli.Context) error {
			return s.withClones(c, false, func(ctx context.Context, m *lifecycle.Manager, name string) error { return m.Lock(ctx, name) })
		},
	}
}

// withClones does something to each clone of a command line, which may have
// key flags. together does it to all at once.
func (s *session) withClones(c *cli.Context, together bool, do func(ctx context.Context, m *lifecycle.Manager, name string) error) error {
	if err := checkCloneNames(c, true); err != nil {
		return err
	}
	if err := s.needRoot(c); err != nil {
		return err
	}
	keys, err := s.newKeyring(c, 1)
	if err != nil {
		return err
	}
	defer keys.wipe()
	m, closeHost, err := s.manager(c.Context, c, cloneKeys{keyring: keys, boot: atBoot(c)}, handles)
	if err != nil {
		return err
	}
	defer closeHost()
	told := s.lifeReporter()
	m.Report = told.report
	names, err := s.cloneNames(c.Context, c, m)
	if err != nil {
		return err
	}
	return s.eachClone(c.Context, names, together, told, func(ctx context.Context, name string) error { return do(ctx, m, name) })
}
