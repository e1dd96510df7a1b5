package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
)

func methodNames() []string {
	var names []string
	for _, method := range succession.Methods() {
		names = append(names, string(method))
	}
	return names
}

func (s *session) retireCommand() *cli.Command {
	return &cli.Command{
		Name:      "retire",
		Usage:     "wipe and remove the plain disks of a clone's original, for good",
		ArgsUsage: "CLONE",
		Description: "Once the clone has run, the original's disks are all that is still unencrypted. retire\n" +
			"wipes them, reads back that they are wiped, and removes them with the original's\n" +
			"definition, managed save image, UEFI variables and TPM state. There is no way back. What\n" +
			"each method can't reach on the disks at hand is said before anything is done.\n\n" +
			"It is refused unless the clone has run, its key opens it and its header backups are good;\n" +
			"if a disk is not exactly the one that was copied; and if anything else uses it: another\n" +
			"VM, a backing file, a snapshot, a mount, a process. The name of the clone has to be typed,\n" +
			"or given with --confirm. The clone may run meanwhile. Ctrl-C stops at a checkpoint; the\n" +
			"same command, or resume, goes on. A record of it all is left in the state directory.\n\n" +
			"Examples:\n" +
			"  # Overwrite with zeros and remove; the passphrase and the name are asked for.\n" +
			"  vmmigrate retire imap --method zero\n" +
			"  # For scripts, and the wiped volumes stay.\n" +
			"  vmmigrate retire imap --method random --keep-volume --confirm imap --key-file /root/luks.key",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "method", Usage: "wipe by `HOW`: " + strings.Join(methodNames(), ", ")},
			&cli.StringFlag{Name: "confirm", Usage: "do not ask for the clone's name, for scripts: it is `NAME`"},
			&cli.BoolFlag{Name: "keep-volume", Usage: "keep the wiped volumes and files; the original's definition goes all the same"},
			&cli.StringFlag{Name: "max-rate", Usage: "write and read at most `SIZE` a second, such as 200M"},
			&cli.BoolFlag{Name: "io-idle", Usage: "write and read only when nobody else wants the disks"},
		}, keyFlags()...),
		Action: s.retire,
	}
}

func (s *session) retire(c *cli.Context) error {
	name, err := oneClone(c)
	if err != nil {
		return err
	}
	method := c.String("method")
	if !slices.Contains(methodNames(), method) {
		reason := "retire needs --method: " + strings.Join(methodNames(), ", ")
		if method != "" {
			reason = fmt.Sprintf("--method: there is no method %q%s", method, didYouMean(method, methodNames()))
		}
		return &usageError{reason: reason, command: "retire"}
	}
	if c.IsSet("confirm") && c.String("confirm") != name {
		return &usageError{reason: fmt.Sprintf("--confirm %q is not the name of the clone, %q", c.String("confirm"), name), command: "retire"}
	}
	options := succession.RetireOptions{Method: succession.Method(method), Keep: c.Bool("keep-volume"), Pace: migrate.Pace{Idle: c.Bool("io-idle")}}
	if options.Pace.MaxRate, err = size(c, "max-rate"); err != nil {
		return err
	}
	if err := s.needRoot(c); err != nil {
		return err // before a key file says that it can't be read
	}
	keys, err := s.newKeyring(c, 1)
	if err != nil {
		return err
	}
	defer keys.wipe()
	reporter := s.reporter()
	env, closeHost, err := s.successionWith(c.Context, c, reporter, cloneKeys{keyring: keys})
	if err != nil {
		return err
	}
	defer closeHost()
	if half, err := env.HalfRetired(name); err != nil || half != nil {
		if err != nil {
			return err
		}
		var keep *bool
		if c.IsSet("keep-volume") {
			keep = &options.Keep
		}
		if err := half.Same(options.Method, keep); err != nil {
			return err
		}
		return s.resumeRetire(c, env, reporter, half)
	}
	plan, warnings, err := env.Judge(c.Context, name, options)
	if err != nil {
		return before(err)
	}
	if plan == nil {
		reporter.Report(migrate.Event{Event: migrate.JobDone, Time: time.Now(), VM: name, Message: "its original is retired already"})
		reporter.end()
		return nil
	}
	s.showRetirement(plan, warnings)
	if err := s.confirmName(c, name); err != nil {
		return before(err)
	}
	record, err := env.Retire(c.Context, plan)
	return s.retired(reporter, plan.Original, record, err)
}

// showRetirement says what is about to be done for good.
func (s *session) showRetirement(plan *succession.Retirement, warnings []string) {
	t := tableFor(s.err, "DISK", "OF "+plan.Original, "KIND", "SIZE", "IS THEN")
	fate := "removed"
	if plan.Keep {
		fate = "kept, blank"
	}
	for _, disk := range plan.Disks {
		t.add(disk.Target, disk.Path, disk.Kind, humanize.IBytes(uint64(disk.Size)), fate)
	}
	line(s.err, "%s", t.text(0))
	line(s.err, "\n%s", printable(fmt.Sprintf("%s has run: %s.", plan.Clone, plan.Evidence)))
	line(s.err, "What --method %s can't do here:", plan.Method)
	for _, word := range plan.Words {
		line(s.err, "  %s.", printable(word))
	}
	for _, warning := range warnings {
		line(s.err, "%s", printable("vmmigrate: warning: "+warning))
	}
}

// confirmName has the name of the clone typed, unless --confirm has given it.
func (s *session) confirmName(c *cli.Context, name string) error {
	if c.IsSet("confirm") {
		return nil
	}
	if _, ok := s.terminalIn(); !ok {
		return &usageError{reason: "this asks for the name of the clone before it goes on, and there is no terminal to ask on; give --confirm NAME", command: "retire"}
	}
	typed, err := s.answer(c.Context, fmt.Sprintf("\nThis can't be undone. To wipe the plain disks, type the name of the clone, %s: ", printable(name)))
	if err == nil && typed != name {
		err = errNotConfirmed
	}
	return err
}

func (s *session) resumeRetire(c *cli.Context, env *succession.Env, reporter *reporter, job *succession.RetireJob) error {
	record, err := env.ResumeRetire(c.Context, job.ID)
	vm := ""
	if job.Retirement != nil {
		vm = job.Retirement.Original
	}
	return s.retired(reporter, vm, record, err)
}

// retired tells how a retirement ended.
func (s *session) retired(reporter *reporter, vm, record string, err error) error {
	if err != nil {
		return s.successionFailed(reporter, vm, err)
	}
	reporter.end()
	if !s.quiet {
		line(s.people(), "The record of it, for whoever has to show it: %s", printable(record))
	}
	return nil
}

// successionWith opens the way to what is done with a clone and its original.
func (s *session) successionWith(ctx context.Context, c *cli.Context, reporter migrate.Reporter, keys lifecycle.Keyring) (env *succession.Env, closeHost func(), err error) {
	m, conn, err := s.managerOn(ctx, c, keys, writes)
	if err != nil {
		return nil, nil, err
	}
	runner := command.Log{Runner: command.Local{}, Logger: s.log}
	return &succession.Env{
		Hypervisor: conn, Clones: m, Store: s.store(c), Reporter: reporter, Random: rand.Reader, Now: time.Now,
		Volumes: lvm.New(runner), Plain: succession.Host{}, Holders: luks.New(runner).HoldersOf, Version: version,
		Chain: func(ctx context.Context, path, format string) (succession.ImageFiles, error) {
			return imageFiles(ctx, runner, path, format)
		},
	}, conn.Close, nil
}
