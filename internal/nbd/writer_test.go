package nbd

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

func writer(t *testing.T, s *server, o Options) *Writer {
	t.Helper()
	s.flags |= flagFlush | flagZeroes
	w, err := DialWriter(s.serve(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func TestManyWritesAtOnceGoEachToItsOwnPlace(t *testing.T) {
	const part = 8 << 10
	want := disk(64 * part)
	clear(want[5*part : 9*part])
	s := &server{disk: bytes.Repeat([]byte{'x'}, len(want))}
	w := writer(t, s, Options{})
	var group sync.WaitGroup
	for _, at := range rand.Perm(64) {
		group.Go(func() {
			offset := int64(at * part)
			var err error
			if piece := want[offset : offset+part]; at >= 5 && at < 9 {
				err = w.ZeroAt(offset, part)
			} else if n, writeErr := w.WriteAt(piece, offset); n != part {
				err = errors.Join(writeErr, io.ErrShortWrite)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.disk, want) || s.did[len(s.did)-1] != "3: 0+0" {
		t.Errorf("it holds something else; the last request was %s", s.did[len(s.did)-1])
	}
	got := make([]byte, part)
	if _, err := w.ReadAt(got, 3*part); err != nil || !bytes.Equal(got, want[3*part:4*part]) {
		t.Errorf("what was written is not read back: %v", err)
	}
}

func TestALargeZeroingIsAskedForInPieces(t *testing.T) {
	s := &server{}
	s.answer = func(w io.Writer, r request) bool {
		s.sending.Lock()
		if r.kind != cmdZeroes || r.length > zeroStep {
			t.Errorf("%+v", r)
		}
		s.did = append(s.did, "")
		s.sending.Unlock()
		s.done(w, r, 0)
		return true
	}
	w := writer(t, s, Options{})
	w.size = 5*zeroStep + 7
	if err := w.ZeroAt(0, w.size); err != nil || len(s.did) != 6 {
		t.Errorf("%d requests, %v", len(s.did), err)
	}
}

func TestARefusedWriteIsToldWithItsErrnoAndTheNextGoesOn(t *testing.T) {
	refuse := true
	s := &server{disk: make([]byte, 4096)}
	s.answer = func(w io.Writer, r request) bool {
		if !refuse || r.kind == cmdRead {
			return false
		}
		refuse = false
		s.done(w, r, uint32(syscall.ENOSPC))
		return true
	}
	w := writer(t, s, Options{})
	if n, err := w.WriteAt(make([]byte, 512), 0); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := w.WriteAt([]byte("abc"), 0); err != nil || !bytes.HasPrefix(s.disk, []byte("abc")) {
		t.Errorf("%v", err)
	}
}

func TestNothingIsWrittenBeyondTheEnd(t *testing.T) {
	s := &server{disk: make([]byte, 4096)}
	w := writer(t, s, Options{})
	for _, offset := range []int64{-1, 4000, 5000} {
		if _, err := w.WriteAt(make([]byte, 512), offset); err == nil {
			t.Errorf("a write at %d was taken", offset)
		}
		if err := w.ZeroAt(offset, 512); err == nil {
			t.Errorf("a zeroing at %d was taken", offset)
		}
	}
	if len(s.did) > 0 {
		t.Errorf("the server was asked %v", s.did)
	}
}

func TestAWriterTakesNoServerThatCantFlush(t *testing.T) {
	for name, flags := range map[string]uint16{
		"a read-only one": flagReadOnly | flagFlush | flagZeroes, "one without flushes": flagZeroes, "one without zeroes": flagFlush,
	} {
		s := &server{disk: make([]byte, 4096), flags: flags}
		var protocol *ProtocolError
		if _, err := DialWriter(s.serve(t), Options{}); !errors.As(err, &protocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAWriteWithoutAnswerIsNotWaitedForWithoutEnd(t *testing.T) {
	s := &server{disk: make([]byte, 4096)}
	s.answer = func(io.Writer, request) bool { return true }
	w := writer(t, s, Options{Stall: 50 * time.Millisecond})
	var stalled *StalledError
	if err := w.Flush(); !errors.As(err, &stalled) {
		t.Errorf("%v", err)
	}
	if _, err := w.WriteAt(slices.Repeat([]byte{1}, 10), 0); err == nil {
		t.Error("a connection that was given up takes writes")
	}
}
