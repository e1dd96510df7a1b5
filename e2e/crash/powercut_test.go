//go:build e2e

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// cuts is how many jobs the power is cut under. Half of them lose it again while
// they are resumed or rolled back.
const cuts = 16

func again(job int) bool { return job%4 >= 2 }

// keptWorlds is, for each kind of jobs, on a disk that outlives the power.
const keptWorlds = "/var/lib/libvirt/worlds-"

// ofKind is the kind of a job: a third of them keep an image.
func ofKind(job int) string {
	if job%3 == 2 {
		return layoutJob
	}
	return usualJob
}

// TestPowerCuts ends the host itself at random instants of a job, boots it
// again on the same disks, and asks for one of the two ends.
func TestPowerCuts(t *testing.T) {
	if *faultFlag != "" {
		return // those are all of a running host
	}
	known, jobs := 0, make(chan int, cuts)
	for n := range cuts {
		if *jobFlag != "" && *jobFlag != ofKind(n) {
			continue
		}
		known++
		if again(n) {
			known++
		}
		if n < max(4, cuts/int(max(*shareFlag, 1))) {
			jobs <- n
		}
	}
	close(jobs)
	part := shared.tally.begin("power cuts, then resume or rollback", known)
	var group sync.WaitGroup
	for i := range *hostsFlag {
		group.Go(func() {
			g := &grid{t: t, part: part}
			if err := g.run(t.Context(), jobs); err != nil {
				t.Errorf("host %d: %v", i, err)
			}
		})
	}
	group.Wait()
}

// grid feeds one host, and cuts it off.
type grid struct {
	t       *testing.T
	part    *part
	random  *rand.Rand // of the job at hand
	options testhost.Options
	host    *testhost.Host
	// takes is how long a job of each kind takes when nothing happens to it.
	takes map[string]time.Duration
	// story is what the commands that were cut off had said, and what was
	// found after the boot.
	story strings.Builder
}

func (g *grid) run(ctx context.Context, jobs <-chan int) error {
	dir := g.t.TempDir()
	g.options = testhost.Options{
		Disks:   []testhost.Disk{{Path: filepath.Join(dir, "pv"), Size: 256 << 20, Noise: true}},
		Persist: filepath.Join(dir, "persist"),
	}
	var err error
	if g.host, err = boot(g.t, g.options); err != nil {
		return err
	}
	if _, err := g.host.Run(ctx, "inside", "setup", "-seed", fmt.Sprint(shared.seed)); err != nil {
		return err
	}
	g.takes = make(map[string]time.Duration)
	for n := range jobs {
		g.random = shared.random(fmt.Sprint("power cut ", n))
		if err := g.cutJob(ctx, n); err != nil {
			return fmt.Errorf("cut %d: %w", n+1, err)
		}
	}
	return nil
}

// rehearse learns what the world is like before and after a job of a kind, and
// how long it takes.
func (g *grid) rehearse(ctx context.Context, kind string) error {
	out, err := g.host.Shell(ctx, `inside rehearse -kind "$1" -worlds "$2"; sync; cat "$2"`, kind, keptWorlds+kind)
	if err != nil {
		return err
	}
	var rehearsed struct{ Seconds float64 }
	if err := json.Unmarshal([]byte(out), &rehearsed); err != nil {
		return err
	}
	g.takes[kind] = time.Duration(rehearsed.Seconds * float64(time.Second))
	return nil
}

// moves are what the power is cut under.
var moves = map[string][]string{
	usualJob:  {"--vm", "imap"},
	layoutJob: {"--vm", "wiki", "--layout", "filesystem", "--header", "vda=/srv/headers/wiki.header"},
}

// cutJob cuts the power under one job, and brings it to one of its ends.
func (g *grid) cutJob(ctx context.Context, n int) error {
	kind, how := ofKind(n), []string{"resume", "rollback"}[n%2]
	if g.takes[kind] == 0 {
		if err := g.rehearse(ctx, kind); err != nil {
			return err
		}
	}
	takes, vm := g.takes[kind], moves[kind][1]
	g.story.Reset()
	began := time.Now()
	after, err := g.cut(ctx, takes, append([]string{
		"vmmigrate", "run", "--key-file", "/var/lib/libvirt/luks.key", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--close",
	}, moves[kind]...)...)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("power cut after %.2f s of a job of %s, then %s", after.Seconds(), vm, how)
	faults := 1
	if again(n) {
		argv := []string{"vmmigrate", "resume", vm, "--key-file", "/var/lib/libvirt/luks.key"}
		if how == "rollback" {
			argv = []string{"vmmigrate", "rollback", vm, "--yes", "--force"}
		}
		if after, err = g.cut(ctx, takes/2, argv...); err != nil {
			return err
		}
		faults++
		name += fmt.Sprintf(", and again after %.2f s of that", after.Seconds())
	}
	out, err := g.host.Run(ctx, "inside", "end", "-worlds", keptWorlds+kind, "-how", how)
	var r result
	if err == nil {
		err = json.Unmarshal([]byte(out.Stdout), &r)
	}
	if err != nil {
		r.Error = err.Error()
	}
	r.Name, r.Seconds = name, time.Since(began).Seconds()
	g.part.add(faults, r)
	g.t.Logf("%.1f s: %s", r.Seconds, name)
	if r.Error != "" {
		g.t.Errorf("%s\n%s\n%s", name, r.Error, &g.story)
	}
	return err
}

// cut starts a command, cuts the power at a random instant of so much time, and
// boots again.
func (g *grid) cut(ctx context.Context, within time.Duration, argv ...string) (after time.Duration, err error) {
	said := new(bytes.Buffer)
	c := g.host.Command(argv...)
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		return 0, err
	}
	after = time.Duration(g.random.Int64N(int64(within)))
	time.Sleep(after)
	g.host.PowerCut()
	_, err = c.Wait(ctx) // ErrGone, or how it ended before
	fmt.Fprintf(&g.story, "%v\n%s", err, said)
	if g.host, err = boot(g.t, g.options); err != nil {
		return after, err
	}
	found, err := g.host.Shell(ctx, `vgchange -q -a y vg0 >/dev/null; mkdir -p /srv/headers; mount /dev/vg0/headers /srv/headers; lvs --noheadings -o lv_name,lv_tags; ls -AR /var/lib/vmmigrate`)
	fmt.Fprintf(&g.story, "after the boot:\n%s\n", found)
	return after, err
}
