package nbd

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// server is an NBD server that serves a disk as it should, save for what a test
// makes it do instead.
type server struct {
	disk []byte
	// zero are the extents that its map calls zeros, by their number; each has
	// extent bytes.
	zero   map[int64]bool
	extent int64
	// hello replaces the greeting, and flags those of the export.
	hello []byte
	flags uint16
	// refuse names an option to refuse.
	refuse uint32
	// answer, if not nil, may answer a request; it returns false to have it
	// answered as it should be.
	answer func(w io.Writer, r request) bool

	sending sync.Mutex
	// did are the requests that changed something, in their order.
	did []string
}

type request struct {
	kind   uint16
	cookie uint64
	offset int64
	length int64
	data   []byte // of a write
}

// serve listens for any number of connections and returns the socket's path.
func (s *server) serve(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var lines []net.Conn
	group.Go(func() {
		for {
			line, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			lines = append(lines, line)
			mu.Unlock()
			group.Go(func() { s.talk(line) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, line := range lines {
			_ = line.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return path
}

func (s *server) talk(line net.Conn) {
	defer line.Close()
	hello := s.hello
	if hello == nil {
		hello = binary.BigEndian.AppendUint64(nil, magicNBD)
		hello = binary.BigEndian.AppendUint64(hello, magicOption)
		hello = binary.BigEndian.AppendUint16(hello, fixedStyle|noZeroes)
	}
	_, _ = line.Write(hello)
	var flags uint32
	if binary.Read(line, binary.BigEndian, &flags) != nil || !s.options(line) {
		return
	}
	for {
		var head struct {
			Magic        uint32
			Flags, Kind  uint16
			Cookie, From uint64
			Length       uint32
		}
		if binary.Read(line, binary.BigEndian, &head) != nil || head.Magic != magicRequest || head.Kind == cmdDisc {
			return
		}
		r := request{kind: head.Kind, cookie: head.Cookie, offset: int64(head.From), length: int64(head.Length)}
		if r.kind == cmdWrite {
			r.data = make([]byte, r.length)
			if _, err := io.ReadFull(line, r.data); err != nil {
				return
			}
		}
		// Each in a goroutine of its own, so that replies come in any order.
		go func() {
			if s.answer == nil || !s.answer(line, r) {
				s.right(line, r)
			}
		}()
	}
}

func (s *server) options(line net.Conn) bool {
	for {
		var head struct {
			Magic          uint64
			Option, Length uint32
		}
		if binary.Read(line, binary.BigEndian, &head) != nil {
			return false
		}
		body := make([]byte, head.Length)
		if _, err := io.ReadFull(line, body); err != nil {
			return false
		}
		reply := func(kind uint32, data []byte) {
			message := binary.BigEndian.AppendUint64(nil, magicReply)
			message = binary.BigEndian.AppendUint32(message, head.Option)
			message = binary.BigEndian.AppendUint32(message, kind)
			message = binary.BigEndian.AppendUint32(message, uint32(len(data)))
			_, _ = line.Write(append(message, data...))
		}
		if s.refuse == head.Option {
			reply(repError|1, []byte("not here"))
			continue
		}
		switch head.Option {
		case optSetMeta:
			reply(repContext, append([]byte{0, 0, 0, 5}, allocation...))
		case optGo:
			info := binary.BigEndian.AppendUint16(nil, infoExport)
			info = binary.BigEndian.AppendUint64(info, uint64(len(s.disk)))
			reply(repInfo, binary.BigEndian.AppendUint16(info, s.flags))
		}
		reply(repACK, nil)
		if head.Option == optGo {
			return true
		}
	}
}

// chunk sends one chunk of a reply.
func (s *server) chunk(w io.Writer, r request, flags, kind uint16, body []byte) {
	message := binary.BigEndian.AppendUint32(nil, magicChunk)
	message = binary.BigEndian.AppendUint16(message, flags)
	message = binary.BigEndian.AppendUint16(message, kind)
	message = binary.BigEndian.AppendUint64(message, r.cookie)
	message = binary.BigEndian.AppendUint32(message, uint32(len(body)))
	s.sending.Lock()
	defer s.sending.Unlock()
	_, _ = w.Write(append(message, body...))
}

// data is a chunk's body: bytes of the disk.
func (s *server) data(at, n int64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)), s.disk[at:at+n]...)
}

func hole(at, n int64) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(at)), uint32(n))
}

// right answers as the protocol has it: reads in two pieces, the last first.
func (s *server) right(w io.Writer, r request) {
	switch r.kind {
	case cmdWrite, cmdZeroes, cmdFlush:
		s.write(r)
		s.done(w, r, 0)
	case cmdRead:
		time.Sleep(time.Duration(r.cookie%3) * time.Millisecond)
		half := r.length / 2
		s.chunk(w, r, 0, chunkData, s.data(r.offset+half, r.length-half))
		if half > 0 {
			s.chunk(w, r, 0, chunkData, s.data(r.offset, half))
		}
		s.chunk(w, r, chunkDone, chunkNone, nil)
	case cmdStatus:
		body := binary.BigEndian.AppendUint32(nil, 5)
		for at := r.offset; at < r.offset+r.length; {
			number := at / s.extent
			n := min((number+1)*s.extent-at, r.offset+r.length-at)
			body = binary.BigEndian.AppendUint32(body, uint32(n))
			flags := uint32(1) // a hole alone has to be read
			if s.zero[number] {
				flags = 3
			}
			body = binary.BigEndian.AppendUint32(body, flags)
			at += n
		}
		s.chunk(w, r, chunkDone, chunkStatus, body)
	}
}

// write does what a request asks for, and notes it.
func (s *server) write(r request) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.did = append(s.did, fmt.Sprintf("%d: %d+%d", r.kind, r.offset, r.length))
	switch r.kind {
	case cmdWrite:
		copy(s.disk[r.offset:], r.data)
	case cmdZeroes:
		clear(s.disk[r.offset : r.offset+r.length])
	}
}

// done answers in the simple form, as qemu-nbd does.
func (s *server) done(w io.Writer, r request, errno uint32) {
	message := binary.BigEndian.AppendUint32(nil, magicSimple)
	message = binary.BigEndian.AppendUint32(message, errno)
	message = binary.BigEndian.AppendUint64(message, r.cookie)
	s.sending.Lock()
	defer s.sending.Unlock()
	_, _ = w.Write(message)
}
