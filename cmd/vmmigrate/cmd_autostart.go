package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/lifecycle"
)

func (s *session) autostartCommand() *cli.Command {
	return &cli.Command{
		Name:  "autostart",
		Usage: "have clones unlocked and started at boot",
		Description: "libvirt's own autostart fails for a clone, for its disks are locked at boot. These commands\n" +
			"have systemd unlock the disks first, start the VM then, and at shutdown lock the disks\n" +
			"once the guest is off.",
		Subcommands: []*cli.Command{s.autostartEnableCommand(), s.autostartDisableCommand()},
		Action:      groupAction,
	}
}

const categoryUnlock = "How the disks are unlocked"

func (s *session) autostartEnableCommand() *cli.Command {
	return &cli.Command{
		Name:      "enable",
		Usage:     "have a clone unlocked and started at boot, and locked at shutdown",
		ArgsUsage: "CLONE",
		Description: "Writes a line for each disk into /etc/crypttab and a drop-in for the clone's unit,\n" +
			"vmmigrate-guest@VM.service, and enables it; VM is the name that it had when it was moved.\n" +
			"Other lines of the crypttab keep every byte, and a copy of it is kept. libvirt's own\n" +
			"autostart is turned off. The path or URL of a method may stand behind a colon or as a word\n" +
			"of its own.\n\n" +
			"With tpm2, tang and fido2 each disk gets a further key slot, for which a key that fits is\n" +
			"asked for, and its header is backed up anew; the other keys stay. They need LUKS2.\n\n" +
			"A guest that can't be unlocked does not keep the host from booting. The same command\n" +
			"again mends what was taken away since. A guest that runs is left running, and is shut\n" +
			"down in order with the host from then on.\n\n" +
			"Examples:\n" +
			"  # Ask for the passphrase on the console at each boot.\n" +
			"  vmmigrate autostart enable imap-luks --unlock prompt\n" +
			"  # Unlock with a key file, which has to lie on an encrypted or removable disk.\n" +
			"  vmmigrate autostart enable imap-luks --unlock key-file /etc/keys/imap.key\n" +
			"  # Unlock while the tang server of this network can be reached.\n" +
			"  vmmigrate autostart enable imap-luks --unlock tang http://tang.example.org",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "unlock", Category: categoryUnlock, Usage: "unlock by `METHOD`: prompt, key-file PATH, tpm2, tang URL or fido2"},
			&cli.BoolFlag{Name: "force", Category: categoryUnlock, Usage: "take a key file that lies unencrypted: whoever has the host's disk then has the guest's"},
			&cli.StringFlag{Name: "tang-thumbprint", Category: categoryUnlock, Usage: "trust the tang server by its signing key `THP`, as tang-show-keys prints it there (default: it is shown and asked for)"},
			&cli.StringFlag{Name: "tpm2-device", Category: categoryUnlock, Usage: "use the TPM `DEVICE`, as systemd-cryptenroll takes it (default: auto)"},
			&cli.StringFlag{Name: "tpm2-pcrs", Category: categoryUnlock, Usage: "unlock only while the TPM's registers `PCRS` are as they are, such as 7 or 0+7 (default: systemd's)"},
			&cli.StringFlag{Name: "fido2-device", Category: categoryUnlock, Usage: "use the token `DEVICE`, as systemd-cryptenroll takes it (default: auto)"},
			&cli.BoolFlag{Name: "yes", Category: categoryUnlock, Usage: "trust whatever key the tang server shows, for scripts"},
			afterKeys(),
		}, keyFlags()),
		Action: s.autostartEnable,
	}
}

func (s *session) autostartDisableCommand() *cli.Command {
	return &cli.Command{
		Name:      "disable",
		Usage:     "take away what autostart enable has set up",
		ArgsUsage: "CLONE",
		Description: "Removes exactly what enable wrote, and turns libvirt's own autostart on again if it was. Key\n" +
			"slots that were made for it go too; a key that stays is asked for then, so that one which\n" +
			"is known to work is left. A clone that is gone by now is known by the name that it had. A\n" +
			"guest that runs is left running, and still shut down in order with the host.\n\n" +
			"Examples:\n" +
			"  # Start it by hand from now on.\n" +
			"  vmmigrate autostart disable imap-luks\n" +
			"  # The volumes are gone, or nobody has a key: leave their headers alone.\n" +
			"  vmmigrate autostart disable imap-luks --keep-slots",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "keep-slots", Usage: "leave the key slots that a TPM, a tang server or a token unlocks"},
			afterKeys(),
		}, keyFlags()...),
		Action: s.autostartDisable,
	}
}

// unlockOperand is what has to follow a method of --unlock, or "".
func unlockOperand(method boot.Method) string {
	switch method {
	case boot.KeyFile:
		return "path"
	case boot.Tang:
		return "URL"
	}
	return ""
}

// unlockOf reads --unlock and what follows it, and returns the clone's name as
// well. A path or URL may stand behind a colon, or be a word of its own: it is
// told from the name by its slash, which no VM's name has.
func unlockOf(c *cli.Context) (name string, unlock boot.Unlock, err error) {
	bad := func(format string, args ...any) (string, boot.Unlock, error) {
		return "", boot.Unlock{}, &usageError{reason: fmt.Sprintf(format, args...), command: pathOf(c)}
	}
	text := c.String("unlock")
	method, operand, joined := strings.Cut(text, ":")
	unlock.Method = boot.Method(method)
	what := unlockOperand(unlock.Method)
	switch {
	case text == "":
		return bad("autostart enable needs --unlock, which says how the disks are unlocked: %s", methodWords())
	case !slices.Contains(boot.Methods, unlock.Method):
		return bad("--unlock %q is none of %s", text, methodWords())
	case what == "" && joined:
		return bad("--unlock %s takes nothing behind it", method)
	}
	words := c.Args().Slice()
	if what != "" && !joined {
		i := slices.IndexFunc(words, func(word string) bool { return strings.ContainsRune(word, '/') })
		if i < 0 {
			return bad("--unlock %s needs a %s: as its next word, with a slash in it, or as --unlock %s:%s", method, what, method, strings.ToUpper(what))
		}
		operand = words[i]
		words = slices.Delete(words, i, i+1)
	}
	switch {
	case len(words) == 0 || words[0] == "":
		return bad("autostart enable needs the name of a clone")
	case len(words) > 1:
		return bad("autostart enable takes one name, not %d", len(words))
	case what != "" && operand == "":
		return bad("the %s of --unlock %s is empty", what, method)
	}
	for flag, of := range map[string]boot.Method{"force": boot.KeyFile, "tang-thumbprint": boot.Tang, "tpm2-device": boot.TPM2, "tpm2-pcrs": boot.TPM2, "fido2-device": boot.FIDO2} {
		if c.IsSet(flag) && of != unlock.Method {
			return bad("--%s goes with --unlock %s alone", flag, of)
		}
	}
	switch unlock.Method {
	case boot.KeyFile:
		unlock.KeyFile, err = filepath.Abs(operand)
	case boot.Tang:
		unlock.URL, unlock.Thumbprint = strings.TrimRight(operand, "/"), c.String("tang-thumbprint")
		err = boot.ValidTangURL(unlock.URL)
	case boot.TPM2:
		unlock.Device, unlock.PCRs = c.String("tpm2-device"), c.String("tpm2-pcrs")
	case boot.FIDO2:
		unlock.Device = c.String("fido2-device")
	}
	return words[0], unlock, err
}

func methodWords() string {
	var words []string
	for _, method := range boot.Methods {
		words = append(words, strings.TrimSpace(string(method)+" "+strings.ToUpper(unlockOperand(method))))
	}
	return strings.Join(words, ", ")
}

func (s *session) autostartEnable(c *cli.Context) error {
	name, unlock, err := unlockOf(c)
	if err != nil {
		return err
	}
	options := lifecycle.AutostartOptions{Unlock: unlock, Force: c.Bool("force")}
	options.Trust = func(ctx context.Context, url string) (string, error) {
		return s.trustTang(ctx, c, url, unlock.Thumbprint)
	}
	// The unit is to ask the same libvirt; the default one it finds itself.
	if uri := c.String(flagConnect); uri != defaultConnect {
		options.Connect = uri
	}
	if s.stateDir != defaultStateDir {
		if options.StateDir, err = filepath.Abs(s.stateDir); err != nil {
			return err
		}
	}
	return s.autostart(c, name, func(ctx context.Context, m *lifecycle.Manager) (bool, error) {
		if program := boot.Enroller(unlock.Method); program != "" {
			if err := s.installed(program); err != nil {
				return false, before(err)
			}
		}
		return m.EnableAutostart(ctx, name, options)
	})
}

// trustTang returns the thumbprint of the key by which a tang server is
// trusted: that which was wanted, if it has it, or one that a person trusts.
func (s *session) trustTang(ctx context.Context, c *cli.Context, url, wanted string) (string, error) {
	keys, err := boot.TangKeys(ctx, url)
	if err != nil {
		return "", err
	}
	if wanted != "" {
		if !slices.Contains(keys, wanted) {
			return "", &boot.TangTrustError{URL: url, Wanted: wanted, Offered: keys}
		}
		return wanted, nil
	}
	if !c.Bool("yes") {
		line(s.err, "%s", printable("The tang server "+url+" signs with:"))
		for _, key := range keys {
			line(s.err, "  %s", printable(key))
		}
		line(s.err, "Compare with what tang-show-keys prints on that server: another in its place could unlock the disks.")
	}
	return keys[0], s.confirm(ctx, c, "Is that the server's key?")
}

func (s *session) autostartDisable(c *cli.Context) error {
	name, err := oneClone(c)
	if err != nil {
		return err
	}
	return s.autostart(c, name, func(ctx context.Context, m *lifecycle.Manager) (bool, error) {
		return m.DisableAutostart(ctx, name, lifecycle.DisableOptions{KeepSlots: c.Bool("keep-slots")})
	})
}

// autostart changes what is set up for a clone, and backs its headers up anew
// where that changed its keys.
func (s *session) autostart(c *cli.Context, name string, do func(context.Context, *lifecycle.Manager) (keysChanged bool, err error)) error {
	return s.withKeys(c, name, func(ctx context.Context, m *lifecycle.Manager, name string) (bool, error) { return do(ctx, m) }, s.backUpAnew(c))
}
