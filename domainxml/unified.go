package domainxml

import (
	"fmt"
	"strings"
)

// RenderOptions says how Unified shows a difference.
type RenderOptions struct {
	// From and To name the two texts in the head; without them it has none.
	From, To string
	// Context is how many lines that did not change are shown around those
	// that did.
	Context int
	// Color marks removed and added lines in red and green, for a terminal.
	Color bool
}

// maxCells bounds the table that tells lines apart, to 32 MiB or some 2,800
// lines against as many; in a longer text the whole stretch that differs is
// shown as removed and added again.
const maxCells = 8 << 20

// Unified shows the difference between two texts line by line, in the unified
// format of diff(1). It is "" when there is none. It is for people: passwords
// are blotted out, and so are control characters that could steer a terminal.
func Unified(a, b []byte, options RenderOptions) string {
	before, after := lines(a), lines(b)
	edits := script(before, after)
	var out strings.Builder
	paint := func(sign byte, line string) {
		color := map[byte]string{'-': "\x1b[31m", '+': "\x1b[32m", '@': "\x1b[36m"}[sign]
		text := show(line)
		if sign != '@' {
			text = string(sign) + text
		}
		if options.Color && color != "" {
			text = color + text + "\x1b[0m"
		}
		out.WriteString(text + "\n")
	}
	for at := 0; at < len(edits); {
		if edits[at].sign == ' ' {
			at++
			continue
		}
		from, to := hunk(edits, at, options.Context)
		if out.Len() == 0 && options.From+options.To != "" {
			paint('-', "-- "+options.From)
			paint('+', "++ "+options.To)
		}
		countA, countB := 0, 0
		for _, e := range edits[from:to] {
			if e.sign != '+' {
				countA++
			}
			if e.sign != '-' {
				countB++
			}
		}
		paint('@', fmt.Sprintf("@@ -%d,%d +%d,%d @@", edits[from].a+1, countA, edits[from].b+1, countB))
		for _, e := range edits[from:to] {
			paint(e.sign, e.line)
		}
		at = to
	}
	return out.String()
}

// hunk is the stretch of edits around at that belong together: changes with
// no more than twice the context between them.
func hunk(edits []edited, at, context int) (from, to int) {
	from = max(0, at-context)
	last := at
	for i := at; i < len(edits) && i-last <= 2*context+1; i++ {
		if edits[i].sign != ' ' {
			last = i
		}
	}
	return from, min(len(edits), last+1+context)
}

func lines(text []byte) []string {
	s := strings.TrimSuffix(string(text), "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// show makes a line fit for a terminal. The control characters U+0080 to
// U+009F are legal in XML, and some terminals obey them.
func show(line string) string {
	line = blot(strings.TrimSuffix(line, "\r"))
	var b strings.Builder
	for _, r := range line {
		if r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// edited is a line with ' ', '-' or '+' and where it stands in both texts.
type edited struct {
	sign byte
	line string
	a, b int
}

// script is a shortest way from a to b.
func script(a, b []string) []edited {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out []edited
	emit := func(sign byte, i, j int) {
		line := ""
		if sign == '+' {
			line = b[j]
		} else {
			line = a[i]
		}
		out = append(out, edited{sign, line, i, j})
	}
	for i := range head {
		emit(' ', i, i)
	}
	for _, e := range middle(a[head:len(a)-tail], b[head:len(b)-tail]) {
		emit(e.sign, e.a+head, e.b+head)
	}
	for i := range tail {
		emit(' ', len(a)-tail+i, len(b)-tail+i)
	}
	return out
}

// middle tells lines apart by their longest common subsequence.
func middle(a, b []string) []edited {
	var out []edited
	i, j := 0, 0
	if len(a)*len(b) <= maxCells {
		common := lengths(a, b)
		width := len(b) + 1
		for i < len(a) && j < len(b) {
			switch {
			case a[i] == b[j]:
				out = append(out, edited{sign: ' ', a: i, b: j})
				i, j = i+1, j+1
			case common[(i+1)*width+j] >= common[i*width+j+1]:
				out = append(out, edited{sign: '-', a: i, b: j})
				i++
			default:
				out = append(out, edited{sign: '+', a: i, b: j})
				j++
			}
		}
	}
	for ; i < len(a); i++ {
		out = append(out, edited{sign: '-', a: i, b: j})
	}
	for ; j < len(b); j++ {
		out = append(out, edited{sign: '+', a: i, b: j})
	}
	return out
}

// lengths are those of the longest common subsequences of a[i:] and b[j:], at
// i*(len(b)+1)+j.
func lengths(a, b []string) []int32 {
	width := len(b) + 1
	common := make([]int32, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i*width+j] = common[(i+1)*width+j+1] + 1
			} else {
				common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
			}
		}
	}
	return common
}
