package main

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// The commands of the life after the move take clones by name, or all.

func allFlag() cli.Flag {
	return &cli.BoolFlag{Name: "all", Usage: "every clone of this host"}
}

func jobFlag() cli.Flag {
	return &cli.StringFlag{Name: "job", Usage: "the clone that `JOB` made, whatever it is called by now"}
}

// envJob is what a guest's unit is told its job by.
const envJob = "VMMIGRATE_JOB"

// atBoot says whether a guest's unit runs this command line.
func atBoot(c *cli.Context) bool {
	job := c.String("job")
	return job != "" && job == os.Getenv(envJob)
}

// use is what a command does with the host and the state directory.
type use int

const (
	// looks changes nothing, and reads the state directory alone.
	looks use = iota
	// handles has disks opened and closed and guests started and stopped, which
	// leaves the state directory as it is.
	handles
	// writes puts something into the state directory.
	writes
)

// manager opens the way to this machine's LVM, LUKS and libvirt for what is
// done with clones. closeHost ends the connection.
func (s *session) manager(ctx context.Context, c *cli.Context, keys lifecycle.Keyring, to use) (m *lifecycle.Manager, closeHost func(), err error) {
	m, conn, err := s.managerOn(ctx, c, keys, to)
	if err != nil {
		return nil, nil, err
	}
	return m, conn.Close, nil
}

// managerOn is manager, for those who ask libvirt for more.
func (s *session) managerOn(ctx context.Context, c *cli.Context, keys lifecycle.Keyring, to use) (m *lifecycle.Manager, conn *hypervisor.Conn, err error) {
	if err := s.needRoot(c); err != nil {
		return nil, nil, err
	}
	// Whoever can write there could have a link lie where a header is to go.
	if to == writes {
		if err := s.store(c).Private(); err != nil {
			return nil, nil, before(err)
		}
	}
	var runner command.Runner = command.Log{Runner: command.Local{}, Logger: s.log}
	if to == looks {
		runner = command.ReadOnly{Runner: runner}
	}
	for _, program := range []string{"lvs", "cryptsetup"} {
		if err := s.installed(program); err != nil {
			return nil, nil, before(err)
		}
	}
	conn, err = hypervisor.Dial(ctx, hypervisor.Options{URI: c.String(flagConnect), Timeout: s.libvirtTime})
	if err != nil {
		return nil, nil, before(err)
	}
	cryptsetup := lifecycle.NewCryptsetup(runner)
	return &lifecycle.Manager{
		Volumes: lvm.New(runner), Encryption: cryptsetup, Hypervisor: conn, Devices: lifecycle.Host{}, Filesystems: filesystem.New(runner),
		Boot: &boot.Host{Run: runner}, Enroller: cryptsetup, AtBoot: atBoot(c),
		Keys: keys, StateDir: s.stateDir, Now: time.Now, Wait: lifecycle.Sleep,
	}, conn, nil
}

// cloneKeys is a keyring for clones. Its keys go by the name that the VM had
// when it was moved, as they did then.
type cloneKeys struct {
	*keyring
	// boot is whether systemd was to unlock the disks, so that nobody is to
	// be asked.
	boot bool
}

var _ lifecycle.Keyring = cloneKeys{}

// Key implements lifecycle.Keyring.
func (k cloneKeys) Key(ctx context.Context, clone *lifecycle.Clone) (luks.Key, error) {
	switch {
	case k.boot:
		return luks.Key{}, &lifecycle.NotUnlockedError{Clone: clone.Name}
	case k.fixed.Len() > 0:
		return duplicate(k.fixed)
	case len(k.argv) > 0:
		return k.fromCommand(ctx, clone.Origin.Name)
	}
	for _, name := range []string{clone.Origin.Name, clone.Name} {
		if key, found, err := fromCredential(name); found || err != nil {
			return key, err
		}
	}
	return k.session.prompt(ctx, clone.Name, 1)
}

// Again implements lifecycle.Keyring: a person may have mistyped.
func (k cloneKeys) Again(clone *lifecycle.Clone) bool {
	if k.boot || k.fixed.Len() > 0 || len(k.argv) > 0 || credential(clone.Origin.Name) != "" {
		return false
	}
	_, ok := k.session.terminalIn()
	return ok
}

// cloneNames are the clones that a command line means.
func (s *session) cloneNames(ctx context.Context, c *cli.Context, m *lifecycle.Manager) ([]string, error) {
	if c.IsSet("job") {
		clone, err := m.FindJob(ctx, c.String("job"))
		if err != nil {
			return nil, before(err)
		}
		return []string{clone.Name}, nil
	}
	if !c.Bool("all") {
		return c.Args().Slice(), nil
	}
	clones, err := m.All(ctx)
	if err != nil {
		return nil, before(err)
	}
	var names []string
	for _, clone := range clones {
		names = append(names, clone.Name)
	}
	return names, nil
}

// checkCloneNames refuses a command line that names no clone, or one of no
// name, as an unset variable of a script leaves it.
func checkCloneNames(c *cli.Context, needed bool) error {
	bad := func(reason string) error { return &usageError{reason: pathOf(c) + " " + reason, command: pathOf(c)} }
	names := c.Args().Slice()
	switch {
	case c.IsSet("job") && (c.Bool("all") || len(names) > 0):
		return bad("takes either --job or names or --all")
	case c.IsSet("job") && c.String("job") == "":
		return bad("was given an empty --job")
	case c.IsSet("job"):
		return nil
	case c.Bool("all") && len(names) > 0:
		return bad("takes either names or --all")
	case needed && !c.Bool("all") && len(names) == 0:
		return bad("needs the name of a clone, or --all")
	case slices.Contains(names, ""):
		return bad("was given an empty name")
	}
	return nil
}

// oneClone returns the only argument of a command that takes one clone.
func oneClone(c *cli.Context) (string, error) {
	name, err := oneArgument(c)
	if err == nil && name == "" {
		err = &usageError{reason: pathOf(c) + " needs the name of a clone", command: pathOf(c)}
	}
	return name, err
}

// clonesError says that a command failed for some of several clones. Each
// failure has been told by then.
type clonesError struct {
	failed, all int
	errs        []error
}

func (e *clonesError) Error() string { return plural(e.failed, e.all) }

func (e *clonesError) Unwrap() []error { return e.errs }

// eachClone does something to every clone that is named, and goes on past those
// that fail. together does it to all at once.
func (s *session) eachClone(ctx context.Context, names []string, together bool, told *lifeReporter, do func(ctx context.Context, name string) error) error {
	errs := make([]error, len(names))
	one := func(i int) {
		if ctx.Err() != nil {
			errs[i] = context.Cause(ctx)
			return
		}
		if errs[i] = do(ctx, names[i]); errs[i] != nil && len(names) > 1 {
			told.failed(names[i], errs[i])
		}
	}
	var group sync.WaitGroup
	for i := range names {
		if together {
			group.Go(func() { one(i) })
		} else {
			one(i)
		}
	}
	group.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch {
	case len(failed) == 0:
		return nil
	case len(names) == 1:
		told.failedOnly(names[0], failed[0])
		return failed[0]
	}
	return &clonesError{failed: len(failed), all: len(names), errs: failed}
}
