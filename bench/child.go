package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// childCommand as first argument makes this program one contender.
const childCommand = "contender"

func child(args []string) error {
	f := flag.NewFlagSet(childCommand, flag.ContinueOnError)
	verify := f.String("verify", "target", "none, digest, target or full")
	workers := f.Int("workers", 0, "chunks under way at once; 0: measured")
	format := f.String("format", "raw", "the source's format")
	block := f.Int64("block", 0, "bytes of one read or write; 0: measured")
	size := f.Int64("size", 0, "bytes of the source made up by sparse")
	disks := f.Int("disks", 1, "how many of them at once")
	if len(args) == 0 {
		return errors.New("what to do is missing")
	}
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	job := blockcopy.Job{Workers: *workers, BlockSize: *block, NoDigest: *verify == "none", Unchecked: *verify == "none" || *verify == "digest"}
	switch args[0] {
	case "copy":
		return copyDevices(f.Arg(0), image.Format(*format), f.Arg(1), job, *verify)
	case "sparse":
		errs := make([]error, *disks)
		var group sync.WaitGroup
		for i := range errs {
			group.Go(func() { errs[i] = copySparse(*size, job) })
		}
		group.Wait()
		return errors.Join(errs...)
	case "read", "write":
		return pass(f.Arg(0), args[0] == "write")
	}
	return fmt.Errorf("unknown work %q", args[0])
}

// copyDevices is what `vmmigrate run` does between opening and closing.
func copyDevices(source string, format image.Format, target string, job blockcopy.Job, verify string) (err error) {
	ctx := context.Background()
	s, err := openSource(ctx, source, format)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t, err := blockcopy.OpenTarget(target, s.Size())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	job.Source, job.Target, job.Done = s, t, blockcopy.NewChunks(s.Size())
	r, err := blockcopy.Copy(ctx, job)
	if err != nil {
		return err
	}
	fmt.Printf("%d workers, blocks of %d, direct %v and %v\n", r.Workers, r.BlockSize, r.SourceDirect, r.TargetDirect)
	check := blockcopy.VerifyJob{Payload: t, Chunks: job.Done}
	switch verify {
	case "full":
		check.Source = s
	case "target":
	default:
		return nil
	}
	_, err = blockcopy.Verify(ctx, check)
	return err
}

func openSource(ctx context.Context, path string, format image.Format) (migrate.Source, error) {
	if format == image.Raw {
		return blockcopy.OpenSource(path)
	}
	chain, err := image.Inspect(path, format)
	if err != nil {
		return nil, err
	}
	return image.Tools{OpenFile: func(path string) (image.File, error) { return blockcopy.OpenSource(path) }}.Open(ctx, chain)
}

// pass reads or writes a whole device and does nothing else: 16 blocks of
// 2 MiB under way, past the page cache, what is written being noise.
func pass(path string, write bool) error {
	const workers, block = 16, 2 << 20
	s, err := blockcopy.OpenSource(path)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // only read
	t, err := target(path, write)
	if err != nil {
		return err
	}
	memory, err := unix.Mmap(-1, 0, workers*block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	for i := range memory {
		memory[i] = byte(i*7 + i>>12)
	}
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		group.Go(func() {
			for errs[w] == nil {
				at := next.Add(block) - block
				if at >= s.Size() {
					return
				}
				b := memory[w*block:][:min(block, s.Size()-at)]
				if write {
					_, errs[w] = t.WriteAt(b, at)
				} else {
					_, errs[w] = s.ReadAt(b, at)
				}
			}
		})
	}
	group.Wait()
	if write {
		errs = append(errs, t.Sync(), t.Close())
	}
	return errors.Join(errs...)
}

func target(path string, write bool) (*blockcopy.TargetDevice, error) {
	if !write {
		return nil, nil
	}
	return blockcopy.OpenTarget(path, 0)
}
