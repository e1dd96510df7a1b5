package main

import (
	"cmp"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
)

func (s *session) verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "read source and clone's disks again and compare every byte",
		ArgsUsage: "VM|CLONE|JOB",
		Description: "Changes nothing. Both VMs have to be off, and the clone's disks open. After the clone\n" +
			"has been started its disks differ, and that is no fault.\n\n" +
			"Exits 0 if all bytes are the same and 5 if not.\n\n" +
			"Examples:\n" +
			"  # Compare once more before the original's disks are given up.\n" +
			"  vmmigrate verify imap\n" +
			"  # One document with the digests, for the record.\n" +
			"  vmmigrate verify imap --output json",
		Action: s.verify,
	}
}

func (s *session) verify(c *cli.Context) error {
	name, err := oneArgument(c)
	if err != nil {
		return err
	}
	if name == "" {
		return &usageError{reason: "verify needs the name of a VM, a clone or a job", command: "verify"}
	}
	if err := s.needRoot(c); err != nil {
		return err
	}
	info, err := s.store(c).Find(name, migrate.Any)
	if err = cmp.Or(err, info.Err); err != nil {
		return err // a damaged journal is found by its id
	}
	env, closeHost, err := s.host(c.Context, c, true)
	if err != nil {
		return err
	}
	defer closeHost()
	reporter := s.progressOnly()
	env.Reporter = reporter
	found, err := (&migrate.Engine{Env: env}).Verify(c.Context, info.ID)
	reporter.end()
	if s.json && len(found) > 0 {
		if encodeErr := writeDocument(s.out, verifyDocument{info.ID, info.Plan.VM, err == nil, found}); encodeErr != nil {
			return encodeErr
		}
		return err
	}
	for _, v := range found {
		if v.Equal {
			fmt.Fprintf(s.out, "%s  equal   %s  %s\n", printable(v.Target), humanize.IBytes(uint64(v.Bytes)), v.Digest)
		} else {
			fmt.Fprintf(s.out, "%s  DIFFERS %s  %s\n", printable(v.Target), humanize.IBytes(uint64(v.Bytes)), v.Difference)
		}
	}
	if err != nil {
		return err
	}
	return printed(s.out)
}
