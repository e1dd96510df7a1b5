package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/shlex"
	"github.com/urfave/cli/v2"
)

// What a person sees at a terminal of 80 columns, to be read as such.
func TestHelpReadsWell(t *testing.T) {
	for _, p := range allPages() {
		golden(t, "testdata/help/"+manName(p)+".golden", helpText(p))
	}
}

func TestHelpFitsEightyColumnsSaveForCommandLines(t *testing.T) {
	for _, p := range allPages() {
		lines := make(map[string]bool)
		for _, e := range p.examples {
			for _, line := range e.lines {
				lines["  "+line] = true
			}
		}
		for line := range strings.Lines(helpText(p)) {
			line = strings.TrimSuffix(line, "\n")
			if utf8.RuneCountInString(line) > helpWidth && !lines[line] {
				t.Errorf("%s: %d columns: %s", p.name, utf8.RuneCountInString(line), line)
			}
		}
	}
}

// An example that does not work teaches the wrong thing.
func TestEveryCommandHasTwoExamplesThatItUnderstands(t *testing.T) {
	for _, p := range allPages()[1:] {
		if len(p.commands) > 0 {
			continue // its subcommands have them
		}
		if len(p.examples) < 2 {
			t.Errorf("%s has %d examples", p.name, len(p.examples))
		}
		for _, e := range p.examples {
			if e.comment == "" {
				t.Errorf("%s: nothing says what %q does", p.name, e.lines)
			}
			understood := false
			for _, line := range e.lines {
				_, line, found := strings.Cut(" "+line, " vmmigrate ")
				if !found {
					continue // an editor, or virsh, in between
				}
				words, err := shlex.Split(line)
				if err != nil {
					t.Errorf("%s: %v", line, err)
					continue
				}
				got, err := see(words...)
				if err != nil {
					t.Errorf("%s: %q: %v", p.name, line, err)
				}
				understood = understood || strings.HasPrefix(p.name+" ", "vmmigrate "+got.Command+" ")
			}
			if !understood {
				t.Errorf("%s: %q is no example of it", p.name, e.lines)
			}
		}
	}
}

func TestFlagsAreShownInTheOrderOfAMigration(t *testing.T) {
	want := []string{categoryVM, categoryTarget, categoryLUKS, categoryCopy, categoryKey, otherFlags}
	for _, p := range allPages() {
		if p.name != "vmmigrate run" {
			continue
		}
		at := 0
		for _, title := range want {
			for at < len(p.sections) && p.sections[at].title != title {
				at++
			}
			if at == len(p.sections) {
				t.Fatalf("the section %q is not where it belongs", title)
			}
		}
	}
}

// What one flag says another need not guess: a value has a name, a text has no
// full stop, and names keep their spaces.
func TestFlagsAreDescribedAlike(t *testing.T) {
	s := &session{machine: testMachine()}
	app := s.app()
	check := func(where string, flags []cli.Flag) {
		for _, flag := range flags {
			e := entry(flag)
			switch {
			case e.text == "" || strings.HasSuffix(e.text, "."):
				t.Errorf("%s %v: %q", where, e.names, e.text)
			case takesValue(flag) && e.value == "":
				t.Errorf("%s %v: its value has no name between backquotes", where, e.names)
			case strings.Contains(e.text, "(default:") && e.standard != "":
				t.Errorf("%s %v: two defaults", where, e.names)
			}
			if list, ok := flag.(*cli.StringSliceFlag); ok && !list.KeepSpace {
				t.Errorf("%s %v: without KeepSpace the library trims a name such as ' web'", where, e.names)
			}
		}
	}
	check("vmmigrate", app.Flags)
	var each func(commands []*cli.Command)
	each = func(commands []*cli.Command) {
		for _, c := range commands {
			if !c.Hidden {
				check(c.Name, c.Flags)
				each(c.Subcommands)
			}
		}
	}
	each(app.Commands)
}

// A flag of a command that has the name of a global one would hide it.
func TestNoFlagHasTwoMeanings(t *testing.T) {
	app := (&session{machine: testMachine()}).app()
	global := flagNames(append(app.Flags, cli.HelpFlag, cli.VersionFlag))
	for _, c := range app.Commands {
		for _, name := range flagNames(c.Flags) {
			for _, other := range global {
				if name == other {
					t.Errorf("%s %s is a global flag as well", c.Name, name)
				}
			}
		}
	}
}
