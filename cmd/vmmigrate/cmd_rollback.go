package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/migrate"
)

func (s *session) rollbackCommand() *cli.Command {
	return &cli.Command{
		Name:      "rollback",
		Usage:     "remove everything that a job made",
		ArgsUsage: "[VM|CLONE|JOB]",
		Description: "Removes the clone, the mappings and the volumes, newest first, and only what bears the\n" +
			"job's mark; the original is not touched. A clone that was started since is kept, since\n" +
			"its guest may have written what exists nowhere else: --force removes it all the same.\n" +
			"A job that is done is removed only after a question. What was set up for the clone's start\n" +
			"at boot goes with it.\n\n" +
			"Examples:\n" +
			"  # Take back what an interrupted job has made so far.\n" +
			"  vmmigrate rollback imap\n" +
			"  # Take back one that is done, without a question.\n" +
			"  vmmigrate rollback 20261122-093012-3f9c --yes",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "do not ask, for scripts: a job that is done is asked for otherwise"},
			&cli.BoolFlag{Name: "force", Usage: "remove the clone even if it was started since, and leave a LUKS header behind whose file system is away"},
		},
		Action: s.rollback,
	}
}

func (s *session) rollback(c *cli.Context) error {
	name, err := oneArgument(c)
	if err != nil {
		return err
	}
	if err := s.needRoot(c); err != nil {
		return err
	}
	unfinished := func(job migrate.JobInfo) bool { return job.State != migrate.StateDone }
	if later, err := s.laterNamed(c, name, unfinished); later != nil || err != nil {
		if err != nil {
			return err
		}
		return s.rollbackLater(c, later)
	}
	info, err := findForRollback(s.store(c), name)
	if err = cmp.Or(err, info.Err); err != nil {
		return err // a damaged journal is found by its id
	}
	if info.State == migrate.StateDone {
		if err := s.canConfirm(c); err != nil {
			return err
		}
	}
	env, closeHost, err := s.host(c.Context, c, false)
	if err != nil {
		return err
	}
	defer closeHost()
	if info.State == migrate.StateDone {
		if err := (&migrate.Engine{Env: env}).Refusal(c.Context, info.ID, c.Bool("force")); err != nil {
			return err
		}
		question := fmt.Sprintf("Job %s is done. Remove the clone %s and its encrypted disks?", info.ID, info.Plan.Clone.Name)
		if err := s.confirm(c.Context, c, question); err != nil {
			return err
		}
	}
	reporter := s.reporter()
	env.Reporter = reporter
	engine := &migrate.Engine{Env: env}
	err = engine.Rollback(c.Context, info.ID, c.Bool("force"))
	if err == nil {
		err = s.forgetBoot(c, info, reporter)
	}
	return s.ended(reporter, info, err)
}

// forgetBoot takes away what was set up for a clone's start at boot, now that the
// clone is gone. Should it fail, status names what is left.
func (s *session) forgetBoot(c *cli.Context, info migrate.JobInfo, reporter migrate.Reporter) error {
	m, closeHost, err := s.manager(c.Context, c, nil, writes)
	if err != nil {
		return err
	}
	defer closeHost()
	records, err := m.Boot.Records()
	i := slices.IndexFunc(records, func(r boot.Record) bool { return r.Job == info.ID })
	if i < 0 {
		return err
	}
	m.Report = func(lifecycle.Event) {}
	// The key slots went with the volumes.
	if _, err := m.DisableAutostart(c.Context, records[i].Clone, lifecycle.DisableOptions{KeepSlots: true}); err != nil {
		return err
	}
	reporter.Report(migrate.Event{
		Event: migrate.Warning, Time: time.Now(), Job: info.ID, VM: info.Plan.VM,
		Message: "what was set up to start " + records[i].Clone + " at boot is gone with it",
	})
	return nil
}

// findForRollback prefers a job that is not done: that is the one a person
// means who has just seen it stop.
func findForRollback(store migrate.Store, name string) (migrate.JobInfo, error) {
	info, err := store.Find(name, func(job migrate.JobInfo) bool {
		return job.State == migrate.StateInterrupted || job.State == migrate.StateRollingBack || job.State == migrate.StateRunning
	})
	if _, none := err.(*migrate.UnknownJobError); none && name != "" { //nolint:errorlint // Find returns it bare
		return store.Find(name, migrate.Any)
	}
	return info, err
}
