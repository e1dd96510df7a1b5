package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
)

func (s *session) runCommand() *cli.Command {
	flags := slices.Concat(vmFlags(), batchFlags(), adoptFlags(), targetFlags(), copyFlags(), keyFlags(), recoveryFlags())
	flags = append(flags,
		&cli.BoolFlag{Name: "yes", Usage: "do not ask, for scripts: --all asks otherwise"},
		&cli.StringSliceFlag{KeepSpace: true, Name: "confirm-device", Usage: "overwrite the device `PATH` of --target-device without asking for its path, which --yes does not do; may be given several times"},
		&cli.BoolFlag{Name: "start", Usage: "start the clone at the end"},
		&cli.BoolFlag{Name: "close", Usage: "lock the clone's disks again at the end"},
		&cli.IntFlag{Name: "parallel", Usage: "work on `N` VMs at once, whatever they share (default: on as many as share no physical device)"},
		&cli.BoolFlag{Name: "keep-going", Value: true, Usage: "after a failure go on with the other VMs; this is the default"},
		&cli.BoolFlag{Name: "fail-fast", Usage: "after a failure begin no other VM"},
		stopAfterFlag(),
	)
	return &cli.Command{
		Name:  "run",
		Usage: "move VMs onto encrypted volumes",
		Description: "Makes the volumes, encrypts and opens them, copies and verifies every byte, and defines\n" +
			"the clone. The original VM and its disks stay as they are. What is interrupted can be\n" +
			"resumed or rolled back.\n\n" +
			"Examples:\n" +
			"  # Move one VM; the passphrase is asked for twice.\n" +
			"  vmmigrate run --vm imap\n" +
			"  # Move two into another volume group with a key from a file, and lock their\n" +
			"  # disks at the end.\n" +
			"  vmmigrate run --vm imap --vm web --vg vg1 --key-file /root/luks.key --close\n" +
			"  # Make a VM of an image that has none, as it is left by a P2V.\n" +
			"  vmmigrate run --disk /srv/p2v/files.raw --name files --osinfo win2k16\n" +
			"  # Show what would be done to carry out a plan that was saved and edited.\n" +
			"  vmmigrate run --plan batch.yaml --dry-run\n" +
			"  # Do it, with one passphrase for all and a recovery key for each.\n" +
			"  vmmigrate run --plan batch.yaml --key-prompt once --recovery-key-file /root/recovery",
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

func stopAfter(c *cli.Context) (migrate.StepName, error) {
	step := c.String("stop-after")
	if step != "" && !slices.Contains(stepNames(), step) {
		return "", &usageError{reason: fmt.Sprintf("--stop-after: there is no step %q%s", step, didYouMean(step, stepNames())), command: c.Command.Name}
	}
	return migrate.StepName(step), nil
}

func (s *session) run(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if n := c.Int("parallel"); c.IsSet("parallel") && n < 1 {
		return &usageError{reason: fmt.Sprintf("--parallel: %d is less than 1", n), command: c.Command.Name}
	}
	if err := checkFlags(c); err != nil {
		return err
	}
	if err := s.needRoot(c); err != nil {
		return err // before a key file says that it can't be read
	}
	file, err := planFile(c)
	if err != nil {
		return err
	}
	dryRun := c.Bool("dry-run")
	keys, err := s.newKeyring(c, 2)
	if err != nil {
		return err
	}
	keys.follow(file)
	defer keys.wipe()
	env, closeHost, err := s.host(c.Context, c, dryRun)
	if err != nil {
		return err
	}
	defer closeHost()
	plans, facts, err := s.chosenPlans(c.Context, c, env, file)
	if err != nil {
		return err
	}
	tasks := tasks(c, plans, facts)
	if err := migrate.Blocked(tasks); err != nil {
		return err
	}
	s.writeSkipped(tasks)
	if dryRun {
		return s.rehearse(c.Context, &migrate.Engine{Env: env}, tasks)
	}
	var todo []string
	for _, task := range tasks {
		if !task.Done {
			todo = append(todo, task.Plan.VM)
		}
	}
	reporter := s.reporter()
	recovery := s.recovery(c, reporter)
	if wantsRecovery(c) {
		if err := recovery.ready(c, todo); err != nil {
			return err
		}
	}
	if (c.Bool("all") || file != nil) && len(todo) > 0 {
		if err := s.confirm(c.Context, c, fmt.Sprintf("Migrate %d VMs?", len(todo))); err != nil {
			return err
		}
	}
	if err := s.confirmDevices(c, tasks); err != nil {
		return err
	}
	for _, vm := range todo {
		if err := keys.ready(c.Context, vm); err != nil {
			return err
		}
	}
	env.Keyring, env.Reporter, env.Recovery = keys, reporter, recovery
	step, err := stopAfter(c)
	if err != nil {
		return err
	}
	engine := &migrate.Engine{Env: env, StopAfter: step}
	outcomes, err := engine.RunAll(c.Context, tasks, migrate.BatchOptions{
		Parallel: c.Int("parallel"), FailFast: c.Bool("fail-fast") || !c.Bool("keep-going"),
		Failed: func(o migrate.Outcome) { reporter.failed(o.Plan.Job, o.Plan.VM, o.Err) },
	})
	reporter.end()
	if len(outcomes) > 1 {
		writeOutcomes(s.people(), outcomes)
	}
	if err != nil {
		return &shownError{err}
	}
	return nil
}
