// Command testhost puts a person inside a test host.
//
//	testhost run -- CMD ARG...   runs one command on a fresh host
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

const usage = `usage:
  testhost run [-memory MIB] [-disk MIB] [-libvirt] [-persist FILE] [-quiet] [--] CMD ARG...
      runs CMD on a fresh host whose disk, /dev/ubda, is filled with noise
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	var exit *testhost.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode > 0:
		os.Exit(exit.ExitCode)
	case err != nil:
		fmt.Fprintln(os.Stderr, "testhost:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		args = []string{"help"}
	}
	switch args[0] {
	case "run":
		return runCommand(ctx, args[1:])
	default:
		fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("no such command: %s", args[0])
	}
}

func runCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	memory := flags.Int64("memory", 2048, "the host's memory, in MiB")
	disk := flags.Int64("disk", 1024, "the size of /dev/ubda, in MiB")
	libvirt := flags.Bool("libvirt", false, "start libvirtd")
	persist := flags.String("persist", "", "the file of a disk that keeps /var/lib/vmmigrate and libvirt's domains")
	quiet := flags.Bool("quiet", false, "don't tell what is done")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options := testhost.Options{
		Memory:  *memory << 20,
		Disks:   []testhost.Disk{{Size: *disk << 20, Noise: true}},
		Persist: *persist, Libvirt: *libvirt,
	}
	if !*quiet {
		options.Log = os.Stderr
	}
	h, err := testhost.Start(ctx, options)
	if err != nil {
		return err
	}
	c := h.Command(flags.Args()...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	_, err = c.Run(ctx)
	return errors.Join(err, h.Stop())
}
