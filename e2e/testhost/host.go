package testhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
)

// Host is a running host. Its methods may be used by many goroutines at once.
type Host struct {
	log     io.Writer
	dir     string
	disks   int
	kernel  *kernel
	line    net.Conn
	to      *wire.RequestWriter
	release func() bool
	// haltTime is how long Stop waits.
	haltTime time.Duration
	systemd  bool

	mu       sync.Mutex
	commands map[int]*Command
	lastID   int
	gone     chan struct{} // closed when the serial line has ended
}

// bootTimeout is how long a host may take to boot: 2 s on an idle machine, 40
// on a busy one.
const bootTimeout = 2 * time.Minute

// Start boots a host and returns when it takes commands. The host lives until
// Stop, PowerCut or the end of ctx. Whoever starts one has to call Stop or
// PowerCut, which also remove its temporary files.
//
// It returns a *MissingError if the machine lacks a program, and a *BootError
// with the console's last lines if the host does not come up.
func Start(ctx context.Context, options Options) (*Host, error) {
	if err := CheckMachine(); err != nil {
		return nil, err
	}
	cache, err := cacheDir(options)
	if err != nil {
		return nil, err
	}
	log := options.Log
	if log == nil {
		log = io.Discard
	}
	k := findUML(ctx, cache, func(format string, args ...any) { fmt.Fprintf(log, format, args...) })
	h, err := start(ctx, k, cache, log, options)
	var failed *BootError
	if k.unusable != "" && errors.As(err, &failed) && ctx.Err() == nil {
		fmt.Fprintf(log, "test host: the kernel %s does not boot here, and the installed one is slower: %v\n", k.name, err)
		// One that gives up may not know this machine's processor, and the next
		// hosts need not find that out again; one that is slow may have had no
		// time.
		if errors.Is(failed.Err, errKernelEnded) {
			if err := os.WriteFile(k.unusable, []byte(failed.Console), 0o644); err != nil {
				return nil, err
			}
		}
		return start(ctx, installedUML, cache, log, options)
	}
	return h, err
}

// errKernelEnded says that a kernel gave up before its host was up.
var errKernelEnded = errors.New("its kernel ended")

// start is Start with that kernel.
func start(ctx context.Context, k uml, cache string, log io.Writer, options Options) (*Host, error) {
	begin := time.Now()
	dir, err := os.MkdirTemp("", "testhost-")
	if err != nil {
		return nil, err
	}
	h := &Host{
		log: log, dir: dir, disks: len(options.Disks),
		commands: map[int]*Command{}, gone: make(chan struct{}), haltTime: haltTimeout,
	}
	if options.Systemd {
		h.haltTime, h.systemd = shutdownTimeout, true
	}
	if err := h.boot(ctx, k, cache, options); err != nil {
		h.PowerCut()
		return nil, err
	}
	fmt.Fprintf(h.log, "test host: up after %.1f s\n", time.Since(begin).Seconds())
	if options.Libvirt {
		if err := h.StartLibvirt(ctx); err != nil {
			h.PowerCut()
			return nil, err
		}
	}
	return h, nil
}

func (h *Host) boot(ctx context.Context, k uml, cache string, options Options) error {
	cmdline, err := h.prepare(ctx, k, cache, options)
	if err != nil {
		return err
	}
	line, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	h.line, h.to = line, wire.NewRequestWriter(line, h.path("requests"), h.gone)
	h.kernel, err = startKernel(k, h.dir, cmdline, theirs)
	if err != nil {
		return err
	}
	h.release = context.AfterFunc(ctx, h.kernel.kill)

	ready := make(chan struct{})
	go h.receive(wire.NewEventReader(line), ready)
	select {
	case <-ready:
		return nil
	case <-h.kernel.ended:
		err = errKernelEnded
	case <-time.After(bootTimeout):
		err = fmt.Errorf("not up after %s", bootTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return &BootError{Err: err, Console: h.ConsoleTail()}
}

// receive hands the agent's events to the commands they are about, until the
// serial line ends.
func (h *Host) receive(from *wire.EventReader, ready chan<- struct{}) {
	defer close(h.gone)
	for {
		event, err := from.Receive()
		if err != nil {
			return
		}
		switch event.Kind {
		case wire.Ready:
			close(ready)
			continue
		case wire.Took:
			h.to.Took()
			continue
		}
		h.mu.Lock()
		command := h.commands[event.ID]
		if event.Kind == wire.Exit || event.Kind == wire.Failed {
			delete(h.commands, event.ID)
		}
		h.mu.Unlock()
		if command != nil {
			command.take(event)
		}
	}
}

// ErrGone says that the host has ended, or ended while a command ran on it.
var ErrGone = wire.ErrGone

// haltTimeout is how long a host may take to write back and halt; one with
// systemd also shuts its guests down.
const (
	haltTimeout     = 30 * time.Second
	shutdownTimeout = 5 * time.Minute
)

// Stop halts the host: what it has not written yet goes to the disks, file
// systems are left clean. Commands that run are ended. It may be called again.
func (h *Host) Stop() error {
	var err error
	if h.kernel != nil && h.kernel.running() {
		if err = h.to.Send(wire.Request{Op: wire.Halt}); err == nil {
			select {
			case <-h.kernel.ended:
			case <-time.After(h.haltTime):
				err = fmt.Errorf("the test host had not halted after %s, and was cut off; the last its console said:\n%s", h.haltTime, h.ConsoleTail())
			}
		}
	}
	h.PowerCut()
	return err
}

// PowerCut ends the host as a power cut does: at once, and what it had not
// written to its disks is lost. A later Start with the same disk files boots
// from what they hold. It may be called again, and after Stop.
func (h *Host) PowerCut() {
	if h.kernel != nil {
		h.kernel.kill()
		<-h.kernel.ended
		h.release()
	}
	if h.line != nil {
		h.line.Close()
	}
	// What is left behind in the temporary folder harms nobody.
	_ = os.RemoveAll(h.dir)
}

// Device returns the path that disk number i of Options.Disks has on the host.
func (h *Host) Device(i int) string { return "/dev/" + diskName(i) }

func diskName(i int) string { return "ubd" + string(rune('a'+i)) }

// Share returns a folder of the machine that the host sees as SharePath: for
// files too large for WriteFile and ReadFile. It goes with the host.
func (h *Host) Share() string { return filepath.Join(h.dir, "share") }

// SharePath is where the host sees the folder that Share returns.
const SharePath = "/testhost/share"

// CopyIn copies a file of the machine to a file or a device of the host, and
// returns when it is flushed there. Holes are written as zeros.
func (h *Host) CopyIn(ctx context.Context, from, to string) error {
	through := filepath.Join(h.Share(), "copy-"+filepath.Base(from))
	if err := copyFile(from, through); err != nil {
		return err
	}
	defer os.Remove(through)
	_, err := h.Run(ctx, "dd", "if="+SharePath+"/"+filepath.Base(through), "of="+to, "bs=4M", "conv=fsync", "status=none")
	return err
}
