package main

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/internal/scratch"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/virtinstall"
)

// notRootError says that a command needs root.
type notRootError struct {
	// command is its name, and again the whole command line.
	command, again string
}

func (e *notRootError) Error() string {
	return e.command + " needs root: it reads disks and volume groups"
}

// beforeError is an error that came before anything could be changed.
type beforeError struct{ err error }

func (e *beforeError) Error() string { return e.err.Error() }
func (e *beforeError) Unwrap() error { return e.err }

// before marks an error as a *beforeError.
func before(err error) error {
	if err == nil {
		return nil
	}
	return &beforeError{err}
}

// needRoot returns a *notRootError unless this process is root.
func (s *session) needRoot(c *cli.Context) error {
	if s.root {
		return nil
	}
	return &notRootError{command: pathOf(c), again: s.again(sameCommand(c, pathOf(c)))}
}

// host opens the way to this machine's LVM, LUKS and libvirt. readOnly holds
// back every program that would change something. close ends the connection.
func (s *session) host(ctx context.Context, c *cli.Context, readOnly bool) (env *migrate.Env, closeHost func(), err error) {
	if err := s.needRoot(c); err != nil {
		return nil, nil, err
	}
	logged := command.Log{Runner: command.Local{}, Logger: s.log}
	var runner command.Runner = logged
	var starter command.Starter = logged
	if readOnly {
		only := command.ReadOnly{Runner: logged}
		runner, starter = only, only
	} else {
		scratch.Sweep() // a run that was killed had no time for it
	}
	for _, program := range []string{"lvs", "cryptsetup"} {
		if err := s.installed(program); err != nil {
			return nil, nil, before(err)
		}
	}
	conn, err := hypervisor.Dial(ctx, hypervisor.Options{URI: c.String(flagConnect), Timeout: s.libvirtTime})
	if err != nil {
		return nil, nil, before(err)
	}
	images := image.Tools{Runner: runner, Starter: starter}
	devices := migrate.Host{Images: images}
	if readOnly {
		devices.Seen = new(migrate.Seen)
	}
	env = &migrate.Env{
		Volumes: lvm.New(runner), Encryption: luks.New(runner), KeySlots: luks.New(runner), Hypervisor: conn,
		Devices: devices, Files: devices, Filesystems: filesystem.New(runner), Images: devices, Copier: migrate.BlockCopier{Images: images, Rates: new(migrate.Rates)},
		Drafts: virtinstall.New(runner, c.String(flagConnect)),
		Store:  s.store(c),
		Random: rand.Reader, Now: time.Now,
	}
	return env, conn.Close, nil
}

func (s *session) store(c *cli.Context) migrate.Store {
	return migrate.Store{Dir: s.stateDir, Now: time.Now}
}

// plans makes the plans for the VMs that the flags choose.
func (s *session) plans(ctx context.Context, c *cli.Context, env *migrate.Env) ([]*migrate.Plan, *migrate.Facts, error) {
	chosenOptions, err := options(c)
	if err != nil {
		return nil, nil, err
	}
	facts, err := env.Gather(ctx)
	if err != nil {
		return nil, nil, before(err)
	}
	if err := env.GatherNamed(ctx, facts, chosenOptions); err != nil {
		return nil, nil, before(err)
	}
	decider := &migrate.Decider{Facts: facts, Random: env.Random, Store: env.Store, Taken: migrate.Budget{}}
	if c.IsSet("disk") {
		plan, err := adopt(ctx, c, env, facts, decider, chosenOptions)
		if err != nil {
			return nil, nil, err
		}
		return []*migrate.Plan{plan}, facts, nil
	}
	var plans []*migrate.Plan
	for _, name := range chosen(c, facts) {
		plan, err := decider.Decide(name, chosenOptions)
		if err != nil {
			return nil, nil, before(err)
		}
		plans = append(plans, plan)
	}
	return plans, facts, nil
}
