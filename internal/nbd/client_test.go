package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

func disk(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
}

func dialed(t *testing.T, s *server, o Options) *Client {
	t.Helper()
	s.flags |= flagReadOnly
	c, err := Dial(s.serve(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestManyReadsAtOnceGetEachItsOwnBytes(t *testing.T) {
	s := &server{disk: disk(1<<20 + 77)}
	c := dialed(t, s, Options{Connections: 3})
	if c.Size() != int64(len(s.disk)) {
		t.Fatalf("the size is %d", c.Size())
	}
	var group sync.WaitGroup
	for worker := range uint64(16) {
		group.Go(func() {
			dice := rand.New(rand.NewPCG(worker, 1))
			for range 50 {
				at := dice.IntN(len(s.disk))
				p := make([]byte, 1+dice.IntN(len(s.disk)-at))
				if n, err := c.ReadAt(p, int64(at)); err != nil || n != len(p) || !bytes.Equal(p, s.disk[at:at+n]) {
					t.Errorf("%d bytes at %d: %d, %v", len(p), at, n, err)
				}
			}
		})
	}
	group.Wait()
}

func TestAReadBeyondTheEndIsCutShort(t *testing.T) {
	s := &server{disk: disk(1000)}
	c := dialed(t, s, Options{})
	p := make([]byte, 600)
	if n, err := c.ReadAt(p, 500); n != 500 || !errors.Is(err, io.EOF) || !bytes.Equal(p[:n], s.disk[500:]) {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := c.ReadAt(p, 1<<40); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAHoleInAReplyIsZeros(t *testing.T) {
	s := &server{disk: disk(8192)}
	s.answer = func(w io.Writer, r request) bool {
		s.chunk(w, r, 0, chunkHole, hole(0, 4096))
		s.chunk(w, r, chunkDone, chunkData, s.data(4096, 4096))
		return true
	}
	c := dialed(t, s, Options{})
	p := bytes.Repeat([]byte{1}, 8192)
	if _, err := c.ReadAt(p, 0); err != nil || !bytes.Equal(p[:4096], make([]byte, 4096)) || !bytes.Equal(p[4096:], s.disk[4096:]) {
		t.Errorf("%v", err)
	}
}

func TestTheMapTellsWhatHasToBeRead(t *testing.T) {
	s := &server{disk: disk(10000), extent: 1000, zero: map[int64]bool{0: true, 3: true, 4: true, 9: true}}
	c := dialed(t, s, Options{})
	// A hole that does not read as zeros counts as data.
	for _, want := range [][3]int64{{0, 1000, 2000}, {1500, 1500, 2000}, {2000, 2000, 3000}, {3000, 5000, 6000}, {8500, 8500, 9000}, {9000, 10000, 10000}, {20000, 10000, 10000}} {
		if start, end, err := c.Data(want[0]); err != nil || start != want[1] || end != want[2] {
			t.Errorf("from %d: %d-%d, %v; want %d-%d", want[0], start, end, err, want[1], want[2])
		}
	}
}

func TestAServerThatCantServeAPlaceSaysSoAndGoesOn(t *testing.T) {
	s := &server{disk: disk(8192)}
	s.answer = func(w io.Writer, r request) bool {
		if r.offset != 4096 {
			return false
		}
		body := binary.BigEndian.AppendUint32(nil, uint32(syscall.EIO))
		body = binary.BigEndian.AppendUint16(body, 6)
		s.chunk(w, r, chunkDone, chunkError+1, append(body, "ouch!!"...))
		return true
	}
	c := dialed(t, s, Options{})
	p := make([]byte, 4096)
	var said *ServerError
	if _, err := c.ReadAt(p, 4096); !errors.As(err, &said) || !errors.Is(err, syscall.EIO) || said.Message != "ouch!!" {
		t.Errorf("%v", err)
	}
	if _, err := c.ReadAt(p, 0); err != nil || !bytes.Equal(p, s.disk[:4096]) {
		t.Errorf("the next read: %v", err)
	}
}

func TestAServerThatBreaksTheProtocolIsLeft(t *testing.T) {
	simple := func(_ *server, w io.Writer, r request) {
		_, _ = w.Write(binary.BigEndian.AppendUint64([]byte{0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0}, r.cookie))
	}
	for name, answer := range map[string]func(s *server, w io.Writer, r request){
		"a simple reply":  simple,
		"no reply at all": func(_ *server, w io.Writer, _ request) { _, _ = w.Write(make([]byte, 64)) },
		"another's reply": func(s *server, w io.Writer, r request) { r.cookie += 77; s.right(w, r) },
		"bytes in front": func(s *server, w io.Writer, r request) {
			s.chunk(w, r, chunkDone, chunkData, s.data(r.offset-1, r.length))
		},
		"bytes behind": func(s *server, w io.Writer, r request) {
			s.chunk(w, r, chunkDone, chunkData, s.data(r.offset+1, r.length))
		},
		"an offset beyond 2^63": func(s *server, w io.Writer, r request) { s.chunk(w, r, chunkDone, chunkHole, hole(-1, 4096)) },
		"a hole beyond the end": func(s *server, w io.Writer, r request) { s.chunk(w, r, chunkDone, chunkHole, hole(r.offset, 1<<31)) },
		"half of it": func(s *server, w io.Writer, r request) {
			s.chunk(w, r, chunkDone, chunkData, s.data(r.offset, r.length/2))
		},
		"nothing, and done":       func(s *server, w io.Writer, r request) { s.chunk(w, r, chunkDone, chunkNone, nil) },
		"a map instead":           func(s *server, w io.Writer, r request) { s.chunk(w, r, chunkDone, chunkStatus, make([]byte, 12)) },
		"an unknown chunk":        func(s *server, w io.Writer, r request) { s.chunk(w, r, chunkDone, 99, nil) },
		"an error without an end": func(s *server, w io.Writer, r request) { s.chunk(w, r, chunkDone, chunkError+1, make([]byte, 5000)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{disk: disk(16384)}
			s.answer = func(w io.Writer, r request) bool { answer(s, w, r); return true }
			c := dialed(t, s, Options{Connections: 2, Stall: 5 * time.Second})
			var broken *ProtocolError
			if _, err := c.ReadAt(make([]byte, 4096), 4096); !errors.As(err, &broken) {
				t.Errorf("it is %v", err)
			}
			if _, err := c.ReadAt(make([]byte, 4096), 0); !errors.As(err, &broken) {
				t.Errorf("the next read is %v", err)
			}
		})
	}
}

func TestAServerThatGoesAwayEndsAllReads(t *testing.T) {
	s := &server{disk: disk(16384)}
	s.answer = func(w io.Writer, r request) bool {
		_, _ = w.Write([]byte{0x66, 0x8e, 0x33}) // and no more
		_ = w.(io.Closer).Close()
		return true
	}
	c := dialed(t, s, Options{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := c.ReadAt(make([]byte, 4096), 0); !errors.Is(err, ErrClosed) {
				t.Errorf("it is %v", err)
			}
		})
	}
	group.Wait()
}

func TestAServerThatHangsCostsATimeout(t *testing.T) {
	s := &server{disk: disk(16384)}
	s.answer = func(io.Writer, request) bool { return true }
	c := dialed(t, s, Options{Connections: 3, Stall: 100 * time.Millisecond})
	begin := time.Now()
	var stalled *StalledError
	for range 5 {
		if _, err := c.ReadAt(make([]byte, 4096), 0); !errors.As(err, &stalled) {
			t.Errorf("it is %v", err)
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestAPauseBetweenReadsIsNoHang(t *testing.T) {
	s := &server{disk: disk(16384)}
	c := dialed(t, s, Options{Stall: 50 * time.Millisecond})
	for range 3 {
		if _, err := c.ReadAt(make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(150 * time.Millisecond)
	}
}

func TestWhatIsNoServerForUsIsToldAtOnce(t *testing.T) {
	old := append([]byte("NBDMAGIC"), make([]byte, 144)...)
	for name, s := range map[string]*server{
		"another protocol":            {hello: []byte("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), flags: flagReadOnly},
		"the old style of NBD":        {hello: old, flags: flagReadOnly},
		"one that takes writes":       {disk: disk(4096)},
		"one with simple replies":     {disk: disk(4096), refuse: optStructure, flags: flagReadOnly},
		"one without such an export":  {disk: disk(4096), refuse: optGo, flags: flagReadOnly},
		"one without a map of blocks": {disk: disk(4096), refuse: optSetMeta, flags: flagReadOnly},
	} {
		var broken *ProtocolError
		if _, err := Dial(s.serve(t), Options{}); !errors.As(err, &broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	silent := &server{hello: []byte("NBD")}
	var stalled *StalledError
	if _, err := Dial(silent.serve(t), Options{Connect: 100 * time.Millisecond}); !errors.As(err, &stalled) {
		t.Errorf("a silent one: %v", err)
	}
}
