package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/migrate"
)

func (s *session) xmlCommand() *cli.Command {
	return &cli.Command{
		Name:      "xml",
		Usage:     "rewrite a domain definition; needs no libvirt",
		ArgsUsage: "[FILE|-]",
		Description: "Plumbing: reads a definition, prints it rewritten as run would, and what changed on\n" +
			"stderr. What is not to change stays byte for byte; what would be lost is an error.\n\n" +
			"Examples:\n" +
			"  # What would the clone look like?\n" +
			"  virsh dumpxml --inactive imap | vmmigrate xml --disk vda=/dev/mapper/cr_imap_vda\n" +
			"  # The same of a file, under a name of your own and with the old addresses.\n" +
			"  vmmigrate xml --name imap2 --keep-mac imap.xml",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "the clone's `NAME` (default: the VM's name and -luks)"},
			&cli.StringFlag{Name: "uuid", Usage: "the clone's `UUID` (default: a random one)"},
			&cli.BoolFlag{Name: "keep-mac", Usage: "keep the MAC addresses"},
			&cli.BoolFlag{Name: "allow-discards", Usage: "set discard='unmap' on the disks that move"},
			&cli.StringSliceFlag{KeepSpace: true, Name: "disk", Usage: "move the disk: `TARGET=DEVICE`; may be given several times"},
		},
		Action: s.xml,
	}
}

// maxXML is how much is read of a definition: a bit over what domainxml takes,
// so that it is the one to say that it is too large.
const maxXML = 64 << 20

func (s *session) xml(c *cli.Context) error {
	name, err := oneArgument(c)
	if err != nil {
		return err
	}
	disks, err := diskEdits(c.StringSlice("disk"))
	if err != nil {
		return err
	}
	text, err := s.readXML(c.Context, name)
	if err != nil {
		return err
	}
	domain, err := domainxml.Parse(text)
	if err != nil {
		return err
	}
	edit := domainxml.Edit{Name: c.String("name"), UUID: c.String("uuid"), Disks: disks, AllowDiscards: c.Bool("allow-discards")}
	if edit.Name == "" {
		edit.Name = domain.Name + "-luks"
	}
	if edit.UUID == "" {
		edit.UUID = uuid.NewString()
	}
	if !c.Bool("keep-mac") {
		for range domain.Interfaces() {
			mac, err := domainxml.NewMAC(rand.Reader, func(mac string) bool { return taken(domain, edit.MACs, mac) })
			if err != nil {
				return err
			}
			edit.MACs = append(edit.MACs, mac)
		}
	}
	rewritten, err := domainxml.Rewrite(text, edit)
	if err != nil {
		return err
	}
	if _, err := s.out.Write(rewritten.XML); err != nil {
		return fmt.Errorf("write the definition: %w", err)
	}
	for _, change := range rewritten.Changes {
		if !s.quiet {
			line(s.err, "%s", printable(changeLine(change)))
		}
	}
	for _, warning := range rewritten.Warnings {
		line(s.err, "vmmigrate: warning: %s", printable(warning.Text))
	}
	return nil
}

// changeLine tells of one change, without the text of whole elements.
func changeLine(change domainxml.Change) string {
	text := change.Path
	if change.Op == domainxml.Changed {
		text += ": " + change.Old + " -> " + change.New
	} else {
		text += ": " + string(change.Op)
	}
	if change.Why != "" {
		text += " (" + change.Why + ")"
	}
	return text
}

// diskEdits reads --disk TARGET=DEVICE.
func diskEdits(pairs []string) ([]domainxml.DiskEdit, error) {
	var edits []domainxml.DiskEdit
	for _, pair := range pairs {
		target, device, found := strings.Cut(pair, "=")
		if !found || target == "" || device == "" {
			return nil, &usageError{reason: fmt.Sprintf("--disk %q is not TARGET=DEVICE, as in vda=/dev/mapper/cr_imap_vda", pair), command: "xml"}
		}
		edits = append(edits, domainxml.DiskEdit{Target: target, Device: device})
	}
	return edits, nil
}

func taken(domain *domainxml.Domain, drawn []string, mac string) bool {
	for _, nic := range domain.Interfaces() {
		if strings.EqualFold(nic.MAC, mac) {
			return true
		}
	}
	for _, other := range drawn {
		if other == mac {
			return true
		}
	}
	return false
}

// definitionError says that there is no definition to rewrite.
type definitionError struct {
	from string
	err  error
}

func (e *definitionError) Error() string {
	return fmt.Sprintf("no definition from %s: %v", e.from, e.err)
}
func (e *definitionError) Unwrap() error { return e.err }

func (s *session) readXML(ctx context.Context, name string) ([]byte, error) {
	from := name
	read := func() ([]byte, error) {
		file, err := os.Open(name)
		if err != nil {
			return nil, reason(err)
		}
		defer file.Close()
		return io.ReadAll(io.LimitReader(file, maxXML))
	}
	if name == "" || name == "-" {
		if _, ok := s.terminalIn(); ok {
			return nil, &usageError{reason: "xml reads a definition from a file or a pipe, and standard input is the terminal", command: "xml"}
		}
		from = "standard input"
		read = func() ([]byte, error) { return io.ReadAll(io.LimitReader(s.in, maxXML)) }
	}
	text, err := awaited(ctx, read)
	if err == nil && len(text) == 0 {
		err = errors.New("it is empty")
	}
	var stopped *migrate.InterruptedError
	if errors.As(err, &stopped) {
		return nil, err
	}
	if err != nil {
		return nil, &definitionError{from, reason(err)}
	}
	return text, nil
}
