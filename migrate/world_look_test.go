package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/google/go-cmp/cmp"
)

// look looks at everything there is, past all faults.
func (w *world) look() look {
	w.t.Helper()
	ctx, seen := context.Background(), make(look)
	groups, err := w.lvm.VGs(ctx)
	lvs, err2 := w.lvm.LVs(ctx)
	mappings, err3 := w.luks.Mappings(ctx)
	if err := errors.Join(err, err2, err3); err != nil {
		w.t.Fatalf("look: %v", err)
	}
	for _, group := range groups {
		seen["group "+group.Name] = fmt.Sprintf("%d extents free", group.FreeExtents)
	}
	for _, lv := range lvs {
		seen["volume "+lv.VG+"/"+lv.Name] = fmt.Sprintf("%s, %d bytes, tags %v", lv.UUID, lv.Size, lv.Tags)
		if header, err := w.luks.Header(ctx, lv.Path); err == nil {
			seen["header "+lv.Path] = header.UUID
		}
	}
	for path, file := range w.made {
		seen["made "+path] = fmt.Sprintf("%d bytes", file.size)
		if header, err := w.luks.Header(ctx, path); err == nil {
			seen["header "+path] = header.UUID
		}
	}
	if _, there := w.blanks[blankName]; there {
		seen["header "+blankName] = "none"
		if header, err := w.luks.Header(ctx, blankName); err == nil {
			seen["header "+blankName] = header.UUID
		}
	}
	for _, mapping := range mappings {
		seen["mapping "+mapping.Name] = mapping.UUID + " on " + mapping.Device
	}
	for _, dir := range w.fs.Dirs() {
		seen["folder "+dir], _ = w.fs.At(dir)
	}
	for name, domain := range w.virt.all() {
		seen["domain "+name] = domain
	}
	maps.Copy(seen, w.sourcesSeen())
	for _, dir := range []string{w.state, w.files} {
		for path, content := range contents(w.t, dir) {
			seen["file "+path] = content
		}
	}
	return seen
}

func (w *world) sourcesSeen() look {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(look)
	for path, source := range w.sources {
		seen["source "+path] = sum(source.bytes)
	}
	for device, p := range w.payloads {
		if p.header == foreignLUKS {
			seen["payload "+device] = sum(p.live)
		}
	}
	return seen
}

// contents are the files and folders below dir.
func contents(t complainer, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			found[path] = "folder"
			return err
		}
		content, err := os.ReadFile(path)
		found[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return found
}

// wantSame fails unless the world looks as it did.
func (w *world) wantSame(before look, what string) {
	w.t.Helper()
	if diff := cmp.Diff(before, w.look()); diff != "" {
		w.t.Fatalf("%s: the world is not as it was: %s", what, diff)
	}
}
