package main

import (
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar is the progress bar at the bottom of a terminal. Its zero value with a
// terminal is not drawn yet.
type bar struct {
	tty   *os.File
	drawn *progressbar.ProgressBar // nil: nothing is on the screen
	// width is the terminal's when the bar was drawn.
	width int
}

// The measures of the line of the bar, in columns.
const (
	barWidth   = 24 // the bar alone, where there is room
	barMinimum = 4
	barEnds    = 11 // " 100% [", "] " and the last column, at which some terminals wrap
)

// show draws the bar, or draws it again. After the terminal was resized it is
// a new one: the line has to fit, since a line that wraps can't be drawn over.
func (b *bar) show(r reading) {
	width := b.columns()
	if b.drawn != nil && width != b.width {
		b.clear()
	}
	room := barRoom(width)
	if b.drawn == nil {
		b.width = width
		b.drawn = progressbar.NewOptions64(max(r.total, 1),
			progressbar.OptionSetWriter(b.tty),
			progressbar.OptionSetWidth(room),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(false), // the engine knows better, after a resume above all
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionUseANSICodes(true), // a line cleared and drawn in one write does not flicker
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
		)
	}
	if b.drawn.GetMax64() != max(r.total, 1) {
		b.drawn.ChangeMax64(max(r.total, 1))
	}
	said := "  " + r.what + "  " + r.rate
	if r.eta != "" {
		said += "  " + r.eta
	}
	b.drawn.Describe(fit(said, width-room-barEnds))
	// It complains of being finished already, which a pass that is not may
	// be shown as for a moment.
	_ = b.drawn.Set64(min(r.bytes, max(r.total, 1)))
}

// fit cuts a text to so many columns.
func fit(said string, columns int) string {
	if columns < 1 {
		return ""
	}
	return text.Trim(said, columns)
}

// barRoom is how wide the bar may be on a line of so many columns.
func barRoom(width int) int { return min(barWidth, max(barMinimum, barWidth-(80-width))) }

func (b *bar) columns() int {
	width, _, err := term.GetSize(int(b.tty.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}

// aside prints something above the bar.
func (b *bar) aside(print func()) {
	if b.drawn != nil {
		_ = b.drawn.Clear() // the next line overwrites whatever is left
	}
	print()
	if b.drawn != nil {
		_ = b.drawn.RenderBlank()
	}
}

// clear takes the bar away.
func (b *bar) clear() {
	if b.drawn != nil {
		_ = b.drawn.Clear() // what is left on the line is overwritten by the next
		b.drawn = nil
	}
}
