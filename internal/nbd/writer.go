package nbd

import (
	"cmp"
	"fmt"
	"time"
)

// Writer writes an export. Its methods may be used by many goroutines at once.
// It has one connection: a flush is about what was written on its own, unless
// the server says more (NBD_FLAG_CAN_MULTI_CONN).
type Writer struct {
	Client
}

// DialWriter connects to a server that takes writes, on a unix socket, and enters
// its export of the empty name. Options.Connections is of no account. It returns
// what Dial returns.
func DialWriter(socket string, o Options) (*Writer, error) {
	c, err := dial(socket, cmp.Or(o.Connect, 10*time.Second), cmp.Or(o.Stall, 2*time.Minute), true)
	if err != nil {
		return nil, err
	}
	return &Writer{Client{conns: []*conn{c}, size: c.size}}, nil
}

// WriteAt implements io.WriterAt. Nothing of it is on disk for certain before a
// Flush. Its error is a *ServerError, a *StalledError, a *ProtocolError or the
// connection's.
func (w *Writer) WriteAt(p []byte, offset int64) (int, error) {
	if err := w.within(offset, int64(len(p))); err != nil {
		return 0, err
	}
	c := w.conns[0]
	for done := 0; done < len(p); {
		n := int(min(int64(len(p)-done), c.maxBlock))
		if err := c.tell(cmdWrite, offset+int64(done), int64(n), p[done:done+n]); err != nil {
			w.abandon(err)
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// zeroStep is the most bytes that are zeroed by one request: a length has 32
// bits, and a multiple of every cluster's size does not split one.
const zeroStep = 1 << 30

// ZeroAt makes length bytes at offset read as zeros. The server may keep a hole
// there: the request does not forbid it (NBD_CMD_FLAG_NO_HOLE).
func (w *Writer) ZeroAt(offset, length int64) error {
	if err := w.within(offset, length); err != nil {
		return err
	}
	for length > 0 {
		n := min(length, zeroStep)
		if err := w.conns[0].tell(cmdZeroes, offset, n, nil); err != nil {
			w.abandon(err)
			return err
		}
		offset, length = offset+n, length-n
	}
	return nil
}

// Flush returns when all is on disk that was written before it.
func (w *Writer) Flush() error {
	err := w.conns[0].tell(cmdFlush, 0, 0, nil)
	if err != nil {
		w.abandon(err)
	}
	return err
}

func (w *Writer) within(offset, length int64) error {
	if offset < 0 || length < 0 || offset > w.size || length > w.size-offset {
		return fmt.Errorf("write %d bytes at %d of an export of %d", length, offset, w.size)
	}
	return nil
}
