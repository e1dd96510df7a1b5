package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// keepGlobals remembers the global flags without which a further command would
// ask another libvirt or not find the job. What the environment says needs no
// flag: the next command finds it there too.
func (s *session) keepGlobals(c *cli.Context) {
	if value := c.String(flagStateDir); c.IsSet(flagStateDir) && value != os.Getenv(envStateDir) {
		s.globals = append(s.globals, "--"+flagStateDir, value)
	}
	if value := c.String(flagConnect); c.IsSet(flagConnect) && value != os.Getenv(envConnect) {
		s.globals, s.connect = append(s.globals, "--"+flagConnect, value), value
	}
}

// again puts the global flags of this command line into a command to type next.
func (s *session) again(next string) string {
	if rest, ours := strings.CutPrefix(next, "vmmigrate "); ours && len(s.globals) > 0 {
		return "vmmigrate " + command.Quote(s.globals) + " " + rest
	}
	if rest, virsh := strings.CutPrefix(next, "virsh "); virsh && s.connect != "" {
		return "virsh " + command.Quote([]string{"--connect", s.connect}) + " " + rest
	}
	return next
}

// advise explains an error, with commands that go on from this command line.
func (s *session) advise(err error) advice {
	a := explain(err)
	if a.exit != exitUsage {
		for i, next := range a.next {
			a.next[i] = s.again(next)
		}
	}
	return a
}

// sameFlags are the words that give a command's flags the values they have in
// c, save the flags called without. A passphrase command is left out: its
// arguments are nobody else's business.
func sameFlags(c *cli.Context, without ...string) []string {
	var words []string
	for _, flag := range c.Command.Flags {
		name := flag.Names()[0]
		if !c.IsSet(name) || name == "passphrase-command" || slices.Contains(without, name) {
			continue
		}
		switch flag.(type) {
		case *cli.BoolFlag:
			if c.Bool(name) {
				words = append(words, "--"+name)
			}
		case *cli.StringSliceFlag:
			for _, value := range c.StringSlice(name) {
				words = append(words, "--"+name, value)
			}
		default:
			words = append(words, "--"+name, fmt.Sprint(c.Value(name)))
		}
	}
	return words
}

// sameCommand is a command line like c's for the command called name.
func sameCommand(c *cli.Context, name string, without ...string) string {
	words := append(append([]string{"vmmigrate"}, strings.Fields(name)...), sameFlags(c, without...)...)
	args := c.Args().Slice()
	if slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-") }) {
		words = append(words, "--")
	}
	return command.Quote(append(words, args...))
}
