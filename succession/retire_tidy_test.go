package succession

import (
	"os"
	"path/filepath"
	"testing"
)

// A definition may name any path: what is not firmware's state is left alone.
func TestOnlyWhatIsFirmwareStateIsRemoved(t *testing.T) {
	folder := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(folder, name)
		no(t, os.MkdirAll(filepath.Dir(path), 0o700))
		no(t, os.WriteFile(path, []byte(name), 0o600))
		return path
	}
	link := func(name, to string) string {
		path := filepath.Join(folder, name)
		no(t, os.Symlink(to, path))
		return path
	}
	there := func(path string) bool {
		is, err := exists(path)
		no(t, err)
		return is
	}
	stranger, tpm := file("named/customers.db"), file("named/tpm2-00.permall")
	file("own/tpm2/tpm2-00.permall")
	only := file("only/tpm2-00.permall")
	file("only/.lock")
	vars, shared := file("vars.fd"), file("srv/vars.fd")
	outside := file("outside/tpm2-00.permall")
	no(t, os.Mkdir(filepath.Join(folder, "linked"), 0o700))
	inside := link("linked/tpm2-00.permall", outside)

	for _, c := range []struct {
		file       StateFile
		stays      bool
		gone, kept []string
	}{
		{StateFile{What: "UEFI variables", Path: vars}, false, []string{vars}, nil},
		{StateFile{What: "UEFI variables", Path: filepath.Join(folder, "srv")}, true, nil, []string{shared}},
		{StateFile{What: "UEFI variables", Path: link("vars.link", shared)}, true, nil, []string{shared, filepath.Join(folder, "vars.link")}},
		{StateFile{What: "TPM state", Path: filepath.Join(folder, "own"), Own: true}, false, []string{filepath.Join(folder, "own")}, nil},
		{StateFile{What: "TPM state", Path: link("own.link", filepath.Join(folder, "srv")), Own: true}, true, nil, []string{shared}},
		{StateFile{What: "TPM state", Path: filepath.Join(folder, "only")}, false, []string{only, filepath.Join(folder, "only")}, nil},
		{StateFile{What: "TPM state", Path: filepath.Join(folder, "named")}, true, []string{tpm}, []string{stranger}},
		{StateFile{What: "TPM state", Path: filepath.Join(folder, "linked")}, true, nil, []string{inside, outside}},
		{StateFile{What: "TPM state", Path: filepath.Join(folder, "never was")}, false, nil, nil},
	} {
		stays, err := c.file.remove()
		if err != nil || (stays != "") != c.stays {
			t.Errorf("%+v: stays: %q, %v", c.file, stays, err)
		}
		for _, path := range c.gone {
			if there(path) {
				t.Errorf("%+v: %s is still there", c.file, path)
			}
		}
		for _, path := range c.kept {
			if !there(path) {
				t.Errorf("%+v: %s is gone", c.file, path)
			}
		}
	}
}
