package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
)

// Cryptsetup is luks.Client with what is done to volumes only after the move.
type Cryptsetup struct {
	*luks.Client
	// Run runs cryptsetup.
	Run command.Runner
}

var _ Encryption = (*Cryptsetup)(nil)

// NewCryptsetup is a Cryptsetup that runs its commands through runner.
func NewCryptsetup(runner command.Runner) *Cryptsetup {
	return &Cryptsetup{Client: luks.New(runner), Run: runner}
}

// HeaderRestore overwrites the LUKS header on device with that in file
// (cryptsetup-luksHeaderRestore(8)). The volume may be open meanwhile.
// cryptsetup itself refuses a header of another payload offset or key size, and
// a file that is cut short.
func (c *Cryptsetup) HeaderRestore(ctx context.Context, device, file string) error {
	_, err := c.Run.Run(ctx, command.Cmd{Name: "cryptsetup", Args: []string{"luksHeaderRestore", "--batch-mode", "--header-backup-file=" + file, "--", device}})
	return err
}

// slotLine is how cryptsetup --verbose names the slot that a key unlocked.
var slotLine = regexp.MustCompile(`(?m)^Key slot (\d+) unlocked\.$`)

// noPermission is cryptsetup's exit code for a key that does not fit
// (cryptsetup(8), RETURN CODES).
const noPermission = 2

// KeySlot implements Encryption.
func (c *Cryptsetup) KeySlot(ctx context.Context, device string, key luks.Key) (int, error) {
	if key.Len() == 0 {
		return 0, &luks.KeyError{Reason: "it is empty"}
	}
	// The size of a short key stays untold, as in package luks; that of a long
	// one saves cryptsetup from growing its buffer by 4 KiB at a time.
	args := []string{"open", "--test-passphrase", "--type", "luks", "--batch-mode", "--verbose", "--key-file=-"}
	if key.Len() >= 64<<10 {
		args = append(args, "--keyfile-size", strconv.Itoa(key.Len()))
	}
	result, err := c.Run.Run(ctx, command.Cmd{Name: "cryptsetup", Args: append(args, "--", device), Stdin: key.Bytes(), ReadOnly: true})
	var said *command.Error
	if errors.As(err, &said) && said.ExitCode == noPermission && strings.Contains(said.Stderr, "No key available") {
		return 0, &luks.WrongKeyError{Device: device}
	}
	if err != nil {
		return 0, err
	}
	words := string(result.Stdout) + "\n" + string(result.Stderr)
	found := slotLine.FindStringSubmatch(words)
	if found == nil {
		return 0, fmt.Errorf("cryptsetup unlocked %q and did not say with which key slot", device)
	}
	return strconv.Atoi(found[1])
}

// KeyData implements Encryption.
func (c *Cryptsetup) KeyData(ctx context.Context, device string) (string, error) {
	header, err := c.Header(ctx, device)
	if err != nil {
		return "", err
	}
	args := []string{"luksDump", "--batch-mode"}
	if header.Type == luks.LUKS2 {
		args = append(args, "--dump-json-metadata")
	}
	result, err := c.Run.Run(ctx, command.Cmd{Name: "cryptsetup", Args: append(args, "--", device), ReadOnly: true})
	if err != nil {
		return "", err
	}
	if header.Type != luks.LUKS2 {
		// LUKS1 holds nothing but keys and salts. The first line names the
		// device.
		_, facts, _ := strings.Cut(string(result.Stdout), "\n")
		return facts, nil
	}
	return keyData(result.Stdout)
}

// keyData is a LUKS2 header's metadata without its config and tokens, in one
// spelling (LUKS2 On-Disk Format Specification 1.1.1, chapter 3).
func keyData(metadata []byte) (string, error) {
	var area map[string]any
	decoder := json.NewDecoder(bytes.NewReader(metadata))
	decoder.UseNumber()
	if err := decoder.Decode(&area); err != nil {
		return "", fmt.Errorf("the header's metadata is no JSON: %w", err)
	}
	delete(area, "config")
	delete(area, "tokens")
	text, err := json.Marshal(area) // sorts the names
	return string(text), err
}
