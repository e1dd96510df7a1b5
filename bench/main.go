package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// options are what the command line asks for.
type options struct {
	size   int64
	rounds int
	rate   int64
	crypt  bool
	folder string
	only   string
	memory bool
	slow   bool
	images bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		exit(child(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	exit(bench(ctx, os.Args[1:], os.Stdout))
}

func exit(err error) {
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (options, error) {
	var o options
	var size, rate string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&size, "size", "1GiB", "bytes of source and target each; both are in memory")
	f.IntVar(&o.rounds, "rounds", 7, "how often each contender runs")
	f.StringVar(&rate, "rate", "0", "hold both devices to so many bytes a second, so that they and not the processor are the limit; 0: as fast as they are")
	f.BoolVar(&o.crypt, "crypt", false, "put dm-crypt (aes-xts-plain64, 512-bit key) on the target")
	f.StringVar(&o.folder, "folder", "", "where the devices' files are made; default: a tmpfs of its own")
	f.StringVar(&o.only, "only", "", "contenders to run, separated by commas, by the start of their names")
	f.BoolVar(&o.memory, "memory", true, "measure resident memory for 1 GiB and 64 GiB as well")
	f.BoolVar(&o.slow, "slow", true, "run the contenders that are known to be slow, too")
	f.BoolVar(&o.images, "images", false, "measure copies of qcow2 images, and nothing else")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	n, err := humanize.ParseBytes(size)
	if err != nil || n < 16<<20 || n > 1<<40 || o.rounds < 1 || f.NArg() > 0 {
		return o, fmt.Errorf("usage: bench [-size 1GiB] [-rounds 7] ...: %w", errors.Join(err, flag.ErrHelp))
	}
	r, err := humanize.ParseBytes(rate)
	if err != nil || r > 1<<40 || r > 0 && o.crypt {
		return o, fmt.Errorf("-rate %s: a size, and not with -crypt: %w", rate, errors.Join(err, flag.ErrHelp))
	}
	o.rate = int64(r)
	o.size = int64(n) &^ (1<<20 - 1)
	return o, nil
}

func bench(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	d, err := makeDevices(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.remove(context.WithoutCancel(ctx))) }()
	heading(out, o, d)
	if o.images {
		return images(ctx, out, o, d)
	}

	list, err := contenders(d, o)
	if err != nil {
		return err
	}
	if err := proof(ctx, out, d, list); err != nil {
		return err
	}
	results := map[string][]measurement{}
	for round := range o.rounds {
		for _, i := range rand.Perm(len(list)) {
			if list[i].slow && round >= slowRounds {
				continue
			}
			m, err := list[i].run(ctx)
			if err != nil {
				return err
			}
			results[list[i].name] = append(results[list[i].name], m)
		}
		fmt.Fprintf(os.Stderr, "round %d of %d done\n", round+1, o.rounds)
	}
	report(out, o.size, list, results)
	judge(out, results)
	if o.memory {
		return memory(ctx, out)
	}
	return nil
}

// proof runs each contender once onto a target full of noise and compares
// every byte: one that skips some would look fast. It warms up, too.
func proof(ctx context.Context, out io.Writer, d *devices, list []contender) error {
	for _, c := range list {
		if c.source == "" {
			continue
		}
		if err := d.scribble(); err != nil {
			return err
		}
		if _, err := c.run(ctx); err != nil {
			return err
		}
		same, err := equal(c.source, d.target)
		if err != nil {
			return err
		}
		if !same {
			fmt.Fprintf(out, "note: %q left a target that differs from its source\n", c.name)
			if strings.HasPrefix(c.name, ours) {
				return fmt.Errorf("%s: the target differs from the source", c.name)
			}
		}
	}
	return nil
}
