package hypervisor

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
)

// The bounds of an RPC packet: its length and the six words of its header, and
// VIR_NET_MESSAGE_MAX with the length word (libvirt, src/rpc/virnetprotocol.x).
const (
	minPacket = 28
	maxPacket = 32<<20 + 4
)

// wire is the daemon's connection with a guard on what comes in. go-libvirt
// takes a packet's length as it is: one that is too small makes it panic in a
// goroutine of its own, and a large one takes gigabytes. wire ends the
// connection instead, and tells when it has ended for whatever reason.
type wire struct {
	net.Conn
	// gone is closed when nothing more will be read.
	gone chan struct{}
	once sync.Once
	// settled is closed when the connection was opened, or not. An end is
	// kept from go-libvirt until then: it would read what it is writing.
	settled chan struct{}

	head [4]byte // the length word of the packet that is being read
	have int     // how much of it was read from the connection
	pass int     // how much of it was handed on
	left int     // what follows it in the packet
}

func newWire(conn net.Conn) *wire {
	return &wire{Conn: conn, gone: make(chan struct{}), settled: make(chan struct{})}
}

// Read implements io.Reader; only go-libvirt's one listener calls it.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.read(p)
	if err != nil {
		w.cut()
		<-w.settled
	}
	return n, err
}

func (w *wire) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for w.have < len(w.head) {
		n, err := w.Conn.Read(w.head[w.have:])
		w.have += n
		if err != nil {
			return 0, err
		}
		if w.have < len(w.head) {
			continue
		}
		length := binary.BigEndian.Uint32(w.head[:])
		if length < minPacket || length > maxPacket {
			return 0, fmt.Errorf("a packet of %d bytes came from the libvirt socket, which no daemon sends", length)
		}
		w.left = int(length) - len(w.head)
	}
	if w.pass < len(w.head) {
		n := copy(p, w.head[w.pass:])
		w.pass += n
		return n, nil
	}
	n, err := w.Conn.Read(p[:min(len(p), w.left)])
	if w.left -= n; w.left == 0 {
		w.have, w.pass = 0, 0
	}
	return n, err
}

// cut ends the connection at once, whatever is under way on it.
func (w *wire) cut() {
	w.once.Do(func() {
		close(w.gone)
		_ = w.Conn.Close() // it is of no more use, whatever close says
	})
}

// Close implements io.Closer.
func (w *wire) Close() error {
	w.cut()
	return nil
}

func (w *wire) isGone() bool {
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}
