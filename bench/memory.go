package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

// memory measures that a source 64 times as large takes no more memory, and what
// two disks side by side take. No
// machine has room for a target of 64 GiB in memory, so what is written goes
// nowhere; all else is as ever: the source, a file without any data, is read
// block by block and hashed.
func memory(ctx context.Context, out io.Writer) error {
	me, err := self()
	if err != nil {
		return err
	}
	for _, c := range []struct {
		size  int64
		disks int
	}{{1 << 30, 1}, {64 << 30, 1}, {64 << 30, 2}} {
		m, err := run(ctx, []string{me, childCommand, "sparse", "-size", fmt.Sprint(c.size), "-disks", fmt.Sprint(c.disks)})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "resident memory for %d at once of %s: %s\n", c.disks, humanize.IBytes(uint64(c.size)), humanize.IBytes(uint64(m.memory)))
	}
	return nil
}

// unmapped hides that a source knows its holes, so that they are read.
type unmapped struct{ *blockcopy.SourceDevice }

// Data implements blockcopy.Mapped.
func (unmapped) Data(int64) (start, end int64, err error) { return 0, 0, errors.ErrUnsupported }

// nowhere is a target that forgets what it is given.
type nowhere struct{ size int64 }

func (n nowhere) Name() string                           { return "nowhere" }
func (n nowhere) Size() int64                            { return n.size }
func (n nowhere) Sync() error                            { return nil }
func (n nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (n nowhere) ReadAt(_ []byte, _ int64) (int, error)  { return 0, errors.ErrUnsupported }

func copySparse(size int64, job blockcopy.Job) (err error) {
	f, err := os.CreateTemp("", "vmmigrate-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if err := f.Truncate(size); err != nil {
		return err
	}
	s, err := blockcopy.OpenSource(f.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	job.Source, job.Target = unmapped{s}, nowhere{size}
	_, err = blockcopy.Copy(context.Background(), job)
	return err
}
