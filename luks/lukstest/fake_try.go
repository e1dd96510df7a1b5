package lukstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Try implements Client. It knows a few ciphers and hashes.
func (*Fake) Try(_ context.Context, spec luks.FormatSpec) error {
	cipher, _, _ := strings.Cut(spec.Cipher, "-")
	switch {
	case !slices.Contains([]string{"aes", "serpent", "twofish"}, cipher):
		return &luks.RefusedError{Reason: "the kernel has no " + spec.Cipher}
	case spec.Hash != "" && !slices.Contains([]string{"sha1", "sha256", "sha512"}, spec.Hash):
		return &luks.RefusedError{Reason: "there is no hash " + spec.Hash}
	case strings.Contains(spec.Cipher, "-xts-") && spec.KeySize != 256 && spec.KeySize != 512:
		return &luks.RefusedError{Reason: fmt.Sprintf("%s takes no key of %d bits", spec.Cipher, spec.KeySize)}
	}
	return nil
}

// HeaderBackup implements Client. The file it writes holds words, no header.
func (f *Fake) HeaderBackup(ctx context.Context, device, file string) error {
	h, err := f.Header(ctx, device)
	if err != nil {
		return err
	}
	return f.act(ctx, "backup", func() error {
		out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return &luks.ExistsError{File: file}
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "the header of %s\n", h.UUID)
		return errors.Join(err, out.Close())
	})
}
