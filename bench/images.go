package main

import (
	"context"
	crypto "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// imageKind is a kind of qcow2 image that is measured.
type imageKind struct {
	name string
	// convert are qemu-img's arguments that make it.
	convert []string
}

func imageKinds() []imageKind {
	return []imageKind{
		{"plain", nil},
		{"zlib", []string{"-c"}},
		{"zstd", []string{"-c", "-o", "compression_type=zstd"}},
		{"extended L2", []string{"-o", "extended_l2=on,cluster_size=128k"}},
	}
}

// images measures copies of qcow2 images onto the target beside qemu-img, as it
// comes and tuned.
func images(ctx context.Context, out io.Writer, o options, d *devices) error {
	content := filepath.Join(d.folder, "content")
	if err := fillHalf(content, d.size); err != nil {
		return err
	}
	me, err := self()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tMB/s\tqemu-img\ttuned\t× qemu-img\t× tuned\twithout digests × qemu-img\t× tuned")
	for _, kind := range imageKinds() {
		path := filepath.Join(d.folder, "image")
		args := append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, kind.convert...), content, path)
		if _, err := (command.Local{}).Run(ctx, command.Cmd{Name: "qemu-img", Args: args}); err != nil {
			return err
		}
		our := func(verify string) []string {
			return []string{me, childCommand, "copy", "-format", "qcow2", "-verify", verify, path, d.target}
		}
		list := []contender{
			{name: ours, argv: our("digest"), source: content},
			{name: ours + ", verify none", argv: our("none"), source: content},
			{name: "qemu-img", argv: []string{"qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", path, d.target}, source: content},
			{name: tuned, argv: []string{"qemu-img", "convert", "-n", "-m", "16", "-W", "-T", "none", "-t", "none", "-f", "qcow2", "-O", "raw", path, d.target}, source: content},
		}
		if err := proof(ctx, out, d, list); err != nil {
			return err
		}
		results := map[string][]float64{}
		for range o.rounds {
			for _, i := range rand.Perm(len(list)) {
				m, err := list[i].run(ctx)
				if err != nil {
					return err
				}
				results[list[i].name] = append(results[list[i].name], m.wall.Seconds())
			}
		}
		mb := func(name string) float64 { return float64(d.size) / 1e6 / median(results[name]) }
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%s\t%s\t%s\t%s\n", kind.name, mb(ours), mb("qemu-img"), mb(tuned),
			ratio(results["qemu-img"], results[ours]), ratio(results[tuned], results[ours]),
			ratio(results["qemu-img"], results[ours+", verify none"]), ratio(results[tuned], results[ours+", verify none"]))
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return t.Flush()
}

// fillHalf makes a file that compresses to about half, and of which a tenth is
// holes.
func fillHalf(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	b := make([]byte, 1<<20)
	for at := int64(0); at < size && err == nil; at += int64(len(b)) {
		if at>>20%10 == 9 {
			continue
		}
		_, _ = crypto.Read(b[:len(b)/2]) // it never fails
		for i := len(b) / 2; i < len(b); i += 16 {
			copy(b[i:], "a line of a log\n")
		}
		_, err = f.WriteAt(b[:min(int64(len(b)), size-at)], at)
	}
	return errors.Join(err, f.Truncate(size), f.Close())
}
