// Killer runs vmmigrate and kills it, with SIGKILL, at one of its calls to
// libvirt that change something:
//
//	killer N before|after COMMAND [ARG]...
//
// It stands between the two as a socket of libvirtd's. At the Nth such call it
// kills before libvirtd gets it, or after libvirtd has answered and before
// vmmigrate knows. $KILLER_SOCKET, in an argument, stands for the socket's path.
// Exit code 137 means that it has killed, 0 that there was no Nth call; otherwise
// it is the command's.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// changes are the numbers of the calls that change something
// (libvirt's src/remote/remote_protocol.x).
var changes = map[uint32]string{29: "set autostart", 231: "undefine", 264: "set metadata", 350: "define"}

// libvirtd is where the real one listens.
const libvirtd = "/run/libvirt/libvirt-sock"

const killed = 137

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "killer:", err)
		os.Exit(2)
	}
	os.Exit(code)
}

// killer counts calls and kills at one of them.
type killer struct {
	at    int64
	after bool
	calls atomic.Int64
	cmd   *exec.Cmd
	done  atomic.Bool
}

func run(args []string) (int, error) {
	if len(args) < 3 {
		return 0, errors.New("it is called as killer N before|after COMMAND [ARG]")
	}
	at, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "killer-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$KILLER_SOCKET", socket)
	}
	k := &killer{at: at, after: args[1] == "after", cmd: exec.Command(args[2], args[3:]...)}
	k.cmd.Stdin, k.cmd.Stdout, k.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := k.cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for {
			ours, err := listener.Accept()
			if err != nil {
				return
			}
			go k.serve(ours)
		}
	}()
	err = k.cmd.Wait()
	var exit *exec.ExitError
	switch {
	case k.done.Load():
		return killed, nil
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	}
	return 0, err
}

func (k *killer) serve(ours net.Conn) {
	defer ours.Close()
	theirs, err := net.Dial("unix", libvirtd)
	if err != nil {
		fmt.Fprintln(os.Stderr, "killer:", err)
		return
	}
	defer theirs.Close()
	var fatal atomic.Uint32 // the serial number of the call whose answer kills
	go func() {
		defer ours.Close()
		for {
			message, header, err := read(theirs)
			if err != nil {
				return
			}
			if fatal.Load() != 0 && header.serial == fatal.Load() && header.kind == 1 {
				k.kill()
				return
			}
			if _, err := ours.Write(message); err != nil {
				return
			}
		}
	}()
	for {
		message, header, err := read(ours)
		if err != nil {
			return
		}
		if what := changes[header.procedure]; what != "" && header.kind == 0 && k.calls.Add(1) == k.at {
			if !k.after {
				k.kill()
				return
			}
			fatal.Store(header.serial)
		}
		if _, err := theirs.Write(message); err != nil {
			return
		}
	}
}

func (k *killer) kill() {
	k.done.Store(true)
	_ = k.cmd.Process.Kill() // it may have ended
}

// header is the beginning of a message (virnetprotocol.x, virNetMessageHeader).
type header struct{ procedure, kind, serial uint32 }

func read(from io.Reader) ([]byte, header, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, header{}, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size < 28 || size > 64<<20 {
		return nil, header{}, fmt.Errorf("a message of %d bytes", size)
	}
	message := make([]byte, size)
	copy(message, length[:])
	if _, err := io.ReadFull(from, message[4:]); err != nil {
		return nil, header{}, err
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(message[4+4*i:]) }
	return message, header{procedure: word(2), kind: word(3), serial: word(4)}, nil
}
