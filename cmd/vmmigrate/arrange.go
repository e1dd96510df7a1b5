package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts a command line into the order that urfave/cli reads: global
// flags, the command, its flags, its arguments. The library takes everything
// after the first argument for arguments, so that `rollback NAME --force` would
// lose the flag without a word; here flags count wherever they stand. A bare
// "--" ends the flags. "help COMMAND" and "COMMAND --help" are the same.
func arrange(app *cli.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	var global, path, local, rest []string
	flags, commands := app.Flags, app.Commands
	help, asked := false, false // asked is set by the word, and not the flag
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			if command := find(commands, arg); command != nil && len(rest) == 0 {
				path = append(path, arg)
				flags, commands = command.Flags, command.Subcommands
				continue
			}
			if isHelp(arg) && len(path)+len(rest) == 0 {
				help, asked = true, true
				continue
			}
			rest = append(rest, arg)
			continue
		}
		words := []string{arg}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if isHelp(name) {
			help = true
			continue
		}
		if isVersion(name) {
			return []string{args[0], "--version"}, nil
		}
		flag, isLocal := lookup(flags, name), len(path) > 0
		if flag == nil {
			flag, isLocal = lookup(app.Flags, name), false
		}
		if flag == nil {
			isLocal = len(path) > 0 // the library says that it is unknown
		}
		if flag != nil && !hasValue && takesValue(flag) {
			if i+1 == len(args) {
				return nil, &usageError{reason: "the flag " + arg + " needs a value", command: strings.Join(path, " ")}
			}
			i++
			words = append(words, args[i])
		}
		if isLocal {
			local = append(local, words...)
		} else {
			global = append(global, words...)
		}
	}
	if help {
		if asked && len(path) > 0 && len(rest) > 0 {
			return nil, noSubcommand(commands, path, rest[0])
		}
		return helpFor(app, args[0], path, rest)
	}
	arranged := slices.Concat(args[:1], global, path, local)
	if len(rest) > 0 {
		// Without a command the first word is a mistyped one, which the
		// app's own action reports.
		arranged = append(append(arranged, "--"), rest...)
	}
	return arranged, nil
}

// isHelp and isVersion know the words that the library knows too: before it
// has been set up, its flags are not among the app's.
func isHelp(name string) bool { return slices.Contains(cli.HelpFlag.Names(), name) }

func isVersion(name string) bool { return slices.Contains(cli.VersionFlag.Names(), name) }

// helpFor is the command line that shows the help of the command at path,
// whatever else was said. rest are words that are no command of its.
func helpFor(app *cli.App, program string, path, rest []string) ([]string, error) {
	if len(path) == 0 && len(rest) > 0 {
		return nil, noCommand(app, rest[0])
	}
	return append(append([]string{program}, path...), "--help"), nil
}

// noSubcommand refuses a word behind "help COMMAND" that is no command below it.
func noSubcommand(below []*cli.Command, path []string, word string) error {
	var known []string
	for _, command := range below {
		known = append(known, command.Names()...)
	}
	name := strings.Join(path, " ")
	return &usageError{reason: fmt.Sprintf("there is no command %q%s", name+" "+word, didYouMean(word, known)), command: name}
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, command := range commands {
		if command.HasName(name) {
			return command
		}
	}
	return nil
}

func lookup(flags []cli.Flag, name string) cli.Flag {
	for _, flag := range flags {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

func takesValue(flag cli.Flag) bool {
	valued, ok := flag.(cli.DocGenerationFlag)
	return ok && valued.TakesValue()
}
