package main

import (
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// listing is rows under headings. Where they fit they are a table; on a
// terminal too narrow for it each row becomes a few lines, so that nothing is
// cut off that somebody may need.
type listing struct {
	headings []string
	rows     [][]string
	// bold says whether headings may be.
	bold bool
	// paint colours the cells of a column; nil leaves them as they are.
	paint func(column int, cell string) string
	// width is the terminal's in columns, 0 for a pipe.
	width int
}

// tableFor makes a listing for w: headings bold on a terminal, nothing but text
// into a pipe.
func tableFor(w io.Writer, headings ...string) *listing {
	l := &listing{headings: headings}
	if tty, ok := terminal(w); ok {
		l.bold = colour()
		if width, _, err := term.GetSize(int(tty.Fd())); err == nil {
			l.width = width
		}
	}
	return l
}

func (s *session) table(headings ...string) *listing { return tableFor(s.out, headings...) }

// add adds a row. Its cells may hold names that somebody else chose.
func (l *listing) add(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = printable(cell)
	}
	l.rows = append(l.rows, row)
}

// text is the listing with so many spaces before each line.
func (l *listing) text(indent int) string {
	before := strings.Repeat(" ", indent)
	rendered := before + strings.ReplaceAll(l.table(), "\n", "\n"+before)
	if l.width > 0 && text.LongestLineLen(rendered) > l.width {
		return l.records(before)
	}
	return rendered
}

// fitsTable says whether the listing is a table, and not records.
func (l *listing) fitsTable() bool {
	return l.width == 0 || text.LongestLineLen(l.table()) <= l.width
}

func (l *listing) table() string {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	headings := slices.Clone(l.headings)
	if l.bold {
		// Each by itself: the style's own colour includes the blanks at
		// the end, which then count as columns.
		for i := range headings {
			headings[i] = text.Bold.Sprint(headings[i])
		}
	}
	t.AppendHeader(tableRow(headings))
	for _, row := range l.rows {
		t.AppendRow(tableRow(l.painted(row)))
	}
	return t.Render()
}

func (l *listing) painted(row []string) []string {
	if l.paint == nil {
		return row
	}
	cells := make([]string, len(row))
	for i, cell := range row {
		cells[i] = l.paint(i, cell)
	}
	return cells
}

func tableRow(cells []string) table.Row {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = cell
	}
	return row
}

// records puts each row's first cell on a line and the others below it.
func (l *listing) records(before string) string {
	widest := 0
	for _, heading := range l.headings[1:] {
		widest = max(widest, text.StringWidth(heading))
	}
	var lines []string
	for _, row := range l.rows {
		row = l.painted(row)
		first := row[0]
		if l.bold {
			first = text.Bold.Sprint(first)
		}
		lines = append(lines, before+first)
		for i, cell := range row[1:] {
			lines = append(lines, strings.TrimRight(before+"  "+text.Pad(l.headings[i+1], widest+2, ' ')+cell, " "))
		}
	}
	return strings.Join(lines, "\n")
}
