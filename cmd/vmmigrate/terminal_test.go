package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/sys/unix"
)

// typing has ask read from a terminal at which somebody has typed.
func typing(t *testing.T, typed string, ask func(tty *os.File)) {
	t.Helper()
	master, tty := openTerminal(t)
	defer master.Close()
	defer tty.Close()
	if _, err := master.WriteString(typed); err != nil {
		t.Fatal(err)
	}
	ask(tty)
}

// openTerminal is a pseudo-terminal (pts(4)): what is written to one side is
// read from the other.
func openTerminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, tty
}

// onTerminal has show write to a terminal of so many columns, and returns what
// came out of it. The terminal is a pseudo-terminal (pts(4)).
func onTerminal(t *testing.T, columns int, show func(tty *os.File)) string {
	t.Helper()
	master, tty := openTerminal(t)
	defer master.Close()
	resize(t, tty, columns)
	got := make(chan []byte)
	go func() {
		var all bytes.Buffer
		_, _ = io.Copy(&all, master) // it ends with EIO when the terminal is closed
		got <- all.Bytes()
	}()
	show(tty)
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	return string(<-got)
}

func resize(t *testing.T, tty *os.File, columns int) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
}

// painted is what a terminal shows in the end of what was written to it, and
// how many columns the widest line had at any time.
func painted(t *testing.T, written string) (lines []string, widest int) {
	t.Helper()
	line := ""
	cursor := 0 // in letters
	for written != "" {
		if rest, ok := strings.CutPrefix(written, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
			switch sequence := rest[:end+1]; sequence {
			case "2K":
				line = ""
			case "0K":
				line = string([]rune(line)[:min(cursor, len([]rune(line)))])
			case "0m", "1m", "31m", "32m", "33m":
			default:
				t.Fatalf("unexpected escape sequence %q", sequence)
			}
			written = rest[end+1:]
			continue
		}
		r := []rune(written)[0]
		written = written[len(string(r)):]
		switch {
		case r == '\r':
			cursor = 0
		case r == '\n':
			lines = append(lines, strings.TrimRight(line, " "))
			line, cursor = "", 0
		case r < ' ' || r == 0x7f:
			t.Fatalf("a control character %q reached the terminal", r)
		default:
			letters := []rune(line)
			for len(letters) <= cursor {
				letters = append(letters, ' ')
			}
			letters[cursor] = r
			line = string(letters)
			cursor++
			widest = max(widest, text.StringWidth(line))
		}
	}
	return append(lines, strings.TrimRight(line, " ")), widest
}

func show(lines []string) string { return fmt.Sprintln(strings.Join(lines, "\n")) }
