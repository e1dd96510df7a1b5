package main

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/luks"
)

func (s *session) headerCommand() *cli.Command {
	return &cli.Command{
		Name:  "header",
		Usage: "back up, check and restore the LUKS headers of clones",
		Description: "A volume whose LUKS header is damaged is lost for ever, whatever key there is. A backup\n" +
			"of the header brings it back. Whoever has a backup and a key that fitted then can open\n" +
			"the volume, even after that key was taken away: keep it as you keep a key.",
		Subcommands: []*cli.Command{s.headerBackupCommand(), s.headerCheckCommand(), s.headerRestoreCommand()},
		Action:      groupAction,
	}
}

// groupAction is that of a command that only holds others.
func groupAction(c *cli.Context) error {
	var known []string
	for _, sub := range c.Command.Subcommands {
		known = append(known, sub.Name)
	}
	name := c.Args().First()
	if name == "" {
		return &usageError{reason: fmt.Sprintf("%s needs a command: %s", pathOf(c), strings.Join(known, ", ")), command: pathOf(c)}
	}
	return &usageError{reason: fmt.Sprintf("there is no command %q of %s%s", name, pathOf(c), didYouMean(name, known)), command: pathOf(c)}
}

func (s *session) headerBackupCommand() *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "save the LUKS headers of a clone's disks",
		ArgsUsage: "CLONE",
		Description: "Writes each header to a new file that its owner alone may read, and beside it, with the\n" +
			"suffix .sha256, its digest, the volume's UUID and the date, for sha256sum -c. It makes no\n" +
			"difference whether the clone runs or is locked. Nothing is ever replaced.\n\n" +
			"Without --out the files go to the folder headers of the state directory. Move them off\n" +
			"this host: there they are lost with it.\n\n" +
			"Examples:\n" +
			"  # Save them on a stick.\n" +
			"  vmmigrate header backup imap-luks --out /media/stick\n" +
			"  # Save one disk's to a file of a name of your own.\n" +
			"  vmmigrate header backup imap-luks --disk vda --out /media/stick/imap.header",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "write to `PATH`: a folder, or a new file for one disk (default: headers in the state directory)"},
			&cli.StringFlag{Name: "disk", Usage: "save that of the disk `TARGET` only"},
		},
		Action: s.headerBackup,
	}
}

func (s *session) headerBackup(c *cli.Context) error {
	name, err := oneClone(c)
	if err != nil {
		return err
	}
	for _, flag := range []string{"out", "disk"} {
		if c.IsSet(flag) && c.String(flag) == "" {
			return &usageError{reason: "--" + flag + " is empty", command: pathOf(c)}
		}
	}
	m, closeHost, err := s.manager(c.Context, c, nil, writes)
	if err != nil {
		return err
	}
	defer closeHost()
	if !s.json {
		m.Report = s.lifeReporter().report
	}
	made, err := m.SaveHeaders(c.Context, name, lifecycle.SaveOptions{Out: c.String("out"), Disk: c.String("disk")})
	if err != nil {
		return err
	}
	if s.json {
		return writeDocument(s.out, headerBackupDocument{made})
	}
	if c.String("out") == "" && !s.quiet {
		line(s.out, "Move them off this host: there they are lost with it.")
	}
	return nil
}

func (s *session) headerCheckCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "hold header backups against the volumes' headers",
		ArgsUsage: "CLONE [FILE]",
		Description: "Reads a backup, checks its digest, and compares it with the header that the volume has\n" +
			"now. Without FILE it takes the newest backup of each disk that is known of. Changes\n" +
			"nothing.\n\n" +
			"Exits 0 if every backup opens with the keys that its volume has, and 5 if one is missing\n" +
			"or damaged, or if keys were changed since it was made.\n\n" +
			"Examples:\n" +
			"  # Are the backups still good?\n" +
			"  vmmigrate header check imap-luks\n" +
			"  # Is the one on the stick?\n" +
			"  vmmigrate header check imap-luks /media/stick/imap.header",
		Action: s.headerCheck,
	}
}

// cloneAndFile are the arguments of a command that takes a clone and a file.
func cloneAndFile(c *cli.Context, needed bool) (name, file string, err error) {
	args := c.Args().Slice()
	bad := func(reason string) error { return &usageError{reason: pathOf(c) + " " + reason, command: pathOf(c)} }
	switch {
	case len(args) > 2:
		return "", "", bad(fmt.Sprintf("takes the name of a clone and a file, not %d words", len(args)))
	case needed && len(args) < 2:
		return "", "", bad("needs the name of a clone and a file")
	case len(args) == 0:
		return "", "", bad("needs the name of a clone")
	case args[0] == "" || len(args) == 2 && args[1] == "":
		return "", "", bad("was given an empty name")
	}
	if len(args) == 2 {
		file = args[1]
	}
	return args[0], file, nil
}

func (s *session) headerCheck(c *cli.Context) error {
	name, file, err := cloneAndFile(c, false)
	if err != nil {
		return err
	}
	m, closeHost, err := s.manager(c.Context, c, nil, writes)
	if err != nil {
		return err
	}
	defer closeHost()
	checks, err := m.CheckHeaders(c.Context, name, file)
	if err != nil {
		return before(err)
	}
	return s.showChecks(name, checks)
}

// showChecks prints what came of a check and returns its failure, if it is one.
func (s *session) showChecks(name string, checks []lifecycle.HeaderCheck) error {
	failed := &headerCheckError{clone: name}
	for _, check := range checks {
		if check.Verdict != lifecycle.Current && check.Verdict != lifecycle.SameKeys {
			failed.checks = append(failed.checks, check)
		}
	}
	if s.json {
		if err := writeDocument(s.out, headerCheckDocument{VM: name, Good: len(failed.checks) == 0, Checks: checks}); err != nil {
			return err
		}
	} else {
		for _, check := range checks {
			where := ""
			if check.File != "" {
				where = ": " + check.File
			}
			line(s.out, "%s", printable(fmt.Sprintf("%s  %s%s", check.Disk, check.Verdict, where)))
			for _, note := range check.Notes {
				line(s.out, "     %s", printable(note))
			}
		}
	}
	if len(failed.checks) > 0 {
		return failed
	}
	return printed(s.out)
}

// headerCheckError says that header backups are not as they should be.
type headerCheckError struct {
	clone  string
	checks []lifecycle.HeaderCheck
}

func (e *headerCheckError) Error() string {
	var disks []string
	for _, check := range e.checks {
		disks = append(disks, fmt.Sprintf("%s is %s", check.Disk, check.Verdict))
	}
	return fmt.Sprintf("the header backups of %q are not all good: %s", e.clone, strings.Join(disks, ", "))
}

func (s *session) headerRestoreCommand() *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "overwrite a damaged LUKS header with its backup",
		ArgsUsage: "CLONE FILE",
		Description: "Shows the volume's header and the backup's and asks. The present header is kept in the\n" +
			"state directory first. Refused are a backup of another volume, and one that does not fit\n" +
			"its volume in type, offset or size. The keys are then those of the backup's time. An\n" +
			"open volume, as under a running guest, may be restored: its payload is not touched.\n\n" +
			"Examples:\n" +
			"  # The header was overwritten; bring it back.\n" +
			"  vmmigrate header restore imap-luks /media/stick/imap.header\n" +
			"  # Without a question.\n" +
			"  vmmigrate header restore imap-luks /media/stick/imap.header --yes",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "yes", Usage: "do not ask, for scripts"}},
		Action: s.headerRestore,
	}
}

func (s *session) headerRestore(c *cli.Context) error {
	name, file, err := cloneAndFile(c, true)
	if err != nil {
		return err
	}
	m, closeHost, err := s.manager(c.Context, c, nil, writes)
	if err != nil {
		return err
	}
	defer closeHost()
	m.Report = s.lifeReporter().report
	kept, err := m.RestoreHeader(c.Context, name, file, func(r lifecycle.Restore) error {
		s.showRestore(r)
		return s.confirm(c.Context, c, fmt.Sprintf("Overwrite the header of %s, disk %s of %s?", r.Volume, r.Disk, r.Clone))
	})
	if err == nil && kept != "" {
		line(s.people(), "%s", printable("What was there before is in "+kept))
	}
	return err
}

// showRestore shows both headers side by side.
func (s *session) showRestore(r lifecycle.Restore) {
	where := "NOW, ON " + r.Volume
	if r.HeaderFile != "" {
		where = "NOW, IN " + r.HeaderFile
	}
	t := tableFor(s.err, "", where, "BACKUP")
	live := headerFacts(r.Live)
	saved := headerFacts(&r.Backup)
	for i, name := range []string{"type", "UUID", "cipher", "payload from", "key slots"} {
		t.add(name, live[i], saved[i])
	}
	made := "not known"
	if r.Made != nil {
		made = r.Made.Made.Local().Format("2006-01-02 15:04")
	}
	t.add("made", "", made)
	line(s.err, "%s", t.text(0))
}

func headerFacts(h *luks.Header) []string {
	if h == nil {
		return []string{"damaged or gone", "-", "-", "-", "-"}
	}
	var slots []string
	for _, slot := range h.Keyslots {
		slots = append(slots, fmt.Sprint(slot.ID))
	}
	return []string{string(h.Type), h.UUID, h.Cipher, humanize.IBytes(uint64(h.Offset)), strings.Join(slots, ", ")}
}
