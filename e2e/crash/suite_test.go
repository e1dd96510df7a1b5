//go:build e2e

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

var (
	seedFlag  = flag.Uint64("crash.seed", 0, "decides all that is left to chance (0: by the clock)")
	faultFlag = flag.String("crash.fault", "", "try the faults whose name holds this text, and no other, one by one")
	jobFlag   = flag.String("crash.job", "", "try the kills and power cuts of one kind of jobs alone: usual, recovery or layout")
	shareFlag = flag.Uint64("crash.share", 1, "try one of so many faults, which one the seed decides, and at least one of each kind")
	hostsFlag = flag.Int("crash.hosts", max(2, min(runtime.NumCPU(), 8)), "run so many test hosts at a time")
	toFlag    = flag.String("crash.summary", "", "write the summary to this file too")
)

// programs are the binaries that the hosts get.
type programs struct{ dir string }

func (p programs) paths() []string {
	return []string{filepath.Join(p.dir, "vmmigrate"), filepath.Join(p.dir, "inside")}
}

func (p programs) build(ctx context.Context) error {
	for name, pkg := range map[string]string{"vmmigrate": "cmd/vmmigrate", "inside": "e2e/crash/inside"} {
		if err := testhost.Build(ctx, "github.com/vmmigrate/vmmigrate/"+pkg, filepath.Join(p.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// suite is what all tests share.
type suite struct {
	programs
	seed  uint64
	tally tally
}

// random is a source of chance of its own for each test, so that one test alone
// sees what it sees among the others.
func (s *suite) random(name string) *rand.Rand {
	var n uint64
	for _, b := range []byte(name) {
		n = n*31 + uint64(b)
	}
	return rand.New(rand.NewPCG(s.seed, n))
}

// chosen says whether number n of a list of faults is in this run's share.
func (s *suite) chosen(n int) bool { return uint64(n)%max(*shareFlag, 1) == s.seed%max(*shareFlag, 1) }

var shared suite

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) int {
	shared.seed = *seedFlag
	if shared.seed == 0 {
		shared.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	fmt.Printf("crash: seed %d; again with -crash.seed=%d\n", shared.seed, shared.seed)
	dir, err := os.MkdirTemp("", "crash-bin-")
	if err == nil {
		defer os.RemoveAll(dir)
		shared.dir = dir
		err = shared.build(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	began := time.Now()
	code := m.Run()
	summary := fmt.Sprintf("crash: seed %d\n%s%.0f s in all\n", shared.seed, &shared.tally, time.Since(began).Seconds())
	fmt.Print(summary)
	if *toFlag != "" {
		if err := os.WriteFile(*toFlag, []byte(summary), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// place is a host with the world of command inside on it.
type place struct {
	*testhost.Host
	t *testing.T
	// worlds is the file in which command inside finds what the end has to be
	// like.
	worlds string
	// compared counts the bytes that the end was found to have right.
	compared *int64
}

// usual is the file for a job that is told nothing beside the usual.
const usual = "/tmp/worlds"

// boot starts a host that ends with the test.
func boot(t *testing.T, options testhost.Options) (*testhost.Host, error) {
	options.Programs, options.Libvirt = shared.paths(), true
	h, err := testhost.Start(t.Context(), options)
	if err != nil {
		return nil, err
	}
	t.Cleanup(h.PowerCut)
	_, err = h.Run(t.Context(), "inside", "quicken")
	return h, err
}

// newPlace boots a host and makes the world on it. The physical volume lies on
// a mapping, pv0, under which a test can put faults.
func newPlace(t *testing.T) (place, error) {
	h, err := boot(t, testhost.Options{Disks: []testhost.Disk{{Size: 256 << 20, Noise: true}}})
	if err == nil {
		_, err = h.Shell(t.Context(), `
			dmsetup create pv0 --table "0 $(($(blockdev --getsz /dev/ubda) - 2048)) linear /dev/ubda 2048"
			dmsetup mknodes; inside setup -device /dev/mapper/pv0 -seed "$1"`, fmt.Sprint(shared.seed))
	}
	return place{Host: h, t: t, worlds: usual}, err
}

// shell runs a script that has to succeed.
func (p place) shell(script string, args ...string) string {
	p.t.Helper()
	out, err := p.Shell(p.t.Context(), script, args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// rehearse learns what the world is like before and after a job that is told
// more than the usual.
func (p place) rehearse(more ...string) place {
	p.t.Helper()
	p.worlds = "/tmp/other-worlds"
	if _, err := p.Run(p.t.Context(), append([]string{"inside", "rehearse", "-worlds", p.worlds, "--"}, more...)...); err != nil {
		p.t.Fatal(err)
	}
	return p
}

// call is how a call of vmmigrate with something done at an instant of it ended.
type call struct {
	Code    int     `json:"code"`
	Output  string  `json:"output"`
	Script  string  `json:"script"`
	Seconds float64 `json:"seconds"`
}

// at runs vmmigrate, and a script at an instant of it.
func (p place) at(instant, script string, args ...string) call {
	p.t.Helper()
	r, err := p.Run(p.t.Context(), append([]string{"inside", "at", "-instant", instant, "-do", script, "--"}, args...)...)
	var c call
	if err == nil {
		err = json.Unmarshal([]byte(r.Stdout), &c)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// vmmigrate runs a command of it and returns its exit code and all it said.
func (p place) vmmigrate(args ...string) (code int, output string) {
	p.t.Helper()
	r, err := p.Run(p.t.Context(), append([]string{"vmmigrate"}, args...)...)
	var exit *testhost.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return r.ExitCode, r.Stdout + r.Stderr
}

// resume is the command line that goes on with the job.
func resume() []string { return []string{"resume", "imap", "--key-file", "/var/lib/libvirt/luks.key"} }

// end brings the job to one of its ends, "resume" or "rollback", and checks all
// that has to hold then. What ignore matches may differ.
func (p place) end(how, ignore string) {
	p.t.Helper()
	if p.t.Failed() {
		return // what it left is taken away by force
	}
	out, err := p.Run(p.t.Context(), "inside", "end", "-worlds", p.worlds, "-how", how, "-ignore", ignore)
	var r result
	if err == nil {
		err = json.NewDecoder(bytes.NewReader([]byte(out.Stdout))).Decode(&r)
	}
	if err != nil {
		r.Error = err.Error()
	}
	*p.compared += r.Bytes
	if r.Error != "" {
		p.t.Error(r.Error)
	}
}

// expect fails the test unless the call ended with the code and said all of
// the words.
func (p place) expect(c call, code int, words ...string) {
	p.t.Helper()
	expect(p.t, c.Code, c.Output+"\nthe script said: "+c.Script, code, words...)
}

func expect(t *testing.T, got int, output string, code int, words ...string) {
	t.Helper()
	if got != code {
		t.Errorf("exit code %d and not %d:\n%s", got, code, output)
	}
	for _, word := range words {
		if !strings.Contains(output, word) {
			t.Errorf("it did not say %q:\n%s", word, output)
		}
	}
}
