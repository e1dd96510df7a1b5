package succession

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// tidyUp removes what libvirt kept for the original beside its disks.
func (r *retiring) tidyUp(ctx context.Context, _ *Retiree) error {
	for _, file := range r.Files {
		used, err := r.named(ctx, file.Path)
		if err != nil {
			return err
		}
		if used != "" {
			r.report(migrate.Event{Event: migrate.Warning, Message: fmt.Sprintf("the %s, %s, stay: the definition of the VM %q names them", file.What, file.Path, used)})
			continue
		}
		stays, err := file.remove()
		if err != nil {
			return fmt.Errorf("remove the %s: %w", file.What, err)
		}
		if stays != "" {
			r.report(migrate.Event{Event: migrate.Warning, Message: fmt.Sprintf("the %s, %s, stay: %s", file.What, file.Path, stays)})
		}
	}
	return nil
}

// named is the name of a domain, other than the original, whose definition names
// a path.
func (r *retiring) named(ctx context.Context, path string) (string, error) {
	domains, err := r.Hypervisor.Domains(ctx)
	if err != nil {
		return "", err
	}
	for _, domain := range domains {
		if strings.EqualFold(domain.UUID, r.OriginalUUID) {
			continue
		}
		text, err := r.Hypervisor.XML(ctx, domain.UUID)
		if isGone(err) {
			continue
		}
		if err != nil {
			return "", err
		}
		if strings.Contains(string(text), path+"<") || strings.Contains(string(text), path+"'") || strings.Contains(string(text), path+`"`) {
			return domain.Name, nil
		}
	}
	return "", nil
}

// swtpmFiles are what swtpm keeps in its folder (swtpm(8), --tpmstate).
var swtpmFiles = [...]string{
	"tpm2-00.permall", "tpm2-00.volatilestate", "tpm2-00.savestate", "tpm-00.permall", "tpm-00.volatilestate", "tpm-00.savestate", ".lock",
}

// remove removes a file, or libvirt's own folder with all that is in it. Of a
// folder that a definition names, only what swtpm keeps goes, and the folder when
// nothing else is in it. No link is followed. stays says why something is left.
func (f StateFile) remove() (stays string, err error) {
	info, err := os.Lstat(f.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case info.Mode().IsRegular():
		return "", os.Remove(f.Path)
	case !info.IsDir():
		return "what is there is neither a file nor a folder", nil
	case f.Own:
		return "", os.RemoveAll(f.Path)
	case f.What != "TPM state":
		return "what is there is a folder", nil
	}
	for _, name := range swtpmFiles {
		path := filepath.Join(f.Path, name)
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
			continue // not there, or not swtpm's
		}
		if err := os.Remove(path); err != nil {
			return "", err
		}
	}
	if err := os.Remove(f.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "the folder holds something that is not a TPM's", nil
	}
	return "", nil
}
