package boot

import (
	"bytes"
	"fmt"
	"strings"
)

// Entry is one line of a crypttab (crypttab(5)): four words, of which none can
// hold white space, for there is no way to quote it.
type Entry struct {
	// Mapper is the mapping's name, Source the device, Key the key file or
	// "none", and Options are comma-separated.
	Mapper, Source, Key, Options string
}

// Line is a line of a crypttab that is somebody else's.
type Line struct {
	// Number counts from 1.
	Number int
	Entry
}

// mark begins the comment in front of each line of ours. It names the job and
// the mapping; a line with that mapping's name behind it is ours, whatever
// options it has been given since.
const mark = "# vmmigrate "

// The words behind the mark. The second is for a line that was put behind one
// that had no end: whoever takes ours away takes the end away as well.
const (
	why        = ": `vmmigrate autostart disable` removes this line and the next"
	newlineWhy = " +newline" + why
)

// Add puts a job's entries at the end of a crypttab, in the place of any that
// the job had. Every other byte stays.
func Add(text []byte, job string, entries []Entry) []byte {
	text, _ = Remove(text, job)
	out := bytes.Clone(text)
	for i, e := range entries {
		words := why
		if i == 0 && len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
			words = newlineWhy
		}
		out = fmt.Appendf(out, "%s%s %s%s\n%s %s %s %s\n", mark, job, e.Mapper, words, e.Mapper, e.Source, e.Key, e.Options)
	}
	return out
}

// Remove takes a job's entries away, and nothing else. It returns them as they
// were by then, whatever had been done to their options.
func Remove(text []byte, job string) (rest []byte, removed []Entry) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	joined := -1 // how much of rest came before the line end that we added
	for i := 0; i < len(lines); i++ {
		mapper, newline, ours := marked(lines[i], job)
		if !ours {
			rest = append(rest, lines[i]...)
			continue
		}
		if newline {
			joined = len(rest)
		}
		if i+1 < len(lines) {
			if e, ok := entryOf(lines[i+1]); ok && e.Mapper == mapper {
				removed = append(removed, e)
				i++
			}
		}
	}
	if joined >= 0 && joined == len(rest) {
		rest = bytes.TrimSuffix(rest, []byte("\n"))
	}
	return rest, removed
}

// marked reads a comment of ours.
func marked(line []byte, job string) (mapper string, newline, ours bool) {
	words, found := strings.CutPrefix(strings.TrimRight(string(line), "\r\n"), mark+job+" ")
	if !found {
		return "", false, false
	}
	if mapper, newline = strings.CutSuffix(words, newlineWhy); !newline {
		if mapper, found = strings.CutSuffix(words, why); !found {
			return "", false, false
		}
	}
	return mapper, newline, mapper != "" && !strings.ContainsAny(mapper, " \t")
}

// entryOf reads a line as systemd does: words between white space, and a line
// that begins with # is none (systemd's cryptsetup-generator.c).
func entryOf(line []byte) (Entry, bool) {
	words := strings.FieldsFunc(string(line), func(r rune) bool { return strings.ContainsRune(" \t\r\n\v\f", r) })
	if len(words) < 2 || strings.HasPrefix(words[0], "#") {
		return Entry{}, false
	}
	e := Entry{Mapper: words[0], Source: words[1]}
	if len(words) > 2 {
		e.Key = words[2]
	}
	if len(words) > 3 {
		e.Options = words[3]
	}
	return e, true
}

// Ours are the entries of a job that a crypttab holds.
func Ours(text []byte, job string) []Entry {
	_, entries := Remove(text, job)
	return entries
}

// Others are the lines of a crypttab that are not the job's.
func Others(text []byte, job string) []Line {
	rest, _ := Remove(text, job)
	var all []Line
	number := 0
	for line := range bytes.Lines(rest) {
		number++
		if e, ok := entryOf(line); ok {
			all = append(all, Line{Number: number, Entry: e})
		}
	}
	return all
}

// Clash is the line of somebody else's that keeps an entry from being added:
// one for the same mapping, or one that opens the same volume. devices are
// further paths of the entry's device.
func Clash(text []byte, job string, e Entry, devices []string) (Line, bool) {
	same := map[string]bool{strings.ToLower(e.Source): true}
	if uuid, ok := strings.CutPrefix(strings.ToLower(e.Source), "uuid="); ok {
		same["/dev/disk/by-uuid/"+uuid] = true
		same[`uuid="`+uuid+`"`] = true
	}
	for _, device := range devices {
		same[strings.ToLower(device)] = true
	}
	for _, line := range Others(text, job) {
		if line.Mapper == e.Mapper || same[strings.ToLower(line.Source)] {
			return line, true
		}
	}
	return Line{}, false
}
