package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
)

const welcome = `
This is the test host, a Linux of its own in a process. Nothing here touches your machine, and nothing stays.
  virsh list --all               the guest, imap
  lvs; lsblk                     its first disk, /dev/vg0/lvimap_hd0
  vmmigrate plan --vm imap       what would be done
  echo secret >/root/key; vmmigrate run --vm imap --key-file /root/key
  virsh start imap-luks; tail -F /var/log/libvirt/qemu/imap-luks-serial.log
Leave with exit or Ctrl-D.

`

// shell sets the stage and gives its person a shell on it.
func shell(ctx context.Context) error {
	stdin := int(os.Stdin.Fd())
	if !term.IsTerminal(stdin) {
		return errors.New("shell: standard input is no terminal; `testhost run -guest -- CMD` runs one command")
	}
	fmt.Println("Booting the test host and putting the guest on it; this takes about half a minute the first time.")
	stage, err := scenario.Set(ctx, scenario.Options{})
	if err != nil {
		return err
	}
	defer stage.PowerCut()
	fmt.Print(welcome)

	c := stage.Command("bash", "-l")
	c.Env = []string{"TERM=" + os.Getenv("TERM"), `PS1=testhost:\w# `}
	c.Stdin, c.Stdout, c.Pty = os.Stdin, os.Stdout, size(stdin)
	before, err := term.MakeRaw(stdin)
	if err != nil {
		return fmt.Errorf("shell: %w", err)
	}
	// A terminal that stays raw is worse than the error it would hide.
	defer func() { _ = term.Restore(stdin, before) }()
	if err := c.Start(); err != nil {
		return err
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	go func() {
		for range resized {
			_ = c.Resize(*size(stdin)) // only how it looks
		}
	}()
	_, err = c.Wait(ctx)
	return errors.Join(shown(err), stage.Stop())
}

// size returns the terminal's, or the usual one if it does not tell.
func size(fd int) *wire.Size {
	cols, rows, err := term.GetSize(fd)
	if err != nil || cols <= 0 || rows <= 0 {
		cols, rows = 80, 24
	}
	return &wire.Size{Rows: uint16(rows), Cols: uint16(cols)}
}
