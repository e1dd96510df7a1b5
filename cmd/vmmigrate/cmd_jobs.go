package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
)

func (s *session) jobsCommand() *cli.Command {
	return &cli.Command{
		Name:  "jobs",
		Usage: "list the jobs and where they stand",
		Description: "Reads the state directory only; neither LVM nor libvirt is asked.\n\n" +
			"Examples:\n" +
			"  # What is half done, and what to type next?\n" +
			"  vmmigrate jobs\n" +
			"  # The same for a script.\n" +
			"  vmmigrate jobs --output json",
		Action: s.jobs,
	}
}

func (s *session) jobs(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	infos, err := s.store(c).Jobs()
	if err != nil {
		return err
	}
	lines := make([]jobLine, len(infos))
	for i, info := range infos {
		lines[i] = s.jobLine(info)
	}
	exchanges, err := succession.Jobs(s.store(c))
	if err != nil {
		return err
	}
	for _, job := range exchanges {
		lines = append(lines, s.exchangeLine(job))
	}
	retirements, err := succession.RetireJobs(s.store(c))
	if err != nil {
		return err
	}
	for _, job := range retirements {
		lines = append(lines, s.retireLine(job))
	}
	// By their ids, which begin with the time.
	slices.SortStableFunc(lines, func(a, b jobLine) int { return strings.Compare(a.Job, b.Job) })
	if s.json {
		return writeDocument(s.out, jobsDocument{lines})
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintln(s.out, "There are no jobs.")
		return err
	}
	t := s.table("JOB", "KIND", "VM", "CLONE", "STATE", "STEP", "STARTED")
	for _, line := range lines {
		step := string(line.Step)
		if line.Disk != "" {
			step += " " + line.Disk
		}
		started := ""
		if line.Started != nil {
			started = line.Started.Local().Format("2006-01-02 15:04")
		}
		t.add(line.Job, string(line.Kind), line.VM, line.Clone, string(line.State), step, started)
	}
	if _, err := fmt.Fprintln(s.out, t.text(0)); err != nil {
		return err
	}
	for _, line := range lines {
		if line.Failure != "" && line.State != migrate.StateDone {
			fmt.Fprintf(s.out, "\n%s stopped: %s\n", line.Job, printable(line.Failure))
		}
		if line.State != migrate.StateDone {
			for _, next := range line.Next {
				fmt.Fprintf(s.out, "  %s\n", next)
			}
		}
	}
	return printed(s.out)
}

func (s *session) jobLine(info migrate.JobInfo) jobLine {
	line := jobLine{Job: info.ID, Kind: kindMove, State: info.State, Step: info.Step, Disk: info.Disk, Failure: info.Failure}
	if info.Plan != nil {
		line.VM, line.Clone = info.Plan.VM, info.Plan.Clone.Name
		line.Started, line.Updated = &info.Started, &info.Updated
	}
	if info.Err != nil {
		line.Failure = info.Err.Error()
	}
	switch info.State {
	case migrate.StateInterrupted:
		line.Next = nextOf(info.ID)
	case migrate.StateRollingBack, migrate.StateDone:
		line.Next = []string{"vmmigrate rollback " + info.ID}
	case migrate.StateRunning, migrate.StateDamaged:
	}
	for i := range line.Next {
		line.Next[i] = s.again(line.Next[i])
	}
	return line
}

// exchangeLine is the line of a cutover.
func (s *session) exchangeLine(job succession.Job) jobLine {
	line := jobLine{Job: job.ID, Kind: kindCutover, State: job.State, Step: job.Step, Failure: job.Failure}
	if job.Exchange != nil {
		line.VM, line.Clone = job.Exchange.VM(), job.Exchange.Other()
		line.Started, line.Updated = &job.Started, &job.Updated
		if job.Exchange.Undo {
			line.Kind = kindCutoverUndo
		}
	}
	if job.Err != nil {
		line.Failure = job.Err.Error()
	}
	switch job.State {
	case migrate.StateInterrupted:
		line.Next = nextOf(job.ID)
	case migrate.StateRollingBack:
		line.Next = []string{"vmmigrate rollback " + job.ID}
	case migrate.StateDone:
		if line.Kind == kindCutover {
			line.Next = []string{"vmmigrate cutover --undo " + named(line.VM)}
		}
	case migrate.StateRunning, migrate.StateDamaged:
	}
	for i := range line.Next {
		line.Next[i] = s.again(line.Next[i])
	}
	return line
}

// retireLine is the line of a retirement. It has no way back once a disk is being
// wiped.
func (s *session) retireLine(job succession.RetireJob) jobLine {
	line := jobLine{Job: job.ID, Kind: kindRetire, State: job.State, Step: job.Step, Disk: job.Disk, Failure: job.Failure}
	if job.Retirement != nil {
		line.VM, line.Clone = job.Retirement.Original, job.Retirement.Clone
		line.Started, line.Updated = &job.Started, &job.Updated
	}
	if job.Err != nil {
		line.Failure = job.Err.Error()
	}
	if job.State == migrate.StateInterrupted {
		line.Next = []string{s.again("vmmigrate resume " + job.ID)}
		if job.Step == migrate.PutAway {
			line.Next = append(line.Next, s.again("vmmigrate rollback "+job.ID))
		}
	}
	return line
}
