package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
)

// launchOnTerminal starts the command on a pseudo-terminal of its own, in a
// session of its own (pty(7)), so that it may prompt, and Ctrl-C in its input
// reaches it and its children as at a real terminal.
func (p *process) launchOnTerminal(size wire.Size, out io.Writer) error {
	master, slave, err := openTerminal(size)
	if err != nil {
		return err
	}
	defer slave.Close()
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		master.Close()
		return err
	}
	p.terminal = master
	p.stdin = newQueue(neverClose{master})
	p.drained = make(chan struct{})
	go func() {
		defer close(p.drained)
		// Reading a master fails with EIO once the last slave is closed.
		_, _ = io.Copy(out, master)
	}()
	return nil
}

// waitTerminal waits until what the command printed before its end is sent.
func (p *process) waitTerminal() {
	select {
	case <-p.drained:
	case <-time.After(outputGrace):
	}
	p.terminal.Close()
}

// neverClose keeps the end of the input from closing the terminal, through
// which the command still prints.
type neverClose struct{ io.Writer }

func (neverClose) Close() error { return nil }

func openTerminal(size wire.Size) (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = setSize(master, size)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	return master, slave, nil
}

func setSize(terminal *os.File, size wire.Size) error {
	return unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
}
