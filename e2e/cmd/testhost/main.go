// Command testhost puts a person, or one command, inside a test host, or plays the
// main scenario to a person. `make shell-testhost` and `make demo` run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

const usage = `usage:
  testhost demo
      the main scenario, told to a person: a guest moves from plain disks onto
      encrypted ones and boots there
  testhost cost
      what a move costs beside moving bytes, for make bench
  testhost shell
      a shell on a host with the volume group vg0, libvirtd, the guest imap and
      vmmigrate; all of it is gone when the shell ends
  testhost run [-guest] [-libvirt] [-disk MIB] [-memory MIB] [-persist FILE] [-program FILE] [-quiet] [--] CMD ARG...
      one command on a fresh host whose disk, /dev/ubda, is filled with noise;
      with -guest, on the same host as shell
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	var exit exitCode
	switch {
	case errors.As(err, &exit):
		os.Exit(int(exit))
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
	case err != nil:
		fmt.Fprintln(os.Stderr, "testhost:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return flag.ErrHelp
	}
	switch args[0] {
	case "run":
		return runCommand(ctx, args[1:])
	case "shell":
		return shell(ctx)
	case "demo":
		return runDemo(ctx)
	case "cost":
		return runCost(ctx)
	case "help", "-h", "-help", "--help":
		return flag.ErrHelp
	default:
		return fmt.Errorf("no such command: %q\n%s", args[0], usage)
	}
}

func runCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	memory := flags.Int64("memory", 2048, "the host's memory, in MiB")
	disk := flags.Int64("disk", 1024, "the size of /dev/ubda, in MiB")
	withGuest := flags.Bool("guest", false, "set the whole stage")
	libvirt := flags.Bool("libvirt", false, "start libvirtd")
	persist := flags.String("persist", "", "the file of a disk that keeps /var/lib/vmmigrate and libvirt's domains")
	systemd := flags.Bool("systemd", false, "make systemd process 1; not with -guest")
	program := flags.String("program", "", "a static program of the machine's that is to be in the host's PATH")
	quiet := flags.Bool("quiet", false, "don't tell what is done")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("run: no command was given")
	}
	var log io.Writer
	if !*quiet {
		log = os.Stderr
	}

	var programs []string
	if *program != "" {
		programs = []string{*program}
	}
	var h *testhost.Host
	var err error
	if *withGuest {
		var stage *scenario.Stage
		if stage, err = scenario.Set(ctx, scenario.Options{DiskSize: *disk << 20, Log: log}); err == nil {
			h = stage.Host
		}
	} else {
		h, err = testhost.Start(ctx, testhost.Options{
			Memory:  *memory << 20,
			Disks:   []testhost.Disk{{Size: *disk << 20, Noise: true}},
			Persist: *persist, Libvirt: *libvirt, Systemd: *systemd, Programs: programs, Log: log,
		})
	}
	if err != nil {
		return err
	}
	c := h.Command(flags.Args()...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	_, err = c.Run(ctx)
	return errors.Join(shown(err), h.Stop())
}

// exitCode is that of a command whose output the person has seen, and which
// therefore needs no words of ours.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func shown(err error) error {
	var exit *testhost.ExitError
	if errors.As(err, &exit) && exit.ExitCode > 0 {
		return exitCode(exit.ExitCode)
	}
	return err
}
