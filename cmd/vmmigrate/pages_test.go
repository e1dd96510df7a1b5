package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// The man pages in packaging/man and the reference in docs are made from the
// same definitions as the help: go test ./cmd/vmmigrate -update writes them.

const manDir = "../../packaging/man/"

// allPages are the pages of the app and of every command, by their names.
func allPages() []page {
	s := &session{machine: testMachine()}
	app := s.app()
	pages := []page{appPage(app)}
	var add func(commands []*cli.Command, above string)
	add = func(commands []*cli.Command, above string) {
		for _, c := range commands {
			if !c.Hidden {
				pages = append(pages, commandPage(c, above+" "+c.Name))
				add(c.Subcommands, above+" "+c.Name)
			}
		}
	}
	add(app.Commands, app.Name)
	return pages
}

// topic is a heading of the main page and of the reference, with what it says
// of each thing.
type topic struct {
	title string
	lines [][2]string
}

func topics() []topic {
	return []topic{
		{"Exit status", [][2]string{
			{"0", "done"},
			{"1", "failed"},
			{"2", "the command line can't be understood, or something would have to be asked and there is no terminal"},
			{"3", "refused before anything was changed"},
			{"4", "interrupted, or failed and resumable: vmmigrate resume goes on, vmmigrate rollback takes back"},
			{"5", "verification found a difference"},
			{"6", "some VMs of a batch failed"},
		}},
		{"Environment", [][2]string{
			{"LIBVIRT_DEFAULT_URI", "stands in for --connect"},
			{"VMMIGRATE_STATE_DIR", "stands in for --state-dir"},
			{"CREDENTIALS_DIRECTORY", "set by systemd: the credential vmmigrate.NAME is the key of the VM called NAME"},
			{"NO_COLOR", "if set, nothing is coloured"},
			{"TERM", "dumb means a terminal without a progress bar"},
		}},
		{"Files", [][2]string{
			{"/var/lib/vmmigrate/jobs/JOB/journal", "what a job was about to do and what it has done"},
			{"/var/lib/vmmigrate/cutovers/JOB", "what a cutover was about to do and what it has done, with the definitions of both VMs from before and after"},
			{"/var/lib/vmmigrate/records/JOB.json", "the record of a retirement: what was wiped, when and how; its schema is docs/retirement.schema.json"},
			{"/var/lib/vmmigrate/retirements/JOB", "how far a retirement has come, and the original's definition"},
			{"/var/lib/vmmigrate/headers", "the header backups of vmmigrate header backup, each with its digest beside it; move them off the host"},
			{"/var/lib/vmmigrate/crypttab", "copies of /etc/crypttab from before each change by autostart enable and disable"},
			{"/var/lib/vmmigrate/jobs/JOB/DISK.luks-header", "the backup of a new volume's LUKS header: whoever has it and an old passphrase can open the volume. Move it off the host, with the digest in .sha256 beside it; DISK.header-note stays"},
			{"/var/lib/vmmigrate/jobs/JOB/clone.xml", "the clone's definition as it was made: should it be undefined, virsh define brings it back"},
		}},
	}
}

// A command is interrupted with Ctrl-C, which is worth a paragraph of its own.
const onSignals = "The first Ctrl-C, SIGTERM or lost terminal stops a job at its next checkpoint, with exit status 4; " +
	"the second signal ends vmmigrate at once, which is as safe as a power cut: the job can be resumed or rolled back."

func TestTheManPagesAreUpToDate(t *testing.T) {
	made := make(map[string]bool)
	pages := allPages()
	for _, p := range pages {
		file := manName(p) + ".8"
		made[file] = true
		golden(t, manDir+file, manPage(p, pages))
	}
	files, err := filepath.Glob(manDir + "*.8")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !made[filepath.Base(file)] {
			t.Errorf("%s is about a command that is gone: remove it", file)
		}
	}
}

// man's own formatter is the judge, where it is installed (Debian: groff-base).
func TestTheManPagesRenderWithoutWarnings(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not installed, so nothing says whether the man pages render")
	}
	for _, p := range allPages() {
		c := exec.Command(groff, "-man", "-Tutf8", "-ww", "-rLL=80n", "-z", manDir+manName(p)+".8")
		c.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		said, err := c.CombinedOutput()
		if err != nil || len(said) > 0 {
			t.Errorf("%s: %v\n%s", manName(p), err, said)
		}
	}
}

func TestTheReferenceIsUpToDate(t *testing.T) {
	text := reference()
	golden(t, docs+"reference.md", text)
	schemas, err := filepath.Glob(docs + "*.schema.json")
	if err != nil || len(schemas) == 0 {
		t.Fatal(schemas, err)
	}
	for _, schema := range schemas {
		if name := filepath.Base(schema); !strings.Contains(text, "("+name+")") {
			t.Errorf("the reference does not name %s", name)
		}
	}
}

func manName(p page) string { return strings.ReplaceAll(p.name, " ", "-") }

// roff makes text harmless to groff_man(7), with dashes that can be pasted.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "~", `\(ti`, "^", `\(ha`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

func manPage(p page, all []page) string {
	var b strings.Builder
	write := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	write(".\\\" Made from the command's definition by: go test ./cmd/vmmigrate -update")
	write(".TH %s 8 \"\" vmmigrate \"System Administration\"", strings.ToUpper(roff(manName(p))))
	write(".nh\n.ad l") // no word is broken that somebody may paste
	write(".SH NAME\n%s \\- %s", roff(manName(p)), roff(p.summary))
	write(".SH SYNOPSIS\n.B %s\n%s", roff(p.name), roff(p.synopsis))
	if len(p.paragraphs) > 0 {
		write(".SH DESCRIPTION")
		for i, paragraph := range p.paragraphs {
			if i > 0 {
				write(".PP")
			}
			write("%s", roff(paragraph))
		}
	}
	if len(p.commands) > 0 {
		write(".SH COMMANDS")
		for _, c := range p.commands {
			write(".TP\n.BR %s (8)\n%s", roff(manName(p)+"-"+c.name), roff(c.summary))
		}
	}
	if len(p.examples) > 0 {
		write(".SH EXAMPLES")
		for i, e := range p.examples {
			if i > 0 {
				write(".PP")
			}
			write("%s\n.PP\n.EX\n.in +4n", roff(e.comment))
			for _, line := range e.lines {
				write("%s", roff(line))
			}
			write(".in\n.EE")
		}
	}
	for i, s := range p.sections {
		if i == 0 {
			write(".SH OPTIONS")
		}
		write(".SS %s", roff(s.title))
		for _, f := range s.flags {
			write(".TP\n.B %s\n%s", roff(f.heading()), roff(f.explained()))
		}
	}
	manEnd(write, p, all)
	return b.String()
}

// manEnd is what stands below the flags: on the main page all topics, on the
// others where to find them.
func manEnd(write func(string, ...any), p page, all []page) {
	if p.name == all[0].name {
		write(".SH SIGNALS\n%s", roff(onSignals))
		for _, topic := range topics() {
			write(".SH %s", strings.ToUpper(topic.title))
			for _, line := range topic.lines {
				write(".TP\n.B %s\n%s", roff(line[0]), roff(line[1]))
			}
		}
		write(".SH SEE ALSO\n.BR cryptsetup (8),\n.BR lvm (8),\n.BR virsh (1)")
		return
	}
	write(".PP\nThe flags for every command, exit status, environment and files are in\n.BR vmmigrate (8).")
	write(".SH SEE ALSO")
	var others []string
	for _, other := range all {
		if other.name != p.name {
			others = append(others, fmt.Sprintf(".BR %s (8)", roff(manName(other))))
		}
	}
	write("%s", strings.Join(others, ",\n"))
}

// reference is all of it on one page of Markdown.
func reference() string {
	var b strings.Builder
	write := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	write("<!-- Made from the commands' definitions by: go test ./cmd/vmmigrate -update -->")
	write("# Reference\n")
	pages := allPages()
	for _, p := range pages {
		if p.name != pages[0].name {
			write("## %s\n\n%s.\n", p.name, strings.ToUpper(p.summary[:1])+p.summary[1:])
		}
		write("    %s\n", strings.TrimSpace(p.name+" "+p.synopsis))
		for _, paragraph := range p.paragraphs {
			write("%s\n", markdown(paragraph))
		}
		for _, c := range p.commands {
			write("- [%s](#%s): %s", c.name, manName(page{name: p.name + " " + c.name}), markdown(c.summary))
		}
		if len(p.commands) > 0 {
			write("")
		}
		for _, e := range p.examples {
			write("%s\n\n    %s\n", markdown(e.comment), strings.Join(e.lines, "\n    "))
		}
		for _, s := range p.sections {
			write("### %s\n\n| flag | |\n|---|---|", s.title)
			for _, f := range s.flags {
				write("| `%s` | %s |", f.heading(), strings.ReplaceAll(markdown(f.explained()), "|", `\|`))
			}
			write("")
		}
	}
	write("## Signals\n\n%s\n", markdown(onSignals))
	for _, topic := range topics() {
		write("## %s\n\n| | |\n|---|---|", topic.title)
		for _, line := range topic.lines {
			write("| `%s` | %s |", line[0], markdown(line[1]))
		}
		write("")
	}
	write("## Output for programs\n")
	write("With `--output json`, standard output carries JSON and nothing else; text for people goes to standard error.\n")
	for _, name := range slices.Sorted(maps.Keys(schemaOf)) {
		write("- `%s`: [%s](%s)", name, schemaOf[name], schemaOf[name])
	}
	return b.String()
}

var schemaOf = map[string]string{
	"vmmigrate status": "status.schema.json", "vmmigrate trim check": "trim.schema.json",
	"vmmigrate header backup": "header-backup.schema.json", "vmmigrate header check": "header-check.schema.json",
	"vmmigrate start, stop, unlock, lock, autostart, header restore, key (an object a line)": "life-events.schema.json",
	"vmmigrate run --dry-run":                     "rehearsal.schema.json",
	"the record that vmmigrate retire leaves":     "retirement.schema.json",
	"the file of vmmigrate plan --save (as YAML)": "plan-file.schema.json",
	"vmmigrate plan":                              "plan.schema.json", "vmmigrate jobs": "jobs.schema.json", "vmmigrate verify": "verify.schema.json",
	"vmmigrate run, resume, rollback, cutover, retire (an object a line)": "events.schema.json",
}

func markdown(text string) string {
	return strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`).Replace(text)
}
