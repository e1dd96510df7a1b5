package main

import (
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// tableFor makes a table for w: headings bold on a terminal, nothing but text
// into a pipe.
func tableFor(w io.Writer, headings ...string) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	if tty, ok := terminal(w); ok && colour() {
		style.Color.Header = text.Colors{text.Bold}
		if width, _, err := term.GetSize(int(tty.Fd())); err == nil && width > 0 {
			style.Size.WidthMax = width
		}
	}
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(row(headings...))
	return t
}

func (s *session) table(headings ...string) table.Writer { return tableFor(s.out, headings...) }

func row(cells ...string) table.Row {
	r := make(table.Row, len(cells))
	for i, cell := range cells {
		r[i] = printable(cell)
	}
	return r
}
