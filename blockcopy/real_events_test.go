//go:build realhost

package blockcopy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestARealSourceThatShrinksEndsTheCopyAndNamesIt(t *testing.T) {
	under, target := loopOf(t, pattern(realSize)), loopOf(t, noise(realSize))
	source := mapped(t, fmt.Sprintf("0 %d linear %s 0", realSize/512, under))
	s, d := openBoth(t, source, target, realSize)
	// Half of it goes, as by lvreduce, while it is copied.
	const left = realSize / 2 / 512
	shrunk := make(chan error, 1)
	time.AfterFunc(500*time.Millisecond, func() {
		load := exec.Command("dmsetup", "load", source, "--table", fmt.Sprintf("0 %d linear %s 0", left, under)).Run()
		shrunk <- errors.Join(load, exec.Command("dmsetup", "resume", source).Run())
	})
	done := NewChunks(realSize)
	_, err := Copy(t.Context(), Job{Source: s, Target: d, Done: done, MaxRate: 8 << 20})
	if err := <-shrunk; err != nil {
		t.Fatal(err)
	}
	var short *ShortError
	var re *ReadError
	switch {
	case errors.As(err, &short) && short.Name == source && short.Offset >= left*512:
	case errors.As(err, &re) && re.Name == source && re.Sector >= left:
	default:
		t.Fatalf("want an error about the source from sector %d on, got %v", left, err)
	}
	if done.Complete() {
		t.Fatal("all is recorded as copied")
	}
	// Begun anew, it is refused before anything is read.
	again, err := OpenSource(source)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	var se *SizeError
	if _, err := Copy(t.Context(), Job{Source: again, Size: realSize, Target: d, Done: done}); !errors.As(err, &se) || se.Size != left*512 || se.Need != realSize {
		t.Fatalf("want a *SizeError, got %v", err)
	}
}

func TestARealFileWithoutDirectIOIsCopiedThroughThePageCache(t *testing.T) {
	folder := t.TempDir()
	// A tmpfs takes O_DIRECT since Linux 6.6; a ramfs does not.
	sh(t, "mount", "-t", "ramfs", "ramfs", folder)
	t.Cleanup(func() { sh(t, "umount", folder) })
	data := pattern(realSize + 100)
	source, target := filepath.Join(folder, "source"), filepath.Join(folder, "target")
	if err := errors.Join(os.WriteFile(source, data, 0o600), os.WriteFile(target, noise(realSize+100), 0o600)); err != nil {
		t.Fatal(err)
	}
	if fd, err := unix.Open(source, unix.O_RDONLY|unix.O_DIRECT, 0); err == nil {
		_ = unix.Close(fd)
		t.Fatal("this kernel's ramfs has direct I/O: the test needs another filesystem")
	}
	s, d := openBoth(t, source, target, realSize+100)
	if s.Direct() || d.Direct() {
		t.Fatalf("direct I/O: %v and %v", s.Direct(), d.Direct())
	}
	done := NewChunks(realSize + 100)
	r, err := Copy(t.Context(), Job{Source: s, Target: d, Done: done})
	if err != nil || r.SourceDirect || r.TargetDirect || !bytes.Equal(contents(t, target, realSize+100), data) {
		t.Fatalf("copy: %v, direct %v and %v", err, r.SourceDirect, r.TargetDirect)
	}
	if _, err := Verify(t.Context(), VerifyJob{Payload: d, Chunks: done, Source: s}); err != nil {
		t.Fatal(err)
	}
}

// stopped is the environment's word that the process is the copy that is to be
// stopped: what it copies, and onto what.
const stopped = "BLOCKCOPY_STOPPED"

func TestARealCopyThatIsStoppedGoesOnWithoutAWord(t *testing.T) {
	if pair := filepath.SplitList(os.Getenv(stopped)); len(pair) == 2 {
		s, d := openBoth(t, pair[0], pair[1], realSize)
		if _, err := Copy(t.Context(), Job{Source: s, Target: d, MaxRate: 16 << 20}); err != nil {
			t.Fatal(err)
		}
		return
	}
	data := pattern(realSize)
	source, target := loopOf(t, data), loopOf(t, noise(realSize))
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	copying := exec.Command(me, "-test.run", "^"+t.Name()+"$")
	copying.Env = append(os.Environ(), stopped+"="+source+string(filepath.ListSeparator)+target)
	copying.Stdout, copying.Stderr = &out, &out
	if err := copying.Start(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	time.Sleep(700 * time.Millisecond)
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := copying.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
	}
	if err := copying.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if time.Since(begin) < 4500*time.Millisecond || !bytes.Equal(contents(t, target, realSize), data) {
		t.Fatalf("after %s the target differs, or it was never stopped\n%s", time.Since(begin), out.String())
	}
}
