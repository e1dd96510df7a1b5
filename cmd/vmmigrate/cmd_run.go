package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
)

func (s *session) runCommand() *cli.Command {
	flags := slices.Concat(vmFlags(), targetFlags(), copyFlags(), keyFlags())
	flags = append(flags,
		&cli.BoolFlag{Name: "yes", Usage: "do not ask, for scripts: --all asks otherwise"},
		&cli.BoolFlag{Name: "start", Usage: "start the clone at the end"},
		&cli.BoolFlag{Name: "close", Usage: "lock the clone's disks again at the end"},
		stopAfterFlag(),
	)
	return &cli.Command{
		Name:  "run",
		Usage: "move VMs onto encrypted volumes",
		Description: "Makes the volumes, encrypts and opens them, copies and verifies every byte, and defines\n" +
			"the clone. The original VM and its disks stay as they are. What is interrupted can be\n" +
			"resumed or rolled back.\n\n" +
			"Examples:\n" +
			"  vmmigrate run --vm imap\n" +
			"  vmmigrate run --vm imap --vm web --vg vg1 --key-file /root/luks.key --close",
		Flags:  flags,
		Action: s.run,
	}
}

func stopAfterFlag() cli.Flag {
	return &cli.StringFlag{Name: "stop-after", Usage: "stop, resumable, once `STEP` is done: " + strings.Join(stepNames(), ", ")}
}

func stepNames() []string {
	var names []string
	for _, name := range migrate.StepNames() {
		names = append(names, string(name))
	}
	return names
}

func (s *session) engine(c *cli.Context, env *migrate.Env) (*migrate.Engine, error) {
	step := c.String("stop-after")
	if step != "" && !slices.Contains(stepNames(), step) {
		return nil, &usageError{reason: fmt.Sprintf("--stop-after: there is no step %q%s", step, didYouMean(step, stepNames())), command: c.Command.Name}
	}
	return &migrate.Engine{Env: env, StopAfter: migrate.StepName(step)}, nil
}

func (s *session) run(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	keys, err := s.newKeyring(c, 2)
	if err != nil {
		return err
	}
	defer keys.wipe()
	env, closeHost, err := s.host(c.Context, c, false)
	if err != nil {
		return err
	}
	defer closeHost()
	plans, _, err := s.plans(c.Context, c, env)
	if err != nil {
		return err
	}
	if err := blocked(plans); err != nil {
		return err
	}
	for _, plan := range plans {
		if err := keys.ready(plan.VM); err != nil {
			return err
		}
	}
	if c.Bool("all") {
		if err := s.confirm(c.Context, c, fmt.Sprintf("Migrate %d VMs?", len(plans))); err != nil {
			return err
		}
	}
	reporter := s.reporter()
	env.Keyring, env.Reporter = keys, reporter
	engine, err := s.engine(c, env)
	if err != nil {
		return err
	}
	_, err = engine.RunAll(c.Context, plans, func(o migrate.Outcome) {
		reporter.failed(o.Plan.Job, o.Plan.VM, o.Err)
	})
	reporter.end()
	if err != nil {
		return &shownError{err}
	}
	return nil
}
