//go:build e2e

package scenario

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A power cut in the middle of a copy, of which nothing had been said yet but
// how far it was: the host is gone between one moment and the next.
func TestAPowerCutDuringTheCopyLosesNothing(t *testing.T) {
	options := Options{Dir: t.TempDir()}
	s := set(t, options)
	t.Cleanup(func() { takeDown(t, s) }) // the last of the three
	before := s.look(t)
	ctx := t.Context() // a host lives as long as that, and the next part wants it too

	t.Run("and rollback leaves the world as it was", func(t *testing.T) {
		s = s.cutDuringCopy(t, ctx, options)
		if r, err := s.VMMigrate(t.Context(), "rollback", "imap", "--yes"); err != nil || r.ExitCode != Done {
			t.Fatal(r, err)
		}
		s.unchanged(t, before)
	})
	t.Run("and resume finishes the job", func(t *testing.T) {
		s = s.cutDuringCopy(t, ctx, options)
		if r, err := s.VMMigrate(t.Context(), "resume", "imap", "--key-file", KeyFile); err != nil || r.ExitCode != Done {
			t.Fatal(r, err)
		}
		s.sh(t, `
			cmp "$1" /dev/mapper/cr_imap_vda
			cmp -n "$(stat -c %s "$2")" "$2" /dev/mapper/cr_imap_vdb
			virsh dominfo imap-luks`, s.Guest.Root, s.Guest.Data)
	})
}

// cutDuringCopy starts a move, cuts the power as soon as a progress event
// tells that the copy is under way, and returns the stage after the next boot.
func (s *Stage) cutDuringCopy(t *testing.T, ctx context.Context, options Options) *Stage {
	t.Helper()
	progress := newWatch(`"event":"progress"`)
	c := s.Command(append([]string{"vmmigrate", "--output", "json", "run", "--vm", "imap", "--key-file", KeyFile}, cheap...)...)
	c.Stdout = progress
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan string, 1)
	go func() {
		result, err := c.Wait(t.Context())
		ended <- fmt.Sprintf("%+v, %v", result, err)
	}()
	select {
	case <-progress.seen:
	case how := <-ended:
		t.Fatalf("it ended before the copy began: %s\n%s", how, progress.text.String())
	case <-time.After(2 * time.Minute):
		t.Fatalf("the copy did not begin:\n%s", progress.text.String())
	}
	s.PowerCut()

	options.Log = t.Output()
	s, err := Return(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// watch closes seen once what is written to it holds a text.
type watch struct {
	want string
	text bytes.Buffer
	seen chan struct{}
}

func newWatch(want string) *watch { return &watch{want: want, seen: make(chan struct{})} }

func (w *watch) Write(data []byte) (int, error) {
	before := strings.Contains(w.text.String(), w.want)
	w.text.Write(data)
	if !before && strings.Contains(w.text.String(), w.want) {
		close(w.seen)
	}
	return len(data), nil
}
