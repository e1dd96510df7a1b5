package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The numbers of the transmission phase ("Values").
const (
	magicRequest = 0x25609513
	magicSimple  = 0x67446698
	magicChunk   = 0x668e33ef
	cmdRead      = 0
	cmdWrite     = 1
	cmdDisc      = 2
	cmdFlush     = 3
	cmdZeroes    = 6
	cmdStatus    = 7
	// readWhole asks for a read's bytes in one piece (NBD_CMD_FLAG_DF). It
	// keeps QEMU from looking for holes in each read, which the map has told
	// already, and from ending the connection where a place can't be read
	// (7.2, nbd/server.c, nbd_co_send_sparse_read).
	readWhole   = 1 << 2
	chunkDone   = 1 << 0
	chunkNone   = 0
	chunkData   = 1
	chunkHole   = 2
	chunkStatus = 5
	chunkError  = 1 << 15
	errorOffset = chunkError + 2
	// statusMax bounds a map: qemu sends up to 2^17 extents (nbd/server.c,
	// NBD_MAX_BLOCK_STATUS_EXTENTS).
	statusMax = 4 + 8<<17
	// messageMax bounds an error's text ("Error chunk types": 4096 at most).
	messageMax = 4096 + 16
)

// conn is one connection in its transmission phase. Requests of many callers
// are under way at once; one goroutine takes the replies and reads data to
// where it is wanted, with no buffer between.
type conn struct {
	net.Conn
	export
	stall time.Duration

	sending sync.Mutex
	mu      sync.Mutex
	calls   map[uint64]*call
	last    uint64
	failed  error
	load    atomic.Int32
}

// call is one request under way.
type call struct {
	into   []byte
	offset int64
	// short says that the reply has nothing to it but an error. QEMU answers
	// such a request in the simple form (nbd/server.c, nbd_send_generic_reply).
	short bool
	// got counts the bytes that came; a reply that left some out is an error.
	got     int64
	extents []extent
	err     error
	done    chan struct{}
}

// extent is a stretch of a map as the server describes it.
type extent struct {
	length int64
	zero   bool
}

func dial(address string, timeout, stall time.Duration, writes bool) (*conn, error) {
	line, err := net.DialTimeout("unix", address, timeout)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: line, calls: make(map[uint64]*call), stall: stall}
	_ = line.SetDeadline(time.Now().Add(timeout)) // a socket takes deadlines
	if c.export, err = handshake(line, writes); err != nil {
		_ = line.Close()
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			err = &StalledError{After: timeout}
		}
		return nil, err
	}
	_ = line.SetDeadline(time.Time{})
	go c.receive()
	return c, nil
}

// ask sends a request and waits for its reply.
func (c *conn) ask(kind uint16, flags uint16, offset, length int64, into []byte) (*call, error) {
	k := &call{into: into, offset: offset, done: make(chan struct{})}
	return k, c.send(k, kind, flags, offset, length, nil)
}

// tell sends a request that is answered with no more than whether it was done.
func (c *conn) tell(kind uint16, offset, length int64, data []byte) error {
	return c.send(&call{short: true, offset: offset, done: make(chan struct{})}, kind, 0, offset, length, data)
}

func (c *conn) send(k *call, kind uint16, flags uint16, offset, length int64, data []byte) error {
	c.load.Add(1)
	defer c.load.Add(-1)
	cookie, err := c.enlist(k)
	if err != nil {
		return err
	}
	request := make([]byte, 0, 28)
	request = binary.BigEndian.AppendUint32(request, magicRequest)
	request = binary.BigEndian.AppendUint16(request, flags)
	request = binary.BigEndian.AppendUint16(request, kind)
	request = binary.BigEndian.AppendUint64(request, cookie)
	request = binary.BigEndian.AppendUint64(request, uint64(offset))
	request = binary.BigEndian.AppendUint32(request, uint32(length))
	message := net.Buffers{request}
	if len(data) > 0 {
		message = append(message, data)
	}
	c.sending.Lock()
	_, err = message.WriteTo(c.Conn)
	c.sending.Unlock()
	if err != nil {
		c.fail(err)
	}
	<-k.done
	return k.err
}

// enlist gives a call its cookie. While calls are under way the server has to
// send something within the stall time.
func (c *conn) enlist(k *call) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return 0, c.failed
	}
	if len(c.calls) == 0 {
		_ = c.SetDeadline(time.Now().Add(c.stall))
	}
	c.last++
	c.calls[c.last] = k
	return c.last, nil
}

// receive takes replies until the connection ends.
func (c *conn) receive() {
	for {
		if err := c.reply(); err != nil {
			c.fail(err)
			return
		}
	}
}

// fail ends the connection and all that is under way on it.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return
	}
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		err = &StalledError{After: c.stall}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		err = ErrClosed
	}
	c.failed = err
	_ = c.Close() // there is nothing left to say
	for cookie, k := range c.calls {
		k.err = err
		close(k.done)
		delete(c.calls, cookie)
	}
}

// reply takes one simple reply or one chunk of a structured one.
func (c *conn) reply() error {
	var header [20]byte
	if _, err := io.ReadFull(c, header[:16]); err != nil {
		return err
	}
	switch binary.BigEndian.Uint32(header[:]) {
	case magicChunk:
	case magicSimple:
		return c.simple(header[4:16])
	default:
		return &ProtocolError{"the server's reply does not begin as one"}
	}
	if _, err := io.ReadFull(c, header[16:]); err != nil {
		return err
	}
	flags, kind := binary.BigEndian.Uint16(header[4:]), binary.BigEndian.Uint16(header[6:])
	cookie, length := binary.BigEndian.Uint64(header[8:]), int64(binary.BigEndian.Uint32(header[16:]))
	c.mu.Lock()
	k := c.calls[cookie]
	_ = c.SetDeadline(time.Now().Add(c.stall))
	c.mu.Unlock()
	if k == nil {
		return &ProtocolError{"the server answered what was not asked"}
	}
	if err := c.chunk(k, kind, length); err != nil {
		return err
	}
	if flags&chunkDone == 0 {
		return nil
	}
	return c.finish(cookie, k)
}

// simple takes a reply in the old form, which only says whether it was done
// ("Simple reply message").
func (c *conn) simple(header []byte) error {
	errno, cookie := binary.BigEndian.Uint32(header), binary.BigEndian.Uint64(header[4:])
	c.mu.Lock()
	k := c.calls[cookie]
	_ = c.SetDeadline(time.Now().Add(c.stall))
	c.mu.Unlock()
	switch {
	case k == nil:
		return &ProtocolError{"the server answered what was not asked"}
	case !k.short:
		return &ProtocolError{"the server sent a simple reply after it agreed to structured ones"}
	case errno != 0:
		k.err = &ServerError{Errno: syscall.Errno(errno)}
	}
	return c.finish(cookie, k)
}

// finish ends a call whose reply is whole.
func (c *conn) finish(cookie uint64, k *call) error {
	if k.err == nil && k.into != nil && k.got != int64(len(k.into)) {
		return &ProtocolError{fmt.Sprintf("the server sent %d of %d bytes and called it all", k.got, len(k.into))}
	}
	c.mu.Lock()
	delete(c.calls, cookie)
	if len(c.calls) == 0 {
		_ = c.SetDeadline(time.Time{})
	}
	c.mu.Unlock()
	close(k.done)
	return nil
}

// chunk takes the body of one chunk ("Structured reply types").
func (c *conn) chunk(k *call, kind uint16, length int64) error {
	switch {
	case kind == chunkNone && length == 0:
		return nil
	case kind == chunkData && length > 8:
		part, err := c.place(k, length-8)
		if err == nil {
			_, err = io.ReadFull(c, part)
		}
		return err
	case kind == chunkHole && length == 12:
		var at, n int64
		var body [12]byte
		if _, err := io.ReadFull(c, body[:]); err != nil {
			return err
		}
		at, n = int64(binary.BigEndian.Uint64(body[:])), int64(binary.BigEndian.Uint32(body[8:]))
		part, err := k.part(at, n)
		clear(part)
		return err
	case kind == chunkStatus && length >= 12 && length%8 == 4 && length <= statusMax:
		return c.status(k, length)
	case kind&chunkError != 0 && length >= 6 && length <= messageMax:
		return c.refusal(k, kind, length)
	}
	return &ProtocolError{fmt.Sprintf("the server sent a chunk of type %d with %d bytes", kind, length)}
}

// place reads a data chunk's offset and returns where its n bytes belong.
func (c *conn) place(k *call, n int64) ([]byte, error) {
	var at [8]byte
	if _, err := io.ReadFull(c, at[:]); err != nil {
		return nil, err
	}
	return k.part(int64(binary.BigEndian.Uint64(at[:])), n)
}

// part is the piece of the call's buffer that n bytes at an offset of the disk
// are. What lies outside of it was not asked for.
func (k *call) part(at, n int64) ([]byte, error) {
	from := at - k.offset
	if from < 0 || n < 0 || from > int64(len(k.into)) || n > int64(len(k.into))-from {
		return nil, &ProtocolError{fmt.Sprintf("the server sent %d bytes at %d, which were not asked for", n, at)}
	}
	k.got += n
	return k.into[from : from+n], nil
}

func (c *conn) status(k *call, length int64) error {
	body := make([]byte, length)
	if _, err := io.ReadFull(c, body); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(body) != c.context || k.into != nil {
		return &ProtocolError{"the server sent a map that was not asked for"}
	}
	for at := 4; at < len(body); at += 8 {
		// "Metadata querying": bit 0 is a hole, bit 1 reads as zeros. A hole
		// that does not read as zeros has to be read.
		k.extents = append(k.extents, extent{
			length: int64(binary.BigEndian.Uint32(body[at:])),
			zero:   binary.BigEndian.Uint32(body[at+4:])&2 != 0,
		})
	}
	return nil
}

// refusal takes an error chunk: the errno, a message, and for one kind the
// offset.
func (c *conn) refusal(k *call, kind uint16, length int64) error {
	body := make([]byte, length)
	if _, err := io.ReadFull(c, body); err != nil {
		return err
	}
	said := &ServerError{Errno: syscall.Errno(binary.BigEndian.Uint32(body))}
	message := body[6:]
	if n := int(binary.BigEndian.Uint16(body[4:])); n <= len(message) {
		message = message[:n]
	} else if kind == errorOffset && len(message) >= 8 {
		message = message[:len(message)-8]
	}
	said.Message = string(message)
	if k.err == nil {
		k.err = said
	}
	return nil
}

// leave says goodbye and ends the connection.
func (c *conn) leave() {
	request := make([]byte, 28)
	binary.BigEndian.PutUint32(request, magicRequest)
	binary.BigEndian.PutUint16(request[6:], cmdDisc)
	_ = c.SetDeadline(time.Now().Add(time.Second))
	c.sending.Lock()
	_, _ = c.Write(request) // the server ends with the connection too
	c.sending.Unlock()
	c.fail(net.ErrClosed)
}
