package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
)

var _ Enroller = (*Cryptsetup)(nil)

// Tokens implements Enroller. A LUKS1 header has none.
func (c *Cryptsetup) Tokens(ctx context.Context, device string) ([]Token, error) {
	result, err := c.Run.Run(ctx, command.Cmd{Name: "cryptsetup", Args: []string{"luksDump", "--batch-mode", "--dump-json-metadata", "--", device}, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	return parseTokens(result.Stdout)
}

// parseTokens reads the tokens of a LUKS2 header's JSON (LUKS2 On-Disk Format
// Specification 1.1.1, chapter 3.6): numbers are strings there.
func parseTokens(metadata []byte) ([]Token, error) {
	var area struct {
		Tokens map[string]struct {
			Type     string   `json:"type"`
			Keyslots []string `json:"keyslots"`
		} `json:"tokens"`
	}
	if err := json.Unmarshal(metadata, &area); err != nil {
		return nil, fmt.Errorf("the header's metadata is no JSON: %w", err)
	}
	var tokens []Token
	for id, t := range area.Tokens {
		n, err := strconv.Atoi(id)
		if err != nil {
			return nil, fmt.Errorf("a token is called %q", id)
		}
		token := Token{ID: n, Type: t.Type}
		for _, text := range t.Keyslots {
			slot, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("token %d is for the key slot %q", n, text)
			}
			token.Slots = append(token.Slots, slot)
		}
		tokens = append(tokens, token)
	}
	slices.SortFunc(tokens, func(a, b Token) int { return a.ID - b.ID })
	return tokens, nil
}

// RemoveToken implements Enroller (cryptsetup-token(8)).
func (c *Cryptsetup) RemoveToken(ctx context.Context, device string, id int) error {
	_, err := c.Run.Run(ctx, command.Cmd{Name: "cryptsetup", Args: []string{"token", "remove", "--batch-mode", "--token-id", strconv.Itoa(id), "--", device}})
	return err
}

// EnrollError says that a TPM, a token or a tang server could not be given a
// key to a volume. The volume's header is as it was.
type EnrollError struct {
	Method boot.Method
	Device string
	// Missing is whether the TPM or token is not there.
	Missing bool
	Err     error
}

func (e *EnrollError) Error() string {
	if e.Missing {
		return fmt.Sprintf("this host has no %s that could unlock %s", deviceWords[e.Method], e.Device)
	}
	return fmt.Sprintf("%s could not be enrolled for %s: %v", e.Method, e.Device, e.Err)
}

// Unwrap returns the cause.
func (e *EnrollError) Unwrap() error { return e.Err }

var deviceWords = map[boot.Method]string{boot.TPM2: "TPM 2.0", boot.FIDO2: "FIDO2 token"}

// Enroll implements Enroller. The key goes to the tool in a file in memory.
func (c *Cryptsetup) Enroll(ctx context.Context, device string, unlock boot.Unlock, key luks.Key) (remarks []string, err error) {
	result, err := c.Run.Run(ctx, enrollCommand(device, unlock, key))
	var missing *command.NotFoundError
	if err == nil {
		return remarksOf(string(result.Stderr)), nil
	}
	if errors.As(err, &missing) || ctx.Err() != nil {
		return nil, err
	}
	failed := &EnrollError{Method: unlock.Method, Device: device, Err: err}
	var said *command.Error
	if errors.As(err, &said) {
		// systemd 252, tpm2-util.c and libfido2-util.c. The third is what it
		// says where there is no /dev/tpmrm0.
		for _, words := range []string{"No TPM2 device found", "TPM2 support is not installed", "Failed to initialize TCTI context", "No FIDO2 devices found", "No FIDO devices found"} {
			failed.Missing = failed.Missing || strings.Contains(said.Stderr, words)
		}
	}
	return nil, failed
}

// remarksOf are what a tool that did its work had to say all the same, such as
// that a TPM's registers are empty. That it did its work goes without saying.
func remarksOf(stderr string) []string {
	var remarks []string
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "enrolled as key slot") {
			remarks = append(remarks, line)
		}
	}
	return remarks
}

// enrollCommand is systemd-cryptenroll(1), or clevis-luks-bind(1). /dev/fd/3 is
// the first of the files.
func enrollCommand(device string, unlock boot.Unlock, key luks.Key) command.Cmd {
	if unlock.Method == boot.Tang {
		config, _ := json.Marshal(map[string]string{"url": unlock.URL, "thp": unlock.Thumbprint}) // strings can't fail
		// From its standard input clevis takes a line, which a key need not be.
		return command.Cmd{Name: "clevis", Args: []string{"luks", "bind", "-k", "/dev/fd/3", "-d", device, "tang", string(config)}, Files: [][]byte{key.Bytes()}}
	}
	args := []string{"--unlock-key-file=/dev/fd/3"}
	if unlock.Method == boot.TPM2 {
		args = append(args, "--tpm2-device="+unlock.Device)
		if unlock.PCRs != "" {
			args = append(args, "--tpm2-pcrs="+unlock.PCRs)
		}
	} else {
		args = append(args, "--fido2-device="+unlock.Device)
	}
	return command.Cmd{Name: "systemd-cryptenroll", Args: append(args, "--", device), Files: [][]byte{key.Bytes()}, Terminal: unlock.Method == boot.FIDO2}
}
