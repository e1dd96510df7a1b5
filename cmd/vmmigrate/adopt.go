package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/virtinstall"
)

// adoptFlags are those with which plan and run make a VM of images.
func adoptFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{KeepSpace: true, Name: "disk", Category: categoryAdopt, Usage: "make a VM, called by --name, whose disk is the image or device `PATH`; may be given several times, in order"},
		&cli.StringFlag{Name: "format", Category: categoryAdopt, Usage: "the images are of `FORMAT`: raw, qcow2, vmdk or vdi; it is never found by looking (default: raw)"},
		&cli.StringFlag{Name: "template", Category: categoryAdopt, Usage: "take the definition in `FILE`, a domain's XML, with the images in the places of its disks (default: virt-install drafts one)"},
		&cli.StringFlag{Name: "memory", Category: categoryAdopt, Usage: "give the drafted VM `SIZE` of memory, such as 4G (default: 2G)"},
		&cli.IntFlag{Name: "vcpus", Category: categoryAdopt, Usage: "give it `N` virtual CPUs (default: 2)"},
		&cli.StringFlag{Name: "network", Category: categoryAdopt, Usage: "connect it to `NETWORK`, as virt-install has it: network=default, bridge=br0 (default: to none)"},
		&cli.StringFlag{Name: "boot", Category: categoryAdopt, Usage: "have it boot by `FIRMWARE`: bios or uefi (default: bios)"},
		&cli.StringFlag{Name: "osinfo", Category: categoryAdopt, Usage: "give it devices that the operating system `ID` has drivers for, such as debian11 or win2k16 (default: such as any has)"},
	}
}

// checkAdoptFlags refuses flags of an adoption that make no sense whatever the
// host looks like.
func checkAdoptFlags(c *cli.Context) error {
	refuse := func(format string, args ...any) error {
		return &usageError{reason: fmt.Sprintf(format, args...), command: c.Command.Name}
	}
	if !c.IsSet("disk") {
		for _, flag := range adoptFlags() {
			if name := flag.Names()[0]; c.IsSet(name) && !c.IsSet("plan") {
				return refuse("--%s goes with --disk, which names the image", name)
			}
		}
		return nil
	}
	for _, name := range []string{"vm", "all", "plan", "save", "skip-disk", "keep-mac"} {
		if c.IsSet(name) {
			return refuse("--disk makes a VM of an image that has none, and can't go with --%s", name)
		}
	}
	if c.String("name") == "" {
		return refuse("--disk needs --name NAME, what the VM is to be called")
	}
	if slices.Contains(c.StringSlice("disk"), "") {
		return refuse("--disk was given an empty name")
	}
	if format := image.Format(c.String("format")); c.IsSet("format") && !slices.Contains(migrate.Formats(), format) {
		return refuse("--format %q is none of raw, qcow2, vmdk, vdi", format)
	}
	if boot := c.String("boot"); c.IsSet("boot") && boot != "bios" && boot != "uefi" {
		return refuse("--boot %q is neither bios nor uefi", boot)
	}
	if c.IsSet("vcpus") && c.Int("vcpus") < 1 {
		return refuse("--vcpus %d: it needs one at least", c.Int("vcpus"))
	}
	memory, err := size(c, "memory")
	if err != nil {
		return err
	}
	if c.IsSet("memory") && memory < 1<<20 {
		return refuse("--memory %q is less than 1M; write it like 4G", c.String("memory"))
	}
	if c.IsSet("template") {
		for _, name := range []string{"memory", "vcpus", "network", "boot", "osinfo"} {
			if c.IsSet(name) {
				return refuse("--%s can't go with --template: the template says it itself", name)
			}
		}
		if c.String("template") == "" {
			return refuse("--template was given an empty name")
		}
	}
	return nil
}

// adopt plans the VM that the flags make of images.
func adopt(ctx context.Context, c *cli.Context, env *migrate.Env, facts *migrate.Facts, decider *migrate.Decider, chosen migrate.Options) (*migrate.Plan, error) {
	memory, err := size(c, "memory")
	if err != nil {
		return nil, err
	}
	adoption := migrate.Adoption{
		Name: c.String("name"), Format: image.Format(c.String("format")), TemplateFile: c.String("template"),
		Machine: virtinstall.Machine{Memory: memory, VCPUs: c.Int("vcpus"), Network: c.String("network"), UEFI: c.String("boot") == "uefi", OS: c.String("osinfo")},
	}
	for _, path := range c.StringSlice("disk") {
		if path, err = filepath.Abs(path); err != nil {
			return nil, before(err)
		}
		adoption.Disks = append(adoption.Disks, path)
	}
	if adoption.TemplateFile != "" {
		if adoption.Template, err = readTemplate(adoption.TemplateFile); err != nil {
			return nil, before(&migrate.TemplateError{From: "the template " + adoption.TemplateFile, Err: err})
		}
	}
	vm, err := env.GatherAdoption(ctx, facts, adoption)
	if err != nil {
		return nil, before(err)
	}
	plan, err := decider.Adopt(vm, chosen)
	return plan, before(err)
}

// templateMax is more than any definition has: what is larger is another file.
const templateMax = 16 << 20

// readTemplate reads a definition, and neither waits for a FIFO nor reads a disk
// that was named by mistake.
func readTemplate(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, bareError(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case info.Size() > templateMax:
		return nil, fmt.Errorf("it has %d bytes, which no definition has", info.Size())
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, bareError(err)
	}
	defer file.Close() // it was only read
	return io.ReadAll(io.LimitReader(file, templateMax))
}

// bareError is an error without the path, which is told beside it.
func bareError(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
