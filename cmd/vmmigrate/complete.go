package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// completeCommand is what the shells' completion scripts in
// packaging/completion ask. Its answer is a line that says "files" or "words",
// and after the latter one candidate a line.
//
//	vmmigrate __complete bash -- LINE WORDBREAKS   the line up to the cursor
//	vmmigrate __complete zsh|fish -- [WORD]...     the last word is begun
func (s *session) completeCommand() *cli.Command {
	return &cli.Command{Name: "__complete", Hidden: true, Usage: "name what could come next on a command line", Action: s.complete}
}

// completeTime bounds the whole of it: nobody waits for a hung libvirt to
// complete a word.
const completeTime = time.Second

func (s *session) complete(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) == 0 {
		return &usageError{reason: "__complete is asked by the shells' completion scripts"}
	}
	shell, words := args[0], args[1:]
	shown := func(candidate string) string { return candidate }
	if shell == "bash" && len(words) == 2 {
		line := readBash(words[0], words[1])
		words, shown = line.words[1:], line.shown
	}
	if len(words) == 0 {
		words = []string{""}
	}
	w := spotOf(c.App, words)
	if w.files {
		_, err := fmt.Fprintln(s.out, "files")
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, completeTime)
	defer cancel()
	// What can't be found out is not offered: an error here would stand in
	// the middle of what somebody types.
	candidates, _ := awaited(ctx, func() ([]string, error) { return s.candidates(ctx, c, w), nil })
	lines := []string{"words"}
	for _, candidate := range candidates {
		if candidate = w.before + candidate; strings.HasPrefix(candidate, w.begun()) && printable(candidate) == candidate {
			lines = append(lines, shown(candidate))
		}
	}
	_, err := fmt.Fprintln(s.out, strings.Join(lines, "\n"))
	return err
}

// spot is where on a command line the cursor stands.
type spot struct {
	app     *cli.App
	command *cli.Command // nil: none is named yet
	// before stands before the candidate in the same word, as in "--vm=",
	// and partial is what is there of the candidate.
	before, partial string
	// value is the flag whose value is asked for, or nil, and files says that
	// it is a path.
	value cli.Flag
	files bool
	// given are the values of the flags so far, in order.
	given map[string][]string
	// plain says that "--" came before.
	plain bool
	// operands is how many of the command's own stand before.
	operands int
}

// operand is the word of the command's usage for what stands here, such as CLONE
// or [FILE]; "" where there is to be nothing more.
func (w spot) operand() string {
	words := strings.Fields(w.command.ArgsUsage)
	switch {
	case w.operands < len(words):
		return words[w.operands]
	case len(words) > 0 && strings.Contains(words[len(words)-1], "..."):
		return words[len(words)-1]
	}
	return ""
}

func (w spot) begun() string { return w.before + w.partial }

// spotOf reads the words of a command line, of which the last is begun.
func spotOf(app *cli.App, words []string) spot {
	w := spot{app: app, given: make(map[string][]string)}
	flags, commands := app.Flags, app.Commands
	last := len(words) - 1
	for i := 0; i < last; i++ {
		word := words[i]
		switch {
		case w.plain || len(word) < 2 || word[0] != '-':
			if command := find(commands, word); command != nil && !w.plain {
				w.command, flags, commands = command, command.Flags, command.Subcommands
			} else {
				w.operands++
			}
			continue
		case word == "--":
			w.plain = true
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
		flag := lookup(append(slices.Clone(flags), app.Flags...), name)
		if flag == nil {
			continue
		}
		if !hasValue && takesValue(flag) {
			if i+1 == last {
				w.value = flag
				break
			}
			i++
			value = words[i]
		}
		w.given[flag.Names()[0]] = append(w.given[flag.Names()[0]], value)
	}
	w.partial = words[last]
	if name, value, found := strings.Cut(words[last], "="); found && w.value == nil && !w.plain && strings.HasPrefix(name, "-") {
		w.value = lookup(append(slices.Clone(flags), app.Flags...), strings.TrimLeft(name, "-"))
		w.before, w.partial = name+"=", value
	}
	switch {
	case w.value != nil:
		w.files = takesFile(w.value)
	case w.command != nil && (w.plain || !strings.HasPrefix(w.partial, "-")):
		w.files = strings.Contains(w.operand(), "FILE")
	}
	return w
}

// takesFile goes by the name of a flag's value.
func takesFile(flag cli.Flag) bool {
	documented, ok := flag.(cli.DocGenerationFlag)
	if !ok {
		return false
	}
	name, _ := placeholder(documented.GetUsage())
	return strings.HasPrefix(name, "FILE") || strings.HasPrefix(name, "DIR") || strings.HasPrefix(name, "PATH")
}
