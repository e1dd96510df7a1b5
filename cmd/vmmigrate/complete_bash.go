package main

import "strings"

// bashLine is a command line as bash has it, up to the cursor.
type bashLine struct {
	// words are without their quotes; the last is begun.
	words []string
	// kept is how much of the last word stays as it is, in bytes: bash
	// replaces only what comes behind an open quote, or behind a character
	// that it breaks words at.
	kept int
	// quote is the open quote, or 0.
	quote rune
}

// readBash takes a line apart as the shell would (bash(1), QUOTING). breaks is
// COMP_WORDBREAKS, of which = and : can stand within a word of ours.
func readBash(line, breaks string) bashLine {
	var l bashLine
	var word strings.Builder
	begun, escaped, unquoted := false, false, 0
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
			word.WriteRune(r)
		case r == '\\' && l.quote != '\'':
			escaped, begun = true, true
		case l.quote != 0:
			if r == l.quote {
				l.quote, l.kept = 0, unquoted
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			l.quote, begun, unquoted = r, true, l.kept
			l.kept = word.Len()
		case r == ' ' || r == '\t' || r == '\n':
			if begun {
				l.words = append(l.words, word.String())
			}
			word.Reset()
			begun, l.kept = false, 0
		default:
			begun = true
			word.WriteRune(r)
			if (r == '=' || r == ':') && strings.ContainsRune(breaks, r) {
				l.kept = word.Len()
			}
		}
	}
	l.words = append(l.words, word.String())
	if len(l.words) == 1 {
		l.words = append(l.words, "") // the cursor is still in the command's own name
	}
	return l
}

// shown is a candidate as bash has to be given it: the part that it replaces,
// quoted as the word was begun.
func (l bashLine) shown(candidate string) string {
	rest := candidate[min(l.kept, len(candidate)):]
	special := " \t\n\\'\"`$&|;<>(){}[]*?#~!^"
	switch l.quote {
	case '\'':
		return rest // a single quote can't be in it; bash closes what is open
	case '"':
		special = "\\\"`$"
	}
	var b strings.Builder
	for _, r := range rest {
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
