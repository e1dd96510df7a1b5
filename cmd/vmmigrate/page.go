package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// page is what there is to say of a command: help, man page and reference are
// three ways to print it.
type page struct {
	// name is the whole of it, as in "vmmigrate run".
	name    string
	summary string
	// synopsis is the command line without the name.
	synopsis string
	// paragraphs are the description.
	paragraphs []string
	examples   []example
	sections   []section
	commands   []commandEntry
}

// example is a command line to learn from, or several to type one after the
// other, and what they do.
type example struct {
	comment string
	lines   []string
}

// section is a group of flags under one heading.
type section struct {
	title string
	flags []flagEntry
}

// flagEntry is one flag.
type flagEntry struct {
	// names are those with their dashes, the long one first.
	names []string
	// value is the placeholder of its value, empty if it takes none.
	value    string
	text     string
	standard string // its default, empty if nothing
	variable string // the environment variable that stands in for it
	repeated bool
}

// commandEntry is a line of the list of commands.
type commandEntry struct{ name, summary string }

// otherFlags is the heading of flags that have no category.
const otherFlags = "Other"

func appPage(app *cli.App) page {
	p := page{
		name: app.Name, summary: app.Usage, synopsis: "[FLAGS] COMMAND [FLAGS] [NAME]",
		sections: sectionsOf(app.Flags, "For every command"),
	}
	p.describe(app.Description)
	last := &p.sections[len(p.sections)-1]
	last.flags = append(last.flags, entry(cli.HelpFlag), entry(cli.VersionFlag))
	p.commands = commandsOf(app.Commands)
	return p
}

func commandPage(c *cli.Command, name string) page {
	p := page{name: name, summary: c.Usage, sections: sectionsOf(c.Flags, otherFlags), commands: commandsOf(c.Subcommands)}
	var synopsis []string
	if len(c.Subcommands) > 0 {
		synopsis = append(synopsis, "COMMAND")
	}
	if len(c.Flags) > 0 {
		synopsis = append(synopsis, "[FLAGS]")
	}
	if c.ArgsUsage != "" {
		synopsis = append(synopsis, c.ArgsUsage)
	}
	p.synopsis = strings.Join(synopsis, " ")
	p.describe(c.Description)
	return p
}

// describe takes a description apart: paragraphs, and below "Examples:" command
// lines under comments that say what they do.
func (p *page) describe(text string) {
	about, examples, _ := strings.Cut(text, "\n\nExamples:\n")
	for paragraph := range strings.SplitSeq(about, "\n\n") {
		if paragraph != "" {
			p.paragraphs = append(p.paragraphs, strings.Join(strings.Fields(paragraph), " "))
		}
	}
	comment := ""
	for line := range strings.Lines(examples) {
		line = strings.TrimSpace(line)
		if said, ok := strings.CutPrefix(line, "# "); ok {
			comment = strings.TrimSpace(comment + " " + said)
		} else if last := len(p.examples) - 1; line != "" && comment == "" && last >= 0 {
			p.examples[last].lines = append(p.examples[last].lines, line)
		} else if line != "" {
			p.examples = append(p.examples, example{comment, []string{line}})
			comment = ""
		}
	}
}

func commandsOf(commands []*cli.Command) []commandEntry {
	var all []commandEntry
	for _, c := range commands {
		if !c.Hidden {
			all = append(all, commandEntry{c.Name, c.Usage})
		}
	}
	return all
}

// sectionsOf groups flags by their categories, in the order in which the
// categories first come. Flags without one come last, under rest.
func sectionsOf(flags []cli.Flag, rest string) []section {
	var sections []section
	others := section{title: rest}
	for _, flag := range flags {
		if visible, ok := flag.(cli.VisibleFlag); ok && !visible.IsVisible() || flag == cli.HelpFlag {
			continue
		}
		title := ""
		if grouped, ok := flag.(cli.CategorizableFlag); ok {
			title = grouped.GetCategory()
		}
		if title == "" {
			others.flags = append(others.flags, entry(flag))
			continue
		}
		at := -1
		for i := range sections {
			if sections[i].title == title {
				at = i
			}
		}
		if at < 0 {
			at = len(sections)
			sections = append(sections, section{title: title})
		}
		sections[at].flags = append(sections[at].flags, entry(flag))
	}
	if len(others.flags) > 0 {
		sections = append(sections, others)
	}
	return sections
}

// entry describes a flag. A default that is nothing (false, 0, "") is none.
func entry(flag cli.Flag) flagEntry {
	var e flagEntry
	for _, name := range flag.Names() {
		if len(name) == 1 {
			e.names = append(e.names, "-"+name)
		} else {
			e.names = append(e.names, "--"+name)
		}
	}
	if documented, ok := flag.(cli.DocGenerationFlag); ok {
		e.value, e.text = placeholder(documented.GetUsage())
		if variables := documented.GetEnvVars(); len(variables) > 0 {
			e.variable = variables[0]
		}
	}
	switch flag := flag.(type) {
	case *cli.StringFlag:
		e.standard = flag.Value
	case *cli.IntFlag:
		if flag.Value > 0 {
			e.standard = fmt.Sprint(flag.Value)
		}
	case *cli.DurationFlag:
		if flag.Value > 0 {
			e.standard = strings.Replace(flag.Value.String(), "m0s", "m", 1) // 2m and not 2m0s
		}
	case *cli.StringSliceFlag:
		e.repeated = true
	}
	return e
}

// placeholder takes the word between backquotes, which stands for the flag's
// value, out of a usage text.
func placeholder(usage string) (word, text string) {
	before, rest, _ := strings.Cut(usage, "`")
	word, after, found := strings.Cut(rest, "`")
	if !found {
		return "", usage
	}
	return word, before + word + after
}
