package main

import (
	"cmp"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
)

func (s *session) resumeCommand() *cli.Command {
	return &cli.Command{
		Name:      "resume",
		Usage:     "go on with an interrupted job, by the plan it began with",
		ArgsUsage: "[VM|CLONE|JOB]",
		Description: "Without a name it takes the only unfinished job. The key is asked for only if a disk\n" +
			"has to be formatted or opened. One that no disk of the job has yet is to be typed\n" +
			"twice; any other has to unlock the disks that have it.\n\n" +
			"Examples:\n" +
			"  # Go on after a Ctrl-C, a crash or a power cut.\n" +
			"  vmmigrate resume imap\n" +
			"  # The same by the job's id, as `vmmigrate jobs` shows it, without a prompt.\n" +
			"  vmmigrate resume 20261122-093012-3f9c --key-file /root/luks.key",
		Flags:  slices.Concat(keyFlags(), []cli.Flag{recoveryFileFlag(), stopAfterFlag()}),
		Action: s.resume,
	}
}

func (s *session) resume(c *cli.Context) error {
	name, err := oneArgument(c)
	if err != nil {
		return err
	}
	step, err := stopAfter(c)
	if err != nil {
		return err
	}
	if err := s.needRoot(c); err != nil {
		return err
	}
	if later, err := s.laterNamed(c, name, migrate.Unfinished); later != nil || err != nil {
		if err != nil {
			return err
		}
		return s.resumeLater(c, later)
	}
	info, err := s.store(c).Find(name, migrate.Unfinished)
	if err = cmp.Or(err, info.Err); err != nil {
		return err // a damaged journal is found by its id
	}
	keys, err := s.newKeyring(c, 1)
	if err != nil {
		return err
	}
	defer keys.wipe()
	env, closeHost, err := s.host(c.Context, c, false)
	if err != nil {
		return err
	}
	defer closeHost()
	reporter := s.reporter()
	env.Keyring, env.Reporter, env.Recovery = keys, reporter, s.recovery(c, reporter)
	engine := &migrate.Engine{Env: env, StopAfter: step}
	_, err = engine.Resume(c.Context, info.ID)
	return s.ended(reporter, info, err)
}

// ended reports how a job ended.
func (s *session) ended(reporter *reporter, info migrate.JobInfo, err error) error {
	if err == nil {
		reporter.end()
		return nil
	}
	vm := ""
	if info.Plan != nil {
		vm = info.Plan.VM
	}
	reporter.failed(info.ID, vm, err)
	reporter.end()
	return &shownError{err}
}
