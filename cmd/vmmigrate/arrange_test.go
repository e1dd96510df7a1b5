package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
	"pgregory.net/rapid"
)

// seen is what a command's action finds of its command line.
type seen struct {
	Command string
	VM      []string
	Name    string
	All     bool
	Output  string
	Args    []string
}

// see runs a command line with actions that only look.
func see(args ...string) (seen, error) {
	var got seen
	s := &session{streams: streams{in: os.Stdin, out: new(bytes.Buffer), err: new(bytes.Buffer)}, machine: testMachine()}
	app := s.app()
	look := func(c *cli.Context) error {
		got = seen{
			Command: pathOf(c), VM: c.StringSlice("vm"), Name: c.String("name"), All: c.Bool("all"),
			Output: c.String(flagOutput), Args: c.Args().Slice(),
		}
		return nil
	}
	for _, command := range app.Commands {
		command.Action = look
		for _, sub := range command.Subcommands {
			sub.Action = look
		}
	}
	arranged, err := arrange(app, append([]string{"vmmigrate"}, args...))
	if err == nil {
		err = app.RunContext(context.Background(), arranged)
	}
	return got, err
}

func TestWordsMeanTheSameWhereverTheyStand(t *testing.T) {
	want := seen{Command: "run", VM: []string{"imap"}, All: true, Output: "json", Args: []string{"x"}}
	for _, args := range []string{
		"--output json run --vm imap --all x",
		"run x --all --vm imap --output json",
		"run --output=json x --vm=imap --all",
		"run -output json -vm imap x -all",
		"--output json run --vm imap --all -- x",
		"run --vm imap --output text --all=true --output json x",
	} {
		got, err := see(strings.Fields(args)...)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", args, err, diff)
		}
	}
}

func TestNamesThatLookLikeSomethingElseStayNames(t *testing.T) {
	for _, c := range []struct {
		args []string
		want seen
	}{
		{[]string{"run", "--vm", "-rf"}, seen{Command: "run", VM: []string{"-rf"}, Output: "text", Args: []string{}}},
		{[]string{"run", "--vm=-rf"}, seen{Command: "run", VM: []string{"-rf"}, Output: "text", Args: []string{}}},
		{[]string{"run", "--vm", "--all"}, seen{Command: "run", VM: []string{"--all"}, Output: "text", Args: []string{}}},
		{[]string{"run", "--vm", "--help"}, seen{Command: "run", VM: []string{"--help"}, Output: "text", Args: []string{}}},
		{[]string{"run", "--vm", "web,db"}, seen{Command: "run", VM: []string{"web,db"}, Output: "text", Args: []string{}}},
		{[]string{"run", "--vm", "a=b"}, seen{Command: "run", VM: []string{"a=b"}, Output: "text", Args: []string{}}},
		{[]string{"run", "--vm=a=b"}, seen{Command: "run", VM: []string{"a=b"}, Output: "text", Args: []string{}}},
		{[]string{"rollback", "--", "-rf"}, seen{Command: "rollback", Output: "text", Args: []string{"-rf"}}},
		{[]string{"rollback", "--", "--"}, seen{Command: "rollback", Output: "text", Args: []string{"--"}}},
		{[]string{"rollback", "run"}, seen{Command: "rollback", Output: "text", Args: []string{"run"}}},
		{[]string{"rollback", "help"}, seen{Command: "rollback", Output: "text", Args: []string{"help"}}},
		{[]string{"rollback", "-"}, seen{Command: "rollback", Output: "text", Args: []string{"-"}}},
		{[]string{"rollback", ""}, seen{Command: "rollback", Output: "text", Args: []string{""}}},
	} {
		got, err := see(c.args...)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", c.args, err, diff)
		}
	}
}

// Whatever the order of flags and names, no flag is lost, no value is split,
// and all that follows "--" is positional.
func TestNoFlagIsEverLost(t *testing.T) {
	name := rapid.OneOf(rapid.StringN(1, 20, -1), rapid.SampledFrom([]string{"-rf", "--", "--all", "run", "help", "a=b", "mail server (alt)", "täst", "-"}))
	rapid.Check(t, func(t *rapid.T) {
		want := seen{Command: "run", Output: "text", Args: []string{}}
		var groups [][]string
		for _, vm := range rapid.SliceOfN(name, 0, 4).Draw(t, "vms") {
			if rapid.Bool().Draw(t, "equals") {
				groups = append(groups, []string{"--vm=" + vm})
			} else {
				groups = append(groups, []string{"--vm", vm})
			}
		}
		if rapid.Bool().Draw(t, "all") {
			want.All = true
			groups = append(groups, []string{"--all"})
		}
		if rapid.Bool().Draw(t, "json") {
			want.Output = "json"
			groups = append(groups, []string{"--output", "json"})
		}
		plain := rapid.StringMatching(`[a-zäöü][a-zäöü0-9 .]{0,8}`).Filter(func(s string) bool { return s != "run" })
		for _, arg := range rapid.SliceOfN(plain, 0, 3).Draw(t, "args") {
			groups = append(groups, []string{arg})
		}
		groups = rapid.Permutation(groups).Draw(t, "order")
		args := []string{"run"}
		for _, group := range groups {
			args = append(args, group...)
			switch {
			case strings.HasPrefix(group[0], "--vm="):
				want.VM = append(want.VM, strings.TrimPrefix(group[0], "--vm="))
			case group[0] == "--vm":
				want.VM = append(want.VM, group[1])
			case !strings.HasPrefix(group[0], "--"):
				want.Args = append(want.Args, group[0])
			}
		}
		if rest := rapid.SliceOfN(name, 0, 3).Draw(t, "rest"); len(rest) > 0 {
			args = append(append(args, "--"), rest...)
			want.Args = append(want.Args, rest...)
		}
		got, err := see(args...)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%q: %v\n%s", args, err, diff)
		}
	})
}

// FuzzArrange holds for any command line at all: every word is still there, in
// its order among those after "--", or the command line is refused as such.
func FuzzArrange(f *testing.F) {
	for _, line := range []string{"run\n--vm\nimap", "rollback\nimap\n--force", "--output\njson\njobs", "help\nrun", "--\nrun\n--all", "run\n--vm", "---vm\nx", "-\n\n"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\n")
		s := &session{streams: streams{in: os.Stdin, out: new(bytes.Buffer), err: new(bytes.Buffer)}, machine: testMachine()}
		arranged, err := arrange(s.app(), append([]string{"vmmigrate"}, args...))
		if err != nil {
			var usage *usageError
			if !errors.As(err, &usage) {
				t.Fatalf("%q: %v is no usage error", args, err)
			}
			return
		}
		last := arranged[len(arranged)-1]
		if last == "--help" || last == "--version" {
			return // the rest does not matter
		}
		count := func(words []string, word string) (n int) {
			for _, other := range words {
				if other == word {
					n++
				}
			}
			return n
		}
		for _, word := range args {
			if word != "--" && count(args, word) != count(arranged, word) {
				t.Fatalf("%q became %q: %q is not there as often", args, arranged, word)
			}
		}
		// A "--" behind a flag may be that flag's value.
		if at := slices.Index(args, "--"); at >= 0 && !ends(arranged, args[at+1:]) && at > 0 && !strings.HasPrefix(args[at-1], "-") {
			t.Fatalf("%q became %q: what follows -- is not at its end", args, arranged)
		}
	})
}

func ends(words, tail []string) bool {
	return len(words) >= len(tail) && slices.Equal(words[len(words)-len(tail):], tail)
}
