//go:build mutation

package blockcopy

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutation is a mistake that somebody could make in the engine: in file, old
// becomes new.
type mutation struct{ file, old, new string }

// mutations are the mistakes that lose bytes in silence. Each is one that the
// tests without a build tag have to find.
var mutations = map[string]mutation{
	"a zero block is skipped": {
		"chunk.go", "if err := c.to.write(c.arena.zeros[:n], at); err != nil {", "if err := error(nil); err != nil {",
	},
	"a zero block between data is skipped": {
		"chunk.go", "if err := c.to.write(b, at); err != nil {", "if &b[0] != &h.buffer[0] {} else if err := c.to.write(b, at); err != nil {",
	},
	"zeros that the kernel was asked for are taken on trust": {
		"chunk.go", "n != len(p) || !bytes.Equal(p, c.arena.zeros[:n])", "n != len(p) || !bytes.Equal(p, p)",
	},
	"the last chunk is dropped": {
		"record.go", "if payload%chunk != 0 {", "if payload%chunk < 0 {",
	},
	"the last byte of a chunk is dropped": {
		"chunk.go", "n := min(int64(len(h.buffer)), e.end-at)\n\t\tif err := c.pace(ctx, n); err != nil {\n\t\t\treturn Digest{}, err\n\t\t}\n\t\tb, err",
		"n := min(int64(len(h.buffer)), e.end-at)\n\t\tif e.end-at == 1 { break }\n\t\tif err := c.pace(ctx, n); err != nil {\n\t\t\treturn Digest{}, err\n\t\t}\n\t\tb, err",
	},
	"what is behind the source's end is left as it was": {
		"input.go", "clear(p[n:])", "_ = p[n:]",
	},
	"two chunks are swapped": {
		"chunk.go", "b, err := c.from.block(ctx, h.buffer[:n], at, e.data)",
		"from := at\n\t\tif swapped := at ^ c.job.ChunkSize; swapped+n <= c.job.Size { from = swapped }\n\t\tb, err := c.from.block(ctx, h.buffer[:n], from, e.data)",
	},
	"two chunks are swapped as they are written": {
		"chunk.go", "if err := c.to.write(b, at); err != nil {",
		"to := at\n\t\tif swapped := at ^ c.job.ChunkSize; swapped+n <= c.job.Size { to = swapped }\n\t\tif err := c.to.write(b, to); err != nil {",
	},
	"a byte of each block is left out of the digest": {
		"chunk.go", "_, _ = h.sum.Write(b)", "_, _ = h.sum.Write(b[1:])",
	},
	"the last byte before a hole is not read": {
		"input.go", "holds = holds || s.start < end && s.end > at", "holds = holds || s.start < end && s.end > at+1",
	},
	"a short read passes": {
		"input.go", "if n == len(p) {\n\t\t\treturn nil // io", "if n > 0 {\n\t\t\treturn nil // io",
	},
	"a failed write passes": {
		"chunk.go", "if err := c.to.write(b, at); err != nil {", "if err := c.to.write(b, at); false {",
	},
	"a chunk is recorded before the flush": {
		"copy.go", "if err := c.job.Target.Sync(); err != nil {", "_ = c.chunks.add(batch)\n\tif err := c.job.Target.Sync(); err != nil {",
	},
	"nothing is flushed at all": {
		"copy.go", "if err := c.job.Target.Sync(); err != nil {", "if err := error(nil); err != nil {",
	},
	"a flush that failed is tried again and believed": {
		"copy.go", "c.broken = &FlushError{Name: c.job.Target.Name(), Err: err}\n\t\treturn c.broken", "return nil",
	},
	"a payload that differs passes": {
		"verify.go", "case payload != want:", "case false:",
	},
	"a verification believes the source's map of holes": {
		"verify.go", "whole := []span{{0, c.size}}", "whole := newHoles(c.source, c.size).within(e.start, e.end)",
	},
	"a chunk that is done is copied again": {
		"chunk.go", "c.next < c.chunks.Len() && c.chunks.Done(c.next) {", "false {",
	},
}

// Each run is the package's own tests with one file replaced (go help build,
// -overlay), the property tests and those of faults first.
func TestEveryMutationFailsATest(t *testing.T) {
	for name, m := range mutations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(code), m.old); n != 1 {
				t.Fatalf("%s has the place %d times: has it been changed?", m.file, n)
			}
			folder := t.TempDir()
			here, err := filepath.Abs(m.file)
			if err != nil {
				t.Fatal(err)
			}
			mutant := filepath.Join(folder, m.file)
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{here: mutant}})
			if err != nil {
				t.Fatal(err)
			}
			for path, content := range map[string][]byte{mutant: []byte(strings.Replace(string(code), m.old, m.new, 1)), filepath.Join(folder, "overlay"): overlay} {
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			program := filepath.Join(folder, "mutant.test")
			if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", filepath.Join(folder, "overlay"), "-o", program, ".").CombinedOutput(); err != nil {
				t.Fatalf("the mutant does not build: %v\n%s", err, out)
			}
			run := exec.CommandContext(context.WithoutCancel(t.Context()), program, "-test.failfast", "-test.timeout=60s", "-rapid.nofailfile", "-rapid.shrinktime=0s")
			out, err := run.CombinedOutput()
			var failed *exec.ExitError
			if !errors.As(err, &failed) {
				t.Fatalf("no test finds it (%v)", err)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "--- FAIL") {
					t.Logf("found by %s", strings.TrimSpace(line))
					return
				}
			}
			t.Errorf("it fails, but not a test:\n%s", out)
		})
	}
}
