package pages

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Act is one thing that a page has done on the host.
type Act struct {
	// Line is where it stands on the page, counted from 1.
	Line int
	// Script is for the shell: a command at the prompt, or a set-up.
	Script string
	// Setup says that it is a set-up, which the reader does not see.
	Setup bool
	// Shown is what the page shows of what the command prints, line by line;
	// nil is nothing at all, and then nothing is compared.
	Shown []string
	// Typed are the lines that are typed, one at each prompt. After the last,
	// and for nil, it is the usual passphrase and yes.
	Typed []string
	// ExitCode is what the command ends with.
	ExitCode int
}

// Error says what is wrong on a page, and in which line.
type Error struct {
	Line   int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// harmless are the fences around text that nobody types. A shell block under
// one of these would go untried, so what looks like a shell is not among them.
var harmless = map[string]bool{"yaml": true, "json": true, "xml": true, "ini": true, "text": true}

// exitCode is a comment behind a command that says what it ends with.
var exitCode = regexp.MustCompile(`\s# exit code ([0-9]+)\b.*$`)

// Read returns what a page does, in order. It returns an *Error for a block that
// could not be run: one that is indented and not fenced, that bears another
// fence than console, or that shows no command.
func Read(text string) ([]Act, error) {
	r := reader{lines: strings.Split(text, "\n")}
	for r.next < len(r.lines) {
		line := r.lines[r.next]
		r.next++
		var err error
		switch {
		case strings.HasPrefix(line, "```"):
			err = r.block(strings.TrimPrefix(line, "```"))
		case line == "<!-- set-up" || line == "<!-- typed":
			err = r.comment(line)
		case strings.HasPrefix(line, "    ") && r.next > 1 && r.lines[r.next-2] == "":
			err = &Error{r.next, "an indented block is not run: put it between ```console and ```, with a prompt in front of each command"}
		}
		if err != nil {
			return nil, err
		}
	}
	if r.typed != nil {
		return nil, &Error{len(r.lines), "no block follows the lines that are to be typed"}
	}
	return r.acts, nil
}

type reader struct {
	lines []string
	next  int
	acts  []Act
	typed []string
}

// until returns the lines before the one that is end.
func (r *reader) until(end string) (lines []string, err error) {
	begin := r.next
	for ; r.next < len(r.lines); r.next++ {
		if r.lines[r.next] == end {
			r.next++
			return r.lines[begin : r.next-1], nil
		}
	}
	return nil, &Error{begin, fmt.Sprintf("no %q ends what begins here", end)}
}

func (r *reader) comment(first string) error {
	begin := r.next
	lines, err := r.until("-->")
	switch {
	case err != nil:
		return err
	case first == "<!-- typed":
		r.typed = lines
	default:
		r.acts = append(r.acts, Act{Line: begin + 1, Script: strings.Join(lines, "\n"), Setup: true})
	}
	return nil
}

func (r *reader) block(language string) error {
	begin := r.next
	lines, err := r.until("```")
	if err != nil || harmless[language] {
		return err
	}
	if language != "console" {
		return &Error{begin, fmt.Sprintf("a block with the fence %q is not run: write it as console, with a prompt in front of each command", language)}
	}
	typed := r.typed
	r.typed = nil
	for i, line := range lines {
		command, isCommand := strings.CutPrefix(line, "# ")
		more, isMore := strings.CutPrefix(line+" ", "> ")
		last := len(r.acts) - 1
		switch {
		case isCommand:
			act := Act{Line: begin + i + 1, Script: command, Typed: typed}
			typed = nil
			if code := exitCode.FindStringSubmatch(command); code != nil {
				act.ExitCode, _ = strconv.Atoi(code[1]) // it is all digits
			}
			r.acts = append(r.acts, act)
		case i == 0:
			return &Error{begin + 1, "a console block begins with a command behind the prompt \"# \""}
		case isMore && r.acts[last].Shown == nil:
			r.acts[last].Script += "\n" + strings.TrimSuffix(more, " ")
		default:
			r.acts[last].Shown = append(r.acts[last].Shown, line)
		}
	}
	return nil
}
