package pages_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/e2e/pages"
)

// fenced writes ~~~ for the fence, which Go's own quotes can't hold.
func fenced(text string) string { return strings.ReplaceAll(text, "~~~", "```") }

func TestAPageIsReadAsItsCommandsWithWhatTheyPrint(t *testing.T) {
	acts, err := pages.Read(fenced("# T\n<!-- set-up\ntouch /root/x\necho done\n-->\nWords.\n~~~yaml\nvms: []\n~~~\n<!-- typed\none\ntwo\n-->\n" +
		"~~~console\n# cat <<EOF\n> a\n>\n> EOF\na\n\n...\n# false   # exit code 1: it always does\n# true\n~~~\n~~~console\n# id\n~~~\n"))
	if err != nil {
		t.Fatal(err)
	}
	typed := []string{"one", "two"}
	want := []pages.Act{
		{Line: 3, Script: "touch /root/x\necho done", Setup: true},
		{Line: 15, Script: "cat <<EOF\na\n\nEOF", Shown: []string{"a", "", "..."}, Typed: typed},
		{Line: 22, Script: "false   # exit code 1: it always does", ExitCode: 1},
		{Line: 23, Script: "true"},
		{Line: 26, Script: "id"},
	}
	if diff := cmp.Diff(want, acts); diff != "" {
		t.Error(diff)
	}
}

func TestABlockThatCouldNotBeRunIsAnErrorWithItsLine(t *testing.T) {
	for name, page := range map[string]struct {
		text string
		line int
	}{
		"an indented block":          {"Type:\n\n    rm -rf /\n", 3},
		"a fence for a shell":        {"~~~sh\nls\n~~~\n", 1},
		"a fence without a name":     {"Words\n~~~\nls\n~~~\n", 2},
		"no prompt":                  {"~~~console\nls\n~~~\n", 2},
		"a block without an end":     {"~~~console\n# ls\n", 1},
		"a set-up without an end":    {"\n<!-- set-up\nls\n", 2},
		"typed lines without a use":  {"<!-- typed\ny\n-->\n", 4},
		"only output, in the middle": {"~~~console\n# ls\n~~~\n~~~console\nx\n~~~\n", 5},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pages.Read(fenced(page.text))
			var bad *pages.Error
			if !errors.As(err, &bad) || bad.Line != page.line {
				t.Errorf("not an error in line %d: %v", page.line, err)
			}
		})
	}
}

func TestWhatIsShownHasToBePrintedWhereItIsShown(t *testing.T) {
	const printed = "imap: job 20261127-001122-abcd, 96 MiB\r\n  preflight   0.3 s\r\n  open  12.0 s  /dev/mapper/x\r\ndone at 98 MiB/s\r\n"
	for name, page := range map[string]struct {
		shown   []string
		missing string
	}{
		"times, rates and jobs may differ": {[]string{"imap: job 20250101-000000-0000, 96 MiB", "  preflight  11.9 s", "  open 1.0 s /dev/mapper/x", "done at 1.2 GiB/s"}, ""},
		"it may begin anywhere":            {[]string{"  preflight  1 s"}, ""},
		"lines may be left out":            {[]string{"imap: job 20250101-000000-0000, 96 MiB", "...", "done at 1 B/s"}, ""},
		"but not without a word":           {[]string{"imap: job 20250101-000000-0000, 96 MiB", "done at 1 B/s"}, "done at 1 B/s"},
		"sizes have to be right":           {[]string{"imap: job 20250101-000000-0000, 97 MiB"}, "imap: job 20250101-000000-0000, 97 MiB"},
		"and so has the order":             {[]string{"done at 1 B/s", "...", "  preflight 1 s"}, "  preflight 1 s"},
		"nothing more may be shown":        {[]string{"done at 1 B/s", "goodbye"}, "goodbye"},
		"a line is a whole line":           {[]string{"done"}, "done"},
	} {
		t.Run(name, func(t *testing.T) {
			if missing := pages.Missing(page.shown, printed); missing != page.missing {
				t.Errorf("missing is %q, not %q", missing, page.missing)
			}
		})
	}
}

func TestEveryPageIsInTheIndexAndCanBeRun(t *testing.T) {
	index, err := os.ReadFile("../../docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../docs/how-to/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../../docs/tutorial.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		acts, err := pages.Read(string(text))
		if err != nil || len(acts) == 0 {
			t.Errorf("%s: %d commands, %v", file, len(acts), err)
		}
		if name := strings.TrimPrefix(file, "../../docs/"); !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("docs/README.md has no link to %s", name)
		}
	}
}
