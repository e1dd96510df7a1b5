package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/succession"
)

func (s *session) startCommand() *cli.Command {
	return &cli.Command{
		Name:      "start",
		Usage:     "unlock the disks of clones and start them",
		ArgsUsage: "CLONE...|--all",
		Description: "Unlocks every encrypted disk of a clone, then starts it. One that runs already is left\n" +
			"alone. It is refused while the original runs, while a VM with the same hardware address\n" +
			"or the same disk does, and while the host itself uses one of the disks. A clone that\n" +
			"libvirt does not start is locked again.\n\n" +
			"Examples:\n" +
			"  # Boot a clone after the host's reboot; the passphrase is asked for.\n" +
			"  vmmigrate start imap-luks\n" +
			"  # Boot two with a key file.\n" +
			"  vmmigrate start imap-luks web-luks --key-file /root/luks.key",
		Flags: append([]cli.Flag{allFlag(), jobFlag()}, keyFlags()...),
		Action: func(c *cli.Context) error {
			return s.withClones(c, false, func(ctx context.Context, m *lifecycle.Manager, name string) error {
				if err := succession.Ready(s.store(c), name); err != nil {
					return err
				}
				return m.Start(ctx, name)
			})
		},
	}
}

// stopTimeout is how long a guest may take to shut down, as long as systemd
// gives one service (systemd-system.conf(5), DefaultTimeoutStopSec=90s) and a
// bit.
const stopTimeout = 2 * time.Minute

func (s *session) stopCommand() *cli.Command {
	return &cli.Command{
		Name:      "stop",
		Usage:     "shut clones down and lock their disks",
		ArgsUsage: "CLONE...|--all",
		Description: "Sends each guest the ACPI event of a pressed power button, waits until it is off, and\n" +
			"locks its disks. Several are shut down at once. A guest that does not stop in time runs\n" +
			"on, with its disks unlocked; --force pulls its plug instead.\n\n" +
			"Examples:\n" +
			"  # Shut down and lock.\n" +
			"  vmmigrate stop imap-luks\n" +
			"  # Before the host goes down: five minutes for each guest, then the plug.\n" +
			"  vmmigrate stop --all --timeout 5m --force",
		Flags: []cli.Flag{
			allFlag(),
			jobFlag(),
			&cli.DurationFlag{Name: "timeout", Value: stopTimeout, Usage: "wait for each guest for at most `TIME`, such as 90s or 5m"},
			&cli.BoolFlag{Name: "force", Usage: "after that pull the plug: what the guest had not written is lost"},
		},
		Action: func(c *cli.Context) error {
			if c.Duration("timeout") < 0 {
				return &usageError{reason: "--timeout can't be negative", command: "stop"}
			}
			options := lifecycle.StopOptions{Timeout: c.Duration("timeout"), Force: c.Bool("force")}
			return s.withClones(c, true, func(ctx context.Context, m *lifecycle.Manager, name string) error { return m.Stop(ctx, name, options) })
		},
	}
}
