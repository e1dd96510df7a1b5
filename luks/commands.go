package luks

import (
	"slices"
	"strconv"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// The commands below are what Client runs, for whoever wants to show them
// before they are run. The keys are on standard input and on further file
// descriptors, never among the arguments; a zero Key is one that is not known
// yet.

// FormatCommand is the cryptsetup that Format runs (cryptsetup-luksFormat(8)).
func FormatCommand(spec FormatSpec, key Key) command.Cmd {
	if spec.Type == "" {
		spec.Type = LUKS2
	}
	cmd := keyed(spec.args(), key, spec.Device)
	// It notes a SIGTERM and goes on deriving the key all the same, for seconds.
	// Killed, it leaves half a header, which the next format replaces.
	cmd.Grace = time.Second
	return cmd
}

// OpenCommand is the cryptsetup that Open runs (cryptsetup-open(8)).
func OpenCommand(device, mapper string, key Key, options OpenOptions) command.Cmd {
	return keyed(options.args(), key, device, mapper)
}

// HeaderBackupCommand is the cryptsetup that HeaderBackup runs
// (cryptsetup-luksHeaderBackup(8)).
func HeaderBackupCommand(device, file string) command.Cmd {
	return command.Cmd{Name: "cryptsetup", Args: []string{"luksHeaderBackup", "--batch-mode", "--header-backup-file=" + file, "--", device}}
}

// CloseCommand is the cryptsetup that Close runs (cryptsetup-close(8)).
func CloseCommand(mapper string) command.Cmd {
	return command.Cmd{Name: "cryptsetup", Args: []string{"close", "--", mapper}}
}

// largeKey is from where on cryptsetup is told a key's size. Without it,
// cryptsetup grows its buffer by 4 KiB and copies it each time: a minute and
// more for 8 MiB. A short key's size stays untold, for arguments can be seen
// by anyone on the host and a passphrase's length is worth something.
const largeKey = 64 << 10

// keyed is a cryptsetup on operands with the key on its standard input, taken
// byte for byte (cryptsetup(8), NOTES ON PASSPHRASE PROCESSING: with
// --key-file=- no newline ends or leaves it).
func keyed(args []string, key Key, operands ...string) command.Cmd {
	args = append(slices.Clone(args), "--key-file=-")
	if key.Len() >= largeKey {
		args = append(args, "--keyfile-size", strconv.Itoa(key.Len()))
	}
	return command.Cmd{Name: "cryptsetup", Args: append(append(args, "--"), operands...), Stdin: key.Bytes()}
}
