//go:build e2e

package crash

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
)

// result is what command inside says of one fault, or of one job with several.
type result struct {
	Name    string   `json:"name"`
	Steps   []string `json:"steps"`
	Missed  []string `json:"missed"`
	Bytes   int64    `json:"bytes"`
	Seconds float64  `json:"seconds"`
	Error   string   `json:"error"`
}

// tally is what is printed at the end of the suite: how each part of it went.
type tally struct {
	mu    sync.Mutex
	parts []*part
}

// part is one kind of faults.
type part struct {
	tally *tally
	name  string
	began time.Time
	took  time.Duration
	// known are how many faults there are, of which some were tried.
	known, tried, survived int
	bytes                  int64
	slowest                string
	slowestSeconds         float64
}

// begin begins a part that has so many faults.
func (y *tally) begin(name string, known int) *part {
	y.mu.Lock()
	defer y.mu.Unlock()
	p := &part{tally: y, name: name, began: time.Now(), known: known}
	y.parts = append(y.parts, p)
	return p
}

// add counts faults that were put to one job.
func (p *part) add(faults int, r result) {
	p.tally.mu.Lock()
	defer p.tally.mu.Unlock()
	p.tried += faults
	p.bytes += r.Bytes
	if r.Error == "" {
		p.survived += faults
	}
	if each := r.Seconds / float64(max(faults, 1)); each > p.slowestSeconds {
		p.slowest, p.slowestSeconds = r.Name, each
	}
	p.took = time.Since(p.began)
}

func (p *part) String() string {
	s := fmt.Sprintf("%s: %d of %d tried, %d survived; %s compared; %.0f s", p.name, p.tried, p.known, p.survived, humanize.IBytes(uint64(p.bytes)), p.took.Seconds())
	if p.slowest != "" {
		s += fmt.Sprintf("; slowest %.1f s: %s", p.slowestSeconds, brief(p.slowest))
	}
	return s
}

func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	all := part{name: "all faults"}
	var s strings.Builder
	for _, p := range y.parts {
		fmt.Fprintf(&s, "  %s\n", p)
		all.known, all.tried, all.survived, all.bytes = all.known+p.known, all.tried+p.tried, all.survived+p.survived, all.bytes+p.bytes
		all.took += p.took
		if p.slowestSeconds > all.slowestSeconds {
			all.slowest, all.slowestSeconds = p.slowest, p.slowestSeconds
		}
	}
	return s.String() + all.String() + "\n"
}
