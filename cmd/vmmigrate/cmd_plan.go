package main

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
)

func (s *session) planCommand() *cli.Command {
	return &cli.Command{
		Name:  "plan",
		Usage: "show what run would do; changes nothing",
		Description: "For each VM and disk: source, size, target volume, header, mapping, what is shared or\n" +
			"kept, warnings, and whatever is in the way with the command that removes it. Several\n" +
			"VMs are shown as a table, and held against the room in the volume groups together.\n\n" +
			"Exits 3 if something is in the way of a VM that was named.\n\n" +
			"Examples:\n" +
			"  # What would become of one VM, down to the changes of its definition?\n" +
			"  vmmigrate plan --vm imap --xml\n" +
			"  # Would all of them fit into another volume group? As JSON.\n" +
			"  vmmigrate plan --all --vg vg1 --output json\n" +
			"  # Plan all of them into a file, to edit and to give to run --plan.\n" +
			"  vmmigrate plan --all --save batch.yaml",
		Flags: append(slices.Concat(vmFlags(), adoptFlags(), targetFlags(), copyFlags(), saveFlags()),
			&cli.BoolFlag{Name: "xml", Category: categoryVM, Usage: "show the changes to the domain's definition"}),
		Action: s.plan,
	}
}

func (s *session) plan(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if err := checkFlags(c); err != nil {
		return err
	}
	if c.IsSet("save") && c.String("save") == "" {
		return &usageError{reason: "--save was given an empty name", command: "plan"}
	}
	// A plan lives for a second or two and looks at hundreds of definitions:
	// to collect a fifth as often saves a fifth of its time.
	defer debug.SetGCPercent(debug.SetGCPercent(500))
	env, closeHost, err := s.host(c.Context, c, true)
	if err != nil {
		return err
	}
	defer closeHost()
	plans, facts, err := s.plans(c.Context, c, env)
	if err != nil {
		return err
	}
	estimates := migrate.Estimates(c.Context, env.Devices, plans)
	var diffs []xmlDiff
	if c.Bool("xml") {
		_, tty := terminal(s.out)
		diffs = xmlDiffs(plans, facts, tty && colour() && !s.json)
	}
	if s.json {
		err = writeDocument(s.out, newPlanDocument(plans, estimates, diffs))
	} else {
		err = cmp.Or(s.writePlans(c, plans, facts, estimates), writeXMLDiffs(s.out, plans, diffs))
	}
	if err != nil {
		return fmt.Errorf("print the plan: %w", err)
	}
	if c.IsSet("save") {
		if err := s.savePlan(c, plans, facts); err != nil {
			return err
		}
	}
	if err := migrate.Blocked(tasks(c, plans, facts)); err != nil {
		return &shownError{err} // the plan has said why
	}
	return nil
}

// writePlans prints one plan in full, and several as a table.
func (s *session) writePlans(c *cli.Context, plans []*migrate.Plan, facts *migrate.Facts, estimates []migrate.Estimate) error {
	again := sameFlags(c, withoutFlags()...)
	if !isBatch(c, plans) {
		return s.writePlan(plans[0], estimates[0], again)
	}
	v := &overview{facts: facts, tasks: tasks(c, plans, facts), plans: plans, estimates: estimates}
	return s.writeOverview(v, c.StringSlice("vm"), again)
}

// shownError is an error that the output has already told of: only the exit
// code is left to give.
type shownError struct{ err error }

func (e *shownError) Error() string { return e.err.Error() }
func (e *shownError) Unwrap() error { return e.err }
