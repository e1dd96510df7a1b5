package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// streams are the process's own three.
type streams struct {
	in  *os.File
	out io.Writer
	err io.Writer
}

// terminal returns the file behind w if it is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	file, ok := w.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, std streams) int {
	app := newApp(std)
	arranged, err := arrange(app, args)
	if err == nil {
		err = app.RunContext(ctx, arranged)
	}
	if err == nil {
		return exitDone
	}
	advice := explain(err)
	advice.write(std.err)
	return advice.exit
}

func newApp(std streams) *cli.App {
	s := &session{streams: std}
	app := &cli.App{
		Name:    "vmmigrate",
		Usage:   "move libvirt/KVM virtual machines onto LUKS-encrypted LVM volumes",
		Version: version,
		Description: "vmmigrate copies a VM's plain disks onto new LUKS-encrypted logical volumes, verifies\n" +
			"every byte and defines a clone that runs from them. The original is never written.\n\n" +
			"Begin with: vmmigrate plan --vm NAME",
		Reader:    std.in,
		Writer:    std.out,
		ErrWriter: std.err,
		Flags:     globalFlags(),
		Commands: []*cli.Command{
			s.planCommand(), s.runCommand(), s.resumeCommand(), s.rollbackCommand(), s.jobsCommand(), s.verifyCommand(), s.xmlCommand(),
		},
		Before:  s.before,
		Suggest: true,
		// A VM may be called "web,db".
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // run decides the exit code
		OnUsageError:              onUsageError,
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return &usageError{reason: fmt.Sprintf("there is no command %q%s", name, didYouMean(name, commandNames(c.App))), command: "help"}
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, command := range app.Commands {
		command.OnUsageError = onUsageError
	}
	return app
}

func commandNames(app *cli.App) []string {
	var names []string
	for _, command := range app.Commands {
		names = append(names, command.Names()...)
	}
	return names
}

// The names of the global flags.
const (
	flagConnect  = "connect"
	flagStateDir = "state-dir"
	flagOutput   = "output"
	flagLogLevel = "log-level"
)

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagConnect, Aliases: []string{"c"}, Value: "qemu:///system", EnvVars: []string{"LIBVIRT_DEFAULT_URI"}, Usage: "connect to the libvirt at `URI`"},
		&cli.StringFlag{Name: flagStateDir, Value: "/var/lib/vmmigrate", EnvVars: []string{"VMMIGRATE_STATE_DIR"}, Usage: "keep jobs and locks in `DIR`"},
		&cli.StringFlag{Name: flagOutput, Value: "text", Usage: "print `FORMAT`: text, or json for programs"},
		&cli.StringFlag{Name: flagLogLevel, Value: "warn", Usage: "log to stderr from `LEVEL` on: debug shows every program that is run"},
	}
}

// session is one command line being carried out.
type session struct {
	streams
	json bool
	log  *slog.Logger
}

// before reads the global flags, whatever the command.
func (s *session) before(c *cli.Context) error {
	switch output := c.String(flagOutput); output {
	case "text":
	case "json":
		s.json = true
	default:
		return &usageError{reason: fmt.Sprintf("--output %q is neither text nor json", output)}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String(flagLogLevel))); err != nil {
		return &usageError{reason: fmt.Sprintf("--log-level %q is none of debug, info, warn, error", c.String(flagLogLevel))}
	}
	s.log = slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level}))
	return nil
}

// people is where text for people goes: stdout, unless that carries JSON.
func (s *session) people() io.Writer {
	if s.json {
		return s.err
	}
	return s.out
}

// usageError says that the command line can't be understood; exit 2.
type usageError struct {
	// reason says why, and command is the one whose help helps.
	reason  string
	command string
}

func (e *usageError) Error() string { return e.reason }

// onUsageError takes urfave/cli's own word for a bad flag, and adds the flag
// that was probably meant.
func onUsageError(c *cli.Context, err error, _ bool) error {
	usage := &usageError{reason: err.Error()}
	if c.Command != nil {
		usage.command = c.Command.Name
	}
	const undefined = "flag provided but not defined: -"
	if name, found := strings.CutPrefix(err.Error(), undefined); found {
		name = strings.TrimLeft(name, "-")
		known := flagNames(c.App.Flags)
		if c.Command != nil {
			known = append(known, flagNames(c.Command.Flags)...)
		}
		usage.reason = fmt.Sprintf("there is no flag --%s%s", name, didYouMean("--"+name, known))
	}
	return usage
}

func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, flag := range flags {
		for _, name := range flag.Names() {
			if len(name) > 1 {
				names = append(names, "--"+name)
			}
		}
	}
	return names
}

// noArguments refuses positional arguments of a command that takes none.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return &usageError{reason: fmt.Sprintf("%s takes no argument %q; VMs are named with --vm", c.Command.Name, c.Args().First()), command: c.Command.Name}
	}
	return nil
}

// oneArgument returns the only argument, or "" if there is none.
func oneArgument(c *cli.Context) (string, error) {
	if c.NArg() > 1 {
		return "", &usageError{reason: fmt.Sprintf("%s takes one name, not %d", c.Command.Name, c.NArg()), command: c.Command.Name}
	}
	return c.Args().First(), nil
}

var errNotConfirmed = errors.New("not confirmed: nothing has been changed")
