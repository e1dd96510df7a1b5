package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/domainxml"
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
			&cli.StringSliceFlag{Name: "disk", Usage: "move the disk: `TARGET=DEVICE`; may be given several times"},
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
	text, err := s.readXML(name)
	if err != nil {
		return err
	}
	domain, err := domainxml.Parse(text)
	if err != nil {
		return err
	}
	edit := domainxml.Edit{Name: c.String("name"), UUID: c.String("uuid"), AllowDiscards: c.Bool("allow-discards")}
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
	for _, pair := range c.StringSlice("disk") {
		target, device, found := strings.Cut(pair, "=")
		if !found || target == "" || device == "" {
			return &usageError{reason: fmt.Sprintf("--disk %q is not TARGET=DEVICE, as in vda=/dev/mapper/cr_imap_vda", pair), command: "xml"}
		}
		edit.Disks = append(edit.Disks, domainxml.DiskEdit{Target: target, Device: device})
	}
	rewritten, err := domainxml.Rewrite(text, edit)
	if err != nil {
		return err
	}
	if _, err := s.out.Write(rewritten.XML); err != nil {
		return fmt.Errorf("write the definition: %w", err)
	}
	for _, warning := range rewritten.Warnings {
		fmt.Fprintf(s.err, "vmmigrate: warning: %s\n", warning)
	}
	return nil
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

func (s *session) readXML(name string) ([]byte, error) {
	from := io.Reader(s.in)
	if name != "" && name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	} else if _, ok := s.terminalIn(); ok {
		return nil, &usageError{reason: "xml reads a definition from a file or a pipe, and standard input is the terminal", command: "xml"}
	}
	text, err := io.ReadAll(io.LimitReader(from, maxXML))
	if err != nil {
		return nil, fmt.Errorf("read the definition: %w", err)
	}
	if len(text) == 0 {
		return nil, errors.New("read the definition: it is empty")
	}
	return text, nil
}
