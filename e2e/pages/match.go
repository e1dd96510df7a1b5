package pages

import (
	"regexp"
	"strings"
)

// leftOut is a shown line that stands for any number of printed ones.
const leftOut = "..."

// varying are the words that no two runs have in common, each with what is
// compared in its place.
var varying = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "UUID"},
	{regexp.MustCompile(`\b[0-9]{8}-[0-9]{6}-[0-9a-f]{4}\b`), "JOB"},
	{regexp.MustCompile(`\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b`), "MAC"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "DIGEST"},
	{regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9:]+)?)?\b`), "DATE"},
	{regexp.MustCompile(`\b[0-9]{8}[T-][0-9]{6}Z?\b`), "DATE"},
	{regexp.MustCompile(`\b[0-9.]+ ([KMGT]?i?B|bytes)/s`), "RATE"},
	{regexp.MustCompile(`\b[0-9.]+ (ms|s|min|h|seconds?|minutes?)\b|\b([0-9]+h)?([0-9]+m)?[0-9.]+s\b`), "TIME"},
	// Columns are as wide as what varies in them.
	{regexp.MustCompile(`[─━-]{3,}`), "---"},
	{regexp.MustCompile(`\s+`), " "},
}

// plain is a line with all that varies between two runs taken out.
func plain(line string) string {
	for _, v := range varying {
		line = v.pattern.ReplaceAllString(line, v.instead)
	}
	return strings.TrimSpace(line)
}

// Missing returns the first shown line that was not printed where the page has
// it: below the line shown before it, and directly below unless "..." stands
// between the two. It returns "" if all is there. How long something took, and
// what is drawn anew each time, as a UUID, may differ.
func Missing(shown []string, printed string) string {
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(printed, "\r", "")) {
		lines = append(lines, plain(line))
	}
	next, anywhere := 0, true
	for _, line := range shown {
		if line == leftOut {
			anywhere = true
			continue
		}
		found := next
		for anywhere && found < len(lines) && lines[found] != plain(line) {
			found++
		}
		if found >= len(lines) || lines[found] != plain(line) {
			return line
		}
		next, anywhere = found+1, false
	}
	return ""
}
