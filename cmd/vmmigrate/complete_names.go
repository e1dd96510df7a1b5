package main

import (
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
)

// candidates are what could stand at a spot, sorted where they are names.
func (s *session) candidates(ctx context.Context, c *cli.Context, w spot) []string {
	switch {
	case w.value != nil:
		return s.values(ctx, c, w)
	case !w.plain && strings.HasPrefix(w.partial, "-"):
		return w.flags()
	case w.command == nil || len(w.command.Subcommands) > 0:
		return w.commands()
	case strings.Contains(w.operand(), "JOB"):
		return s.jobNames(w)
	case strings.Contains(w.operand(), "NAME"):
		return s.domainNames(ctx, c, w)
	case strings.Contains(w.operand(), "CLONE"):
		return s.clonesOf(ctx, c, w)
	}
	return nil
}

// fixedValues are those of the flags that take a few words only.
func fixedValues(flag string) []string {
	switch flag {
	case flagOutput:
		return []string{"text", "json"}
	case flagLogLevel:
		return []string{"debug", "info", "warn", "error"}
	case flagConnect:
		return []string{"qemu:///system", "qemu:///session"}
	case "verify":
		return []string{string(migrate.VerifyTarget), string(migrate.VerifyFull), string(migrate.VerifyNone)}
	case "luks-type":
		return []string{"luks2", "luks1"}
	case "lvm-type":
		return []string{"linear", "striped", "raid1", "raid10", "thin"}
	case "pbkdf":
		return luks.PBKDFs
	case "perf-probe":
		return []string{string(migrate.ProbeAuto), string(migrate.ProbeAlways), string(migrate.ProbeNever)}
	case "key-prompt":
		return []string{"each", "once"}
	case "sector-size":
		return []string{"512", "4096"}
	case "method":
		return methodNames()
	case "unlock":
		var words []string
		for _, method := range boot.Methods {
			words = append(words, string(method))
		}
		return words
	case "format":
		var words []string
		for _, format := range migrate.Formats() {
			words = append(words, string(format))
		}
		return words
	case "boot":
		return []string{"bios", "uefi"}
	case "stop-after":
		return stepNames()
	}
	return nil
}

func (s *session) values(ctx context.Context, c *cli.Context, w spot) []string {
	switch name := w.value.Names()[0]; name {
	case "vm":
		return slices.DeleteFunc(s.domainNames(ctx, c, w), func(vm string) bool { return slices.Contains(w.given["vm"], vm) })
	case "vg":
		return slices.DeleteFunc(groupNames(ctx), func(vg string) bool { return slices.Contains(w.given["vg"], vg) })
	default:
		return fixedValues(name)
	}
}

// flags are those that could come, save what is there already and may not be
// there twice.
func (w spot) flags() []string {
	var names []string
	offer := func(flags []cli.Flag) {
		for _, flag := range flags {
			_, repeatable := flag.(*cli.StringSliceFlag)
			if visible, ok := flag.(cli.VisibleFlag); ok && !visible.IsVisible() || !repeatable && w.given[flag.Names()[0]] != nil {
				continue
			}
			names = append(names, flagNames([]cli.Flag{flag})...)
		}
	}
	if w.command != nil {
		offer(w.command.Flags)
	}
	offer(w.app.Flags)
	offer([]cli.Flag{cli.HelpFlag})
	slices.Sort(names)
	return slices.Compact(names)
}

func (w spot) commands() []string {
	commands := w.app.Commands
	if w.command != nil {
		commands = w.command.Subcommands
	}
	var names []string
	for _, c := range commandsOf(commands) {
		names = append(names, c.name)
	}
	if w.command == nil {
		names = append(names, "help")
	}
	return names
}

// jobNames are all names of the jobs that the command could mean.
func (s *session) jobNames(w spot) []string {
	store := migrate.Store{Dir: s.stateDir}
	if given := w.given[flagStateDir]; len(given) > 0 {
		store.Dir = given[len(given)-1]
	}
	jobs, err := store.Jobs()
	if err != nil {
		return nil
	}
	if w.command.Name == "resume" {
		jobs = slices.DeleteFunc(jobs, func(job migrate.JobInfo) bool { return !migrate.Unfinished(job) })
	}
	names := jobNames(jobs)
	// Cutovers and retirements: those that can be gone on with, by id and names.
	exchanges, _ := succession.Jobs(store) // what can't be read is not offered
	for _, job := range exchanges {
		if job.Unfinished() {
			names = append(names, job.ID, job.Exchange.VM(), job.Exchange.Other())
		}
	}
	retirements, _ := succession.RetireJobs(store) // likewise
	for _, job := range retirements {
		if job.Unfinished() {
			names = append(names, job.ID, job.Retirement.Original, job.Retirement.Clone)
		}
	}
	return sorted(names)
}

func (s *session) domainNames(ctx context.Context, c *cli.Context, w spot) []string {
	var names []string
	s.eachDomain(ctx, c, w, func(_ *hypervisor.Conn, domain hypervisor.Domain) { names = append(names, domain.Name) })
	return sorted(names)
}

// eachDomain goes through the domains of the libvirt that the command line means.
func (s *session) eachDomain(ctx context.Context, c *cli.Context, w spot, each func(*hypervisor.Conn, hypervisor.Domain)) {
	uri := c.String(flagConnect)
	if given := w.given[flagConnect]; len(given) > 0 {
		uri = given[len(given)-1]
	}
	conn, err := hypervisor.Dial(ctx, hypervisor.Options{URI: uri, Timeout: completeTime})
	if err != nil {
		return
	}
	defer conn.Close()
	domains, err := conn.Domains(ctx)
	if err != nil {
		return
	}
	for _, domain := range domains {
		each(conn, domain)
	}
}

// clonesOf are the domains that are clones of ours.
func (s *session) clonesOf(ctx context.Context, c *cli.Context, w spot) []string {
	var names []string
	s.eachDomain(ctx, c, w, func(conn *hypervisor.Conn, domain hypervisor.Domain) {
		text, err := conn.XML(ctx, domain.UUID)
		if err != nil {
			return
		}
		if _, ours, err := domainxml.ReadOrigin(text); err == nil && ours {
			names = append(names, domain.Name)
		}
	})
	return sorted(names)
}

func groupNames(ctx context.Context) []string {
	groups, err := lvm.New(command.ReadOnly{Runner: command.Local{}}).VGs(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, group := range groups {
		names = append(names, group.Name)
	}
	return sorted(names)
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
