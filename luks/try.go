package luks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/internal/scratch"
)

// RefusedError says that cryptsetup, or the kernel behind it, does not take how
// a volume is to be encrypted.
type RefusedError struct {
	// Reason is what cryptsetup said.
	Reason string
}

func (e *RefusedError) Error() string { return "cryptsetup refuses it: " + e.Reason }

// Try formats a file of its own in a temporary folder as spec says, with next to
// no rounds of key derivation, and removes it again. Device, UUID and Offset of
// spec are not looked at. It returns a *RefusedError for a cipher, mode, key
// size, hash or PBKDF that is not to be had here, which cryptsetup would only say
// once the device is wiped; any other error says that it could not be tried.
func (c *Client) Try(ctx context.Context, spec FormatSpec) (err error) {
	folder, err := scratch.Make()
	if err != nil {
		return fmt.Errorf("try the encryption: %w", err)
	}
	defer func() { err = errors.Join(err, folder.Remove()) }()
	spec.Device, spec.UUID = filepath.Join(folder.Path, "volume"), "00000000-0000-4000-8000-000000000000"
	if spec.Type == "" {
		spec.Type = LUKS2
	}
	spec.Offset = HeaderSize(spec.Type)
	if spec.PBKDF == "" {
		spec.PBKDF = "pbkdf2" // what cryptsetup would choose is to be had
	}
	spec.PBKDFMemory, spec.PBKDFForceIterations, spec.IterTime = cheapest(spec.PBKDF)
	if err := spec.Check(); err != nil {
		return err
	}
	file, err := os.OpenFile(spec.Device, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(file.Truncate(spec.Offset+1<<20), file.Close())
	}
	if err != nil {
		return fmt.Errorf("try the encryption: %w", err)
	}
	key, err := NewKey([]byte("a key of nothing"))
	if err != nil {
		return err
	}
	defer key.Wipe()
	cmd := FormatCommand(spec, key)
	cmd.ReadOnly = true // but for a file of its own
	_, err = c.run.Run(ctx, cmd)
	var said *command.Error
	if errors.As(err, &said) && said.ExitCode > 0 {
		lines := strings.FieldsFunc(said.Stderr, func(r rune) bool { return r == '\n' })
		return &RefusedError{Reason: strings.TrimSuffix(strings.Join(lines, " "), ".")}
	}
	return err
}

// cheapest are the least memory, in KiB, and rounds that cryptsetup takes
// (crypt_set_pbkdf_type in its lib/utils_pbkdf.c).
func cheapest(pbkdf string) (memory, iterations, ms int) {
	if pbkdf == "pbkdf2" {
		return 0, 1000, 0
	}
	return 32, 4, 0
}
