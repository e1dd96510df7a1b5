package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/planfile"
)

// saveFlags are those with which plan keeps what it shows.
func saveFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "save", Category: categoryVM, Usage: "write the plan to `FILE`, as YAML to edit and to give to run --plan"},
		&cli.BoolFlag{Name: "force", Category: categoryVM, Usage: "let --save replace a file"},
	}
}

// batchFlags are those with which run takes a plan, or only shows one.
func batchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "plan", Category: categoryVM, Usage: "carry out the plan in `FILE`, after a look at what has changed since it was saved"},
		&cli.BoolFlag{Name: "dry-run", Usage: "print every lvcreate, cryptsetup and libvirt call that would change something, in order, and change nothing"},
	}
}

// checkPlanFlag refuses flags that a plan file has a say in itself.
func checkPlanFlag(c *cli.Context) error {
	if c.String("plan") == "" {
		return &usageError{reason: "--plan was given an empty name", command: c.Command.Name}
	}
	said := []string{"vm", "all", "verify"}
	for _, flag := range slices.Concat(adoptFlags(), targetFlags()) {
		said = append(said, flag.Names()[0])
	}
	for _, name := range said {
		if c.IsSet(name) {
			return &usageError{reason: fmt.Sprintf("--%s can't go with --plan: the plan says it itself", name), command: c.Command.Name}
		}
	}
	return nil
}

// planFile reads the plan that --plan names; nil without it.
func planFile(c *cli.Context) (*planfile.File, error) {
	if !c.IsSet("plan") {
		return nil, nil
	}
	return planfile.Load(c.String("plan"))
}

// chosenPlans makes the plans that the flags or the plan file choose.
func (s *session) chosenPlans(ctx context.Context, c *cli.Context, env *migrate.Env, file *planfile.File) ([]*migrate.Plan, *migrate.Facts, error) {
	if file == nil {
		return s.plans(ctx, c, env)
	}
	base, err := options(c)
	if err != nil {
		return nil, nil, err
	}
	facts, err := env.Gather(ctx)
	if err != nil {
		return nil, nil, before(err)
	}
	for _, vm := range file.VMs {
		if err := env.GatherNamed(ctx, facts, file.Options(vm, base)); err != nil {
			return nil, nil, before(err)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, nil, before(fmt.Errorf("ask for this host's name: %w", err))
	}
	decider := &migrate.Decider{Facts: facts, Random: env.Random, Store: env.Store, Taken: migrate.Budget{}}
	plans, changes, err := replan(file, base, facts, decider)
	if err != nil {
		return nil, nil, before(err)
	}
	s.writeChanges(file, append(file.OtherHost(host), changes...))
	return plans, facts, nil
}

// replan makes the plans of a file anew from the facts of now, and tells what
// has changed since. What keeps a VM from being migrated is among its blockers.
func replan(file *planfile.File, base migrate.Options, facts *migrate.Facts, decider *migrate.Decider) ([]*migrate.Plan, []planfile.Change, error) {
	var plans []*migrate.Plan
	var all []planfile.Change
	for _, vm := range file.VMs {
		if vm.Skip {
			continue
		}
		options := file.Options(vm, base)
		plan := &migrate.Plan{VM: vm.Name, VMUUID: vm.UUID, Clone: migrate.Clone{Name: vm.Clone}, Options: options}
		changes := planfile.Gone(vm, facts)
		if len(changes) == 0 {
			var err error
			if plan, err = decider.Decide(vm.Name, options); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", vm.Name, err)
			}
			changes = planfile.Compare(vm, plan, facts)
		}
		for _, change := range changes {
			if change.Code != "" {
				plan.Blockers = append(plan.Blockers, change.Blocker())
			}
		}
		plans, all = append(plans, plan), append(all, changes...)
	}
	return plans, all, nil
}

// writeChanges tells people what is not as it was when the plan was saved.
func (s *session) writeChanges(file *planfile.File, changes []planfile.Change) {
	if len(changes) == 0 {
		return
	}
	since := ""
	if !file.Made.IsZero() {
		since = " at " + file.Made.Local().Format("2006-01-02 15:04 MST")
	}
	line(s.people(), "Since the plan was saved%s:", since)
	for _, change := range changes {
		line(s.people(), "  %s", printable(change.String()))
	}
}

// savePlan writes what was planned to the file that --save names.
func (s *session) savePlan(c *cli.Context, plans []*migrate.Plan, facts *migrate.Facts) error {
	name := c.String("save")
	chosen, err := options(c)
	if err != nil {
		return err
	}
	if len(plans) == 0 {
		return before(fmt.Errorf("there is no VM to save a plan of"))
	}
	file := planfile.New(plans, facts, chosen)
	file.Made = time.Now()
	if file.Host, err = os.Hostname(); err != nil {
		return before(fmt.Errorf("ask for this host's name: %w", err))
	}
	if err := planfile.Save(name, planfile.Format(file), c.Bool("force")); err != nil {
		return &saveError{name: name, again: s.again(sameCommand(c, pathOf(c), "force") + " --force"), err: err}
	}
	if !s.quiet {
		line(s.err, "Saved to %s. Edit it, and carry it out with:", printable(name))
		line(s.err, "  %s", printable(s.again(command.Quote([]string{"vmmigrate", "run", "--plan", name}))))
	}
	return nil
}

// saveError says that a plan could not be saved.
type saveError struct {
	name string
	// again is the command that would replace a file that is there.
	again string
	err   error
}

func (e *saveError) Error() string { return fmt.Sprintf("save the plan to %s: %v", e.name, e.err) }
func (e *saveError) Unwrap() error { return e.err }

// tasks makes the batch. Who names one VM may mean another clone of it; who
// means all of them, or gives a plan, wants what is done to be left out.
func tasks(c *cli.Context, plans []*migrate.Plan, facts *migrate.Facts) []migrate.Task {
	if c.Bool("all") || c.IsSet("plan") {
		return migrate.BatchTasks(plans, facts.Jobs)
	}
	return migrate.Tasks(plans, facts.Jobs)
}

// writeSkipped tells which VMs of a batch are left out, and why.
func (s *session) writeSkipped(tasks []migrate.Task) {
	for _, task := range tasks {
		if !task.Done || s.quiet {
			continue
		}
		why := "nothing is left to do"
		if len(task.Plan.Blockers) > 0 {
			why = task.Plan.Blockers[0].Message
		}
		line(s.people(), "%s is left out: %s", printable(task.Plan.VM), printable(why))
	}
}

// isBatch says whether plans are shown as a table.
func isBatch(c *cli.Context, plans []*migrate.Plan) bool {
	return c.Bool("all") || c.IsSet("plan") || len(plans) != 1
}

// withoutFlags are the flags that only plan has.
func withoutFlags() []string {
	return slices.Concat([]string{"vm", "all", "xml"}, []string{"save", "force"})
}
