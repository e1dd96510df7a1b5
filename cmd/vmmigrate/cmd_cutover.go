package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
)

func (s *session) cutoverCommand() *cli.Command {
	return &cli.Command{
		Name:      "cutover",
		Usage:     "have a clone take its original's place, or give it back",
		ArgsUsage: "CLONE",
		Description: "The clone takes the original's name, UUID and hardware addresses, so that the network,\n" +
			"monitoring and scripts find it where the VM was. The original is kept as NAME-plain, off,\n" +
			"with a new UUID and the addresses that the clone had (new ones where both had the same).\n" +
			"Disks, mappings, volumes and all other settings stay as they are, and as they are called.\n" +
			"Both have to be off. --undo gives both back exactly what they had.\n\n" +
			"What is interrupted, even by a power cut, is finished by the same command or by resume,\n" +
			"and taken back by rollback; until then start refuses both.\n\n" +
			"Examples:\n" +
			"  # imap-luks becomes imap, and imap becomes imap-plain.\n" +
			"  vmmigrate cutover imap-luks\n" +
			"  # Back again; the clone is the one to name, as it is called now.\n" +
			"  vmmigrate cutover imap --undo",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "undo", Usage: "give clone and original back what they had before the cutover"}},
		Action: s.cutover,
	}
}

func (s *session) cutover(c *cli.Context) error {
	name, err := oneClone(c)
	if err != nil {
		return err
	}
	reporter := s.reporter()
	env, closeHost, err := s.successionWith(c.Context, c, reporter, nil)
	if err != nil {
		return err
	}
	defer closeHost()
	outcome, err := env.Cutover(c.Context, name, c.Bool("undo"))
	return s.cutOver(reporter, name, outcome, err)
}

// cutOver tells how a cutover or its undo ended.
func (s *session) cutOver(reporter *reporter, name string, outcome succession.Outcome, err error) error {
	if err != nil {
		return s.successionFailed(reporter, name, err)
	}
	if outcome.Job == "" {
		said := "has its original's place already"
		if outcome.Undo {
			said = "has a name of its own already: there is no cutover to take back"
		}
		reporter.Report(migrate.Event{Event: migrate.JobDone, Time: time.Now(), VM: outcome.Clone, Message: said})
		reporter.end()
		return nil
	}
	reporter.end()
	if s.quiet {
		return nil
	}
	clone := named(outcome.Clone)
	line(s.people(), "")
	line(s.people(), "Next:")
	line(s.people(), "  %s", printable(s.again("vmmigrate start "+clone)))
	if !outcome.Undo {
		line(s.people(), "  %s", printable(s.again("vmmigrate cutover --undo "+clone)+"   # takes it back"))
	}
	return nil
}

// successionFailed tells how a job of this kind failed.
func (s *session) successionFailed(reporter *reporter, vm string, err error) error {
	reporter.failed(jobOf(err), vm, err)
	reporter.end()
	return &shownError{err}
}
