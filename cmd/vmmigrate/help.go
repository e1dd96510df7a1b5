package main

import (
	"strings"
	"unicode/utf8"
)

// The measures of a help text, in columns.
const (
	helpWidth  = 80
	helpColumn = 26 // where the explanations begin
)

// template is a text as the library's template that prints just that.
func template(text string) string { return strings.ReplaceAll(text, "{{", `{{"{{"}}`) }

// helpText is a page for the terminal.
func helpText(p page) string {
	var b strings.Builder
	write := func(lines ...string) {
		for _, line := range lines {
			b.WriteString(line + "\n")
		}
	}
	write(wrap(p.name+" - "+p.summary, helpWidth)...)
	write("", strings.TrimSpace("Usage: "+p.name+" "+p.synopsis))
	for _, paragraph := range p.paragraphs {
		write("")
		write(wrap(paragraph, helpWidth)...)
	}
	if len(p.commands) > 0 {
		write("", "Commands:")
		for _, c := range p.commands {
			write(columns("  "+c.name, c.summary)...)
		}
		write(columns("  help [COMMAND]", "this text, or a command's own")...)
	}
	if len(p.examples) > 0 {
		write("", "Examples:")
		for _, e := range p.examples {
			if e.comment != "" {
				for _, line := range wrap(e.comment, helpWidth-4) {
					write("  # " + line)
				}
			}
			for _, line := range e.lines {
				write("  " + line)
			}
		}
	}
	for _, s := range p.sections {
		write("", s.title+":")
		for _, flag := range s.flags {
			write(columns("  "+flag.heading(), flag.explained())...)
		}
	}
	if len(p.commands) == 0 {
		write("", "Flags for every command, such as --quiet and --output json: vmmigrate help")
	}
	return b.String()
}

// heading is how a flag is typed, the short name first.
func (f flagEntry) heading() string {
	long, short := "", ""
	for _, name := range f.names {
		if strings.HasPrefix(name, "--") {
			long = name
		} else {
			short = name + ", "
		}
	}
	if f.value != "" {
		long += " " + f.value
	}
	return short + long
}

// explained is what a flag does, with its default.
func (f flagEntry) explained() string {
	text := f.text
	if f.standard != "" {
		text += " (default: " + f.standard
		if f.variable != "" {
			text += ", or $" + f.variable
		}
		text += ")"
	}
	return text
}

// columns puts a text to the right of a word, on the next line if the word is
// too long for its column.
func columns(word, text string) []string {
	lines := wrap(text, helpWidth-helpColumn)
	for i := range lines {
		lines[i] = strings.Repeat(" ", helpColumn) + lines[i]
	}
	if width := utf8.RuneCountInString(word); width < helpColumn-1 && len(lines) > 0 {
		lines[0] = word + lines[0][width:]
		return lines
	}
	return append([]string{word}, lines...)
}

// wrap breaks a text at spaces into lines of at most width columns.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
