// Command agent runs inside a test host and runs there what the harness asks
// for over the serial line (package wire). It is started by boot/init.sh once
// the host is up; when it ends, the host halts.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: agent SERIAL-LINE REQUESTS-FOLDER")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func serve(device, folder string) error {
	line, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer line.Close()
	if err := makeRaw(int(line.Fd())); err != nil {
		return fmt.Errorf("make %s a plain pipe of bytes: %w", device, err)
	}

	out := wire.NewEventWriter(line)
	if err := out.Send(wire.Event{Kind: wire.Ready}); err != nil {
		return err
	}
	in := wire.NewRequestReader(line, folder)
	running := newProcesses(out)
	for {
		request, err := in.Receive()
		if err != nil {
			return err
		}
		if err := out.Send(wire.Event{Kind: wire.Took}); err != nil {
			return err
		}
		if request.Op == wire.Halt {
			return nil
		}
		running.handle(request)
	}
}

// makeRaw turns off all that a terminal does to bytes on their way (echo,
// line editing, CR and NL, control characters), as cfmakeraw(3) does.
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
