package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// completed is what is offered for the words of a command line.
func completed(t *testing.T, stateDir string, words ...string) (kind string, offered []string) {
	t.Helper()
	s, out := printing(stateDir)
	args := append([]string{"vmmigrate", "--state-dir", stateDir, "__complete", "zsh", "--"}, words...)
	if code := run(t.Context(), args, s.streams, s.machine); code != 0 {
		t.Fatalf("%q: exit code %d", words, code)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	return lines[0], lines[1:]
}

func TestCompletionKnowsCommandsFlagsAndWords(t *testing.T) {
	// What is offered has to hold these words, and all of it to begin as the
	// last word does; a line without words is offered nothing.
	for _, c := range []struct{ line, want string }{
		{"", "help jobs plan resume rollback run verify xml"},
		{"ro", "rollback"},
		{"help ro", "rollback"},
		{"--outp", "--output"},
		{"--output ", "json text"},
		{"--output=j", "--output=json"},
		{"run --verify ", "full none target"},
		{"run --verify=t", "--verify=target"},
		{"run --luks", "--luks-type"},
		{"run --sector-size ", "4096 512"},
		{"run --stop-after co", "copy"},
		{"run --pass", "--passphrase-command --passphrase-fd"},
		{"run --output json --outp", ""},
		{"run --vm imap --v", "--verify --vg --vm"},
		{"run --name ", ""},
		{"rollback --", "--connect --force --help --log-level --output --quiet --state-dir --yes"},
		{"rollback -- --", ""},
		{"jobs ", ""},
	} {
		words := strings.Split(c.line, " ")
		kind, offered := completed(t, t.TempDir(), words...)
		if kind != "words" || c.want == "" && len(offered) > 0 {
			t.Errorf("%q: %s %q", c.line, kind, offered)
		}
		for want := range strings.FieldsSeq(c.want) {
			if !slices.Contains(offered, want) {
				t.Errorf("%q: %q is not among %q", c.line, want, offered)
			}
		}
		for _, word := range offered {
			if !strings.HasPrefix(word, words[len(words)-1]) || strings.HasPrefix(word, "_") {
				t.Errorf("%q: %q is offered", c.line, word)
			}
		}
	}
}

func TestCompletionLeavesFilesToTheShell(t *testing.T) {
	for _, line := range []string{"run --key-file ", "run --key-file=/ro", "--state-dir ", "xml ", "xml --keep-mac im"} {
		if kind, _ := completed(t, t.TempDir(), strings.Split(line, " ")...); kind != "files" {
			t.Errorf("%q: %s", line, kind)
		}
	}
}

func TestCompletionKnowsJobsByEveryName(t *testing.T) {
	dir := t.TempDir()
	for id, job := range map[string][2]string{
		"20261122-093012-aaaa": {"interrupted", "imap"},
		"20261123-093012-bbbb": {"done", "mail server (alt)"},
		"20261124-093012-cccc": {"damaged", "web"},
		"20261125-093012-dddd": {"interrupted", "evil\x1b[31m"},
	} {
		if err := writeJob(dir, job[0], id, job[1]); err != nil {
			t.Fatal(err)
		}
	}
	_, offered := completed(t, dir, "rollback", "")
	want := []string{
		"20261122-093012-aaaa", "20261123-093012-bbbb", "20261124-093012-cccc", "20261125-093012-dddd",
		"imap", "imap-luks", "mail server (alt)", "mail server (alt)-luks",
	}
	if diff := cmp.Diff(want, offered); diff != "" {
		t.Errorf("rollback: %s", diff)
	}
	_, offered = completed(t, dir, "resume", "im")
	if diff := cmp.Diff([]string{"imap", "imap-luks"}, offered); diff != "" {
		t.Errorf("resume: %s", diff)
	}
	_, offered = completed(t, t.TempDir(), "--state-dir", dir, "resume", "2")
	if diff := cmp.Diff([]string{"20261122-093012-aaaa", "20261125-093012-dddd"}, offered); diff != "" {
		t.Errorf("resume with --state-dir: %s", diff)
	}
}

func TestCompletionIsSilentAndQuickWhereNothingAnswers(t *testing.T) {
	begin := time.Now()
	for _, words := range [][]string{{"run", "--vm", ""}, {"run", "--vg", ""}, {"--connect", "nonsense", "run", "--vm", ""}} {
		if kind, _ := completed(t, "/dev/null/nothing", words...); kind != "words" {
			t.Errorf("%q: %s", words, kind)
		}
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestBashGetsWhatItReplacesQuotedAsItWasBegun(t *testing.T) {
	const breaks = " \t\n\"'><=;|&(:"
	for _, c := range []struct{ line, candidate, want string }{
		{`vmmigrate run --vm `, "mail server (alt)", `mail\ server\ \(alt\)`},
		{`vmmigrate run --vm mail\ s`, "mail server (alt)", `mail\ server\ \(alt\)`},
		{`vmmigrate run --vm "mail s`, "mail server (alt)", `mail server (alt)`},
		{`vmmigrate run --vm "a`, `a"b$c`, `a\"b\$c`},
		{`vmmigrate run --vm 'mail s`, "mail server (alt)", `mail server (alt)`},
		{`vmmigrate run --vm=im`, "--vm=imap", `imap`},
		{`vmmigrate run --vm="im`, "--vm=imap x", `imap x`},
		{`vmmigrate rollback a:b`, "a:bc", `bc`},
		{`vmmigrate rollback -- -r`, "-rf", `-rf`},
	} {
		if got := readBash(c.line, breaks).shown(c.candidate); got != c.want {
			t.Errorf("%s<TAB>: %s is given as %s, not %s", c.line, c.candidate, got, c.want)
		}
	}
	if got := readBash(`vmmigrate run --vm=im`, " \t\n").shown("--vm=imap"); got != "--vm=imap" {
		t.Errorf("where = breaks no word, %q is given", got)
	}
}

// What the shell's own quoting makes of names is read back as they are.
func TestBashLinesAreReadAsTheShellReadsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-zä '"\\$()=:-]{1,8}`), 1, 5).Draw(t, "words")
		line := "vmmigrate"
		for _, word := range words {
			line += " '" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		if diff := cmp.Diff(words, readBash(line, "=:").words[1:]); diff != "" {
			t.Fatalf("%s\n%s", line, diff)
		}
	})
}
