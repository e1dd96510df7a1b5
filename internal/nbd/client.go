package nbd

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Options say how to connect. The zero value does for a local server.
type Options struct {
	// Connections is how many are made; 0 is one. A server that takes several
	// has to say so with its --shared.
	Connections int
	// Connect bounds connecting and the handshake; 0 is ten seconds.
	Connect time.Duration
	// Stall is how long the server may send nothing while it is asked for
	// something; 0 is two minutes, for a network filesystem below the image
	// that comes back.
	Stall time.Duration
}

// Client reads an export. Its methods may be used by many goroutines at once.
type Client struct {
	conns []*conn
	size  int64

	mu sync.Mutex
	// known is the part of the map that was asked for last.
	known mapped
}

// mapped is a stretch of the map: what lies between from and to.
type mapped struct {
	from, to int64
	extents  []extent
}

// Dial connects to the server on a unix socket and enters its export of the
// empty name. It returns a *ProtocolError or a *StalledError, or what the
// system says.
func Dial(socket string, o Options) (*Client, error) {
	if o.Connections == 0 {
		o.Connections = 1
	}
	if o.Connect == 0 {
		o.Connect = 10 * time.Second
	}
	if o.Stall == 0 {
		o.Stall = 2 * time.Minute
	}
	client := &Client{}
	for range o.Connections {
		c, err := dial(socket, o.Connect, o.Stall, false)
		if err != nil {
			client.Close()
			return nil, err
		}
		client.conns = append(client.conns, c)
		if client.size = c.size; c.size != client.conns[0].size {
			client.Close()
			return nil, &ProtocolError{"the export has another size for each connection"}
		}
	}
	return client, nil
}

// Size is the export's, in bytes.
func (c *Client) Size() int64 { return c.size }

// Close ends the connections. Reads under way fail.
func (c *Client) Close() {
	for _, conn := range c.conns {
		conn.leave()
	}
}

// idlest is the connection with the fewest requests under way.
func (c *Client) idlest() *conn {
	best := c.conns[0]
	for _, conn := range c.conns[1:] {
		if conn.load.Load() < best.load.Load() {
			best = conn
		}
	}
	return best
}

// ReadAt implements io.ReaderAt. Its error is io.EOF, a *ServerError, a
// *StalledError, a *ProtocolError or the connection's.
func (c *Client) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fmt.Errorf("read at %d", offset)
	}
	wanted := min(int64(len(p)), max(0, c.size-offset))
	conn := c.idlest()
	done, flags := int64(0), uint16(0)
	if conn.whole {
		flags = readWhole
	}
	for done < wanted {
		n := min(wanted-done, conn.maxBlock)
		if _, err := conn.ask(cmdRead, flags, offset+done, n, p[done:done+n]); err != nil {
			c.abandon(err)
			return int(done), err
		}
		done += n
	}
	if done < int64(len(p)) {
		return int(done), io.EOF
	}
	return int(done), nil
}

// abandon ends all connections when one has failed, unless the server only
// could not serve a request: each would be waited for anew.
func (c *Client) abandon(err error) {
	var server *ServerError
	if errors.As(err, &server) {
		return
	}
	for _, conn := range c.conns {
		conn.fail(err)
	}
}

// statusStep is how much of the map is asked for at once: enough for few
// questions, and little enough that a scattered image answers soon.
const statusStep = 1 << 30

// Data returns the first range at or after offset that may hold something other
// than zeros; start is Size or more when there is none. It is
// errors.ErrUnsupported where the server has no map.
func (c *Client) Data(offset int64) (start, end int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := max(offset, 0); at < c.size; {
		if at < c.known.from || at >= c.known.to {
			if c.known, err = c.ask(at); err != nil {
				return 0, 0, err
			}
		}
		pos := c.known.from
		for _, e := range c.known.extents {
			next := pos + e.length
			if next > at && !e.zero {
				return max(pos, at), next, nil
			}
			pos = next
		}
		at = c.known.to
	}
	return c.size, c.size, nil
}

// ask fetches the map from an offset on.
func (c *Client) ask(at int64) (mapped, error) {
	conn := c.idlest()
	if !conn.mapped {
		return mapped{}, errors.ErrUnsupported
	}
	k, err := conn.ask(cmdStatus, 0, at, min(statusStep, c.size-at), nil)
	if err != nil {
		return mapped{}, err
	}
	m := mapped{from: at, to: at}
	for _, e := range k.extents {
		if e.length == 0 {
			break
		}
		e.length = min(e.length, c.size-m.to)
		m.to += e.length
		m.extents = append(m.extents, e)
	}
	if m.to == m.from {
		return mapped{}, &ProtocolError{"the server's map is empty"}
	}
	return m, nil
}
