package hypervisor

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
)

// The procedures of libvirt's remote protocol that the tests answer
// (src/remote/remote_protocol.x).
const (
	procOpen       = 1
	procByName     = 23
	procByUUID     = 24
	procAuthList   = 66
	procToNative   = 136
	procPersistent = 151
	procVersion    = 157
	procState      = 212
	procDefine     = 350
)

// daemon is a libvirt of the tests' own on a unix socket. It knows how to let
// a client in, and what else it is told.
type daemon struct {
	socket   string
	listener net.Listener

	mu      sync.Mutex
	replies map[uint32]reply
	asked   []uint32
	conns   []net.Conn
}

// reply answers a call on the connection it came from; nil never answers.
type reply func(conn net.Conn, head []byte)

// xdr is an answer of these 32-bit words.
func xdr(words ...uint32) reply {
	return func(conn net.Conn, head []byte) { send(conn, head, 0, words...) }
}

// refuse is an error of libvirt's with that number and message.
func refuse(code uint32, message string) reply {
	words := []uint32{code, 0, 1, uint32(len(message))}
	text := []byte(message + "\x00\x00\x00")
	for i := 0; i < len(message); i += 4 {
		words = append(words, binary.BigEndian.Uint32(text[i:]))
	}
	return func(conn net.Conn, head []byte) { send(conn, head, 1, append(words, 2)...) }
}

// raw writes bytes that may be no answer at all.
func raw(text string) reply {
	return func(conn net.Conn, _ []byte) { _, _ = io.WriteString(conn, text) }
}

func hangUp(conn net.Conn, _ []byte) { conn.Close() }

// send writes a reply to the call whose header is head: length, then program,
// version, procedure, type, serial and status.
func send(conn net.Conn, head []byte, status uint32, words ...uint32) {
	packet := make([]byte, 28+4*len(words))
	binary.BigEndian.PutUint32(packet, uint32(len(packet)))
	copy(packet[4:], head)
	binary.BigEndian.PutUint32(packet[16:], 1) // a reply
	binary.BigEndian.PutUint32(packet[24:], status)
	for i, word := range words {
		binary.BigEndian.PutUint32(packet[28+4*i:], word)
	}
	_, _ = conn.Write(packet) // the client may have gone
}

func newDaemon(t *testing.T, replies map[uint32]reply) *daemon {
	t.Helper()
	d := &daemon{socket: filepath.Join(t.TempDir(), "sock"), replies: map[uint32]reply{
		procAuthList: xdr(1, 0), procOpen: xdr(), procVersion: xdr(0, 9_000_000),
	}}
	for proc, r := range replies {
		d.replies[proc] = r
	}
	d.start(t)
	return d
}

func (d *daemon) start(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	d.listener = listener
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns = append(d.conns, conn)
			d.mu.Unlock()
			go d.serve(conn)
		}
	}()
	t.Cleanup(d.stop)
}

// stop ends the daemon and its connections.
func (d *daemon) stop() {
	d.listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.conns {
		conn.Close()
	}
	d.conns = nil
}

func (d *daemon) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		length := make([]byte, 4)
		if _, err := io.ReadFull(in, length); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint32(length)-4)
		if _, err := io.ReadFull(in, packet); err != nil {
			return
		}
		proc := binary.BigEndian.Uint32(packet[8:])
		d.mu.Lock()
		d.asked = append(d.asked, proc)
		r := d.replies[proc]
		d.mu.Unlock()
		if r != nil {
			go r(conn, packet[:24])
		}
	}
}

// times is how often a procedure was called.
func (d *daemon) times(proc uint32) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, p := range d.asked {
		if p == proc {
			n++
		}
	}
	return n
}

// uri leads to the daemon.
func (d *daemon) uri() string { return "qemu:///system?socket=" + d.socket }

// aDomain is the answer that names a domain: name, UUID and id.
func aDomain(name string) reply {
	words := []uint32{uint32(len(name))}
	text := []byte(name + "\x00\x00\x00")
	for i := 0; i < len(name); i += 4 {
		words = append(words, binary.BigEndian.Uint32(text[i:]))
	}
	return xdr(append(words, 0x6a1f6c1e, 0x0b7d4d5c, 0x9a510000, 0x00000001, 0xffffffff)...)
}
