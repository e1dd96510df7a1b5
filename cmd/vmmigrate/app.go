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
	if s, ok := w.(*sink); ok {
		w = s.Writer
	}
	file, ok := w.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}

// sink is where output goes, and keeps the first failure of a write.
type sink struct {
	io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// printed is the first failure to print what was asked for: a report that is not
// whole must not pass for one.
func printed(w io.Writer) error {
	if s, ok := w.(*sink); ok && s.err != nil {
		return fmt.Errorf("print what was asked for: %w", s.err)
	}
	return nil
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, std streams, here machine) int {
	std.out = &sink{Writer: std.out}
	s := &session{streams: std, machine: here}
	app := s.app()
	app.Writer = &sink{Writer: std.out} // of help and version
	arranged, err := arrange(app, args)
	if err == nil {
		err = app.RunContext(ctx, arranged)
	}
	if err == nil {
		err = printed(app.Writer)
	}
	if err == nil {
		return exitDone
	}
	advice := s.advise(err)
	advice.write(std.err)
	return advice.exit
}

func (s *session) app() *cli.App {
	app := &cli.App{
		Name:    "vmmigrate",
		Usage:   "move libvirt/KVM virtual machines onto LUKS-encrypted LVM volumes",
		Version: version,
		Description: "vmmigrate copies a VM's plain disks onto new LUKS-encrypted logical volumes, verifies\n" +
			"every byte and defines a clone that runs from them. The original is never written.\n\n" +
			"Begin with: vmmigrate plan --vm NAME",
		Reader:    s.in,
		Writer:    s.out,
		ErrWriter: s.err,
		Flags:     globalFlags(),
		Commands: []*cli.Command{
			s.planCommand(), s.runCommand(), s.resumeCommand(), s.rollbackCommand(), s.jobsCommand(), s.verifyCommand(), s.xmlCommand(),
			s.startCommand(), s.stopCommand(), s.unlockCommand(), s.lockCommand(), s.statusCommand(), s.autostartCommand(), s.headerCommand(), s.keyCommand(), s.trimCommand(),
			s.cutoverCommand(), s.retireCommand(),
			s.completeCommand(),
		},
		Before:  s.before,
		Suggest: true,
		// A VM may be called "web,db".
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // run decides the exit code
		OnUsageError:              onUsageError,
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return noCommand(c.App, name)
			}
			return cli.ShowAppHelp(c)
		},
		HideHelpCommand: true, // arrange knows help
	}
	app.CustomAppHelpTemplate = template(helpText(appPage(app)))
	for _, command := range app.Commands {
		finish(command, "vmmigrate "+command.Name)
	}
	return app
}

// finish gives a command and those below it what all commands have.
func finish(command *cli.Command, path string) {
	command.OnUsageError = onUsageError
	// A VM may be called "help".
	command.HideHelpCommand = true
	command.CustomHelpTemplate = template(helpText(commandPage(command, path)))
	for _, sub := range command.Subcommands {
		finish(sub, path+" "+sub.Name)
	}
}

// pathOf is a command's name with those above it, as in "header backup".
func pathOf(c *cli.Context) string { return strings.TrimPrefix(c.Command.HelpName, c.App.HelpName+" ") }

func noCommand(app *cli.App, name string) error {
	known := []string{"help"}
	for _, command := range app.Commands {
		if !command.Hidden {
			known = append(known, command.Names()...)
		}
	}
	return &usageError{reason: fmt.Sprintf("there is no command %q%s", name, didYouMean(name, known)), command: "help"}
}

// The names of the global flags.
const (
	flagConnect  = "connect"
	flagStateDir = "state-dir"
	flagOutput   = "output"
	flagQuiet    = "quiet"
	flagLogLevel = "log-level"
)

// The environment variables that stand in for global flags.
const (
	envConnect  = "LIBVIRT_DEFAULT_URI"
	envStateDir = "VMMIGRATE_STATE_DIR"
)

const (
	defaultStateDir = "/var/lib/vmmigrate"
	defaultConnect  = "qemu:///system"
)

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagConnect, Aliases: []string{"c"}, Value: defaultConnect, EnvVars: []string{envConnect}, Usage: "connect to the libvirt at `URI`"},
		&cli.StringFlag{Name: flagStateDir, Value: defaultStateDir, EnvVars: []string{envStateDir}, Usage: "keep jobs and locks in `DIR`"},
		&cli.StringFlag{Name: flagOutput, Value: "text", Usage: "print `FORMAT`: text, or json for programs"},
		&cli.BoolFlag{Name: flagQuiet, Aliases: []string{"q"}, Usage: "tell of warnings, errors and the outcome only, not of progress"},
		&cli.StringFlag{Name: flagLogLevel, Value: "warn", Usage: "log to stderr from `LEVEL` on: debug shows every program that is run"},
	}
}

// session is one command line being carried out.
type session struct {
	streams
	machine
	json  bool
	quiet bool
	// stateDir is where jobs and locks are.
	stateDir string
	log      *slog.Logger
	// globals are the global flags that a further command needs as well.
	globals []string
	// connect is the libvirt URI of the command line, if it needs saying.
	connect string
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
	// An empty variable is one that is not set; an empty flag is a mistake,
	// such as an unset variable of a script, and must not mean the folder that
	// happens to be the current one.
	if s.stateDir = c.String(flagStateDir); s.stateDir == "" {
		if value, set := os.LookupEnv(envStateDir); !set || value != "" {
			return &usageError{reason: "--state-dir is empty"}
		}
		s.stateDir = defaultStateDir
	}
	s.quiet = c.Bool(flagQuiet)
	s.keepGlobals(c)
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
		usage.command = pathOf(c)
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
		return &usageError{reason: fmt.Sprintf("%s takes no argument %q; VMs are named with --vm", pathOf(c), c.Args().First()), command: pathOf(c)}
	}
	return nil
}

// oneArgument returns the only argument, or "" if there is none. An empty one,
// as an unset variable of a script leaves it, must not mean "the only job".
func oneArgument(c *cli.Context) (string, error) {
	if c.NArg() > 1 {
		return "", &usageError{reason: fmt.Sprintf("%s takes one name, not %d", pathOf(c), c.NArg()), command: pathOf(c)}
	}
	if c.NArg() == 1 && c.Args().First() == "" {
		return "", &usageError{reason: pathOf(c) + " was given an empty name", command: pathOf(c)}
	}
	return c.Args().First(), nil
}

var errNotConfirmed = errors.New("not confirmed: nothing has been changed")
