package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/internal/nbd"
	"github.com/vmmigrate/vmmigrate/internal/scratch"
)

// Tools are QEMU's programs that images are read with. The zero value runs
// this machine's.
type Tools struct {
	// Runner and Starter run them; nil is command.Local.
	Runner  command.Runner
	Starter command.Starter
	// Ready bounds how long qemu-nbd may take until it can be connected to,
	// and Stall how long it may send nothing while it is read from; 0 is 30
	// seconds, and two minutes.
	Ready, Stall time.Duration
	// Idle has qemu-nbd read in the idle I/O scheduling class (ionice(1)): it
	// waits for everybody else.
	Idle bool
	// OpenFile opens a file or device of a chain for reading, past the page
	// cache where it lets us. What lies in it as the guest wrote it is then read
	// from there, while qemu-nbd holds its lock; with nil all comes from
	// qemu-nbd.
	OpenFile func(path string) (File, error)
}

func (t Tools) runner() command.Runner {
	if t.Runner == nil {
		return command.Local{}
	}
	return t.Runner
}

func (t Tools) starter() command.Starter {
	if t.Starter == nil {
		return command.Local{}
	}
	return t.Starter
}

// connections is how many are made to one server: while one waits for its data
// to be copied through the socket, another's is.
const connections = 4

// Open shows a chain through a read-only qemu-nbd of its own and connects to
// it. It returns a *LockedError, a *ServeError, a *HungError or, without
// qemu-nbd, a *command.NotFoundError. Whoever opens a Source closes it.
func (t Tools) Open(ctx context.Context, chain Chain) (*Source, error) {
	if len(chain) == 0 {
		return nil, errors.New("there is no image to open")
	}
	return pastCache(func(mode string) (*Source, error) { return t.serve(ctx, chain, mode) })
}

// The modes of qemu-nbd --cache that are used.
const (
	direct   = "none"
	buffered = "writeback"
)

// pastCache opens something past the page cache, as raw disks are read; not every
// filesystem takes that, and the program says so only by ending.
func pastCache[T any](open func(mode string) (T, error)) (T, error) {
	opened, err := open(direct)
	var refused *ServeError
	if errors.As(err, &refused) && strings.Contains(refused.Said, "O_DIRECT") {
		opened, err = open(buffered)
	}
	return opened, err
}

// launch starts a qemu-nbd.
func (t Tools) launch(cmd command.Cmd) (*command.Process, error) {
	if err := command.Installed(cmd.Name); err != nil {
		return nil, err
	}
	if t.Idle {
		cmd.Name, cmd.Args = "ionice", append([]string{"--class", "idle", "--", cmd.Name}, cmd.Args...)
	}
	return t.starter().Start(cmd)
}

func (t Tools) serve(ctx context.Context, chain Chain, mode string) (*Source, error) {
	folder, err := scratch.Make()
	if err != nil {
		return nil, err
	}
	// The socket is of no use once the connections stand.
	defer func() { _ = folder.Remove() }()
	socket := filepath.Join(folder.Path, "nbd")
	before, err := chain.identities()
	if err != nil {
		return nil, err
	}
	server, err := t.launch(command.Cmd{
		Name: "qemu-nbd", ReadOnly: true,
		Args: []string{"--read-only", "--socket=" + socket, fmt.Sprintf("--shared=%d", connections), "--cache=" + mode, "--", chain.graph()},
	})
	if err != nil {
		return nil, err
	}
	source := &Source{chain: chain, server: server, direct: mode == direct}
	if source.client, err = t.connect(ctx, chain, server, socket); err != nil {
		return nil, errors.Join(err, server.Stop(stopPatience))
	}
	if t.OpenFile != nil {
		if source.plain, err = t.openPlain(chain); err == nil {
			err = chain.unmoved(before)
		}
		if err != nil {
			return nil, errors.Join(err, source.Close())
		}
		source.plain.ahead(0) // while its reader gets ready
	}
	return source, nil
}

// unmoved says that QEMU and we have opened the same files by their names: they
// are those that they were before.
func (c Chain) unmoved(before []string) error {
	after, err := c.identities()
	if err != nil {
		return err
	}
	for i, path := range c.Files() {
		if before[i] != after[i] {
			return &Error{Path: path, Reason: "was replaced by another file while it was opened"}
		}
	}
	return nil
}

// stopPatience is how long qemu-nbd may take to end by itself. It has nothing
// to write.
const stopPatience = 2 * time.Second

// connect waits for the server's socket and connects to read.
func (t Tools) connect(ctx context.Context, chain Chain, server *command.Process, socket string) (client *nbd.Client, err error) {
	err = t.reach(ctx, chain, server, socket, func(o nbd.Options) error {
		o.Connections = connections
		client, err = nbd.Dial(socket, o)
		return err
	})
	return client, err
}

// reach waits for the server's socket and then dials.
func (t Tools) reach(ctx context.Context, chain Chain, server *command.Process, socket string, dial func(nbd.Options) error) error {
	ready := cmp.Or(t.Ready, 30*time.Second)
	patience, cancel := context.WithTimeoutCause(ctx, ready, &HungError{Path: chain[0].Path, After: ready})
	defer cancel()
	for {
		if _, err := os.Stat(socket); err == nil {
			err := dial(nbd.Options{Connect: ready, Stall: t.Stall})
			var stalled *nbd.StalledError
			switch {
			case errors.As(err, &stalled):
				return &HungError{Path: chain[0].Path, After: stalled.After}
			case err == nil:
				return nil
			case !isRefused(err):
				// A server that can't open the image may listen for a moment.
				select {
				case <-server.Done():
				case <-time.After(stopPatience):
					return &ServeError{Path: chain[0].Path, Said: clean(server.Said()), Err: err}
				}
			}
		}
		select {
		case <-server.Done():
			return refusal(chain, server.Said(), server.Err())
		case <-patience.Done():
			return context.Cause(patience)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// refusal tells a lock from other reasons for which QEMU opens no image.
func refusal(chain Chain, said string, err error) error {
	said = clean(said)
	if strings.Contains(said, "Failed to get") && strings.Contains(said, "lock") {
		return &LockedError{Path: chain[0].Path, Said: said}
	}
	return &ServeError{Path: chain[0].Path, Said: said, Err: err}
}

// clean takes what QEMU's programs print around what they say: their name, and
// the graph that they were given.
func clean(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		for _, prefix := range []string{"qemu-nbd: ", "qemu-img: "} {
			line = strings.TrimPrefix(line, prefix)
		}
		if at := strings.Index(line, "json:{"); at >= 0 {
			if end := strings.LastIndex(line, "}"); end > at {
				line = strings.TrimPrefix(strings.TrimPrefix(line[:at]+line[end+1:], "Could not open ''"), "Failed to blk_new_open ''")
				line = strings.TrimPrefix(line, ": ")
			}
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
