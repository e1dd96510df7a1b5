//go:build e2e

package sources

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// template makes four VMs: one and two on images behind which is one template,
// template on that itself, and three on an image with its bytes in another file.
const template = domains + `
mkdir -p /srv/images/many; cd /srv/images/many
{ noise 9M; yes 'a line of a log' | head -c 9M; head -c 9M /dev/zero; noise 9M; } > guest; truncate -s 44M guest
qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd guest template.qcow2
qemu-io -f qcow2 -c 'write -P 3 2M 3M' template.qcow2 >/dev/null
for name in one two; do
	qemu-img create -q -f qcow2 -b template.qcow2 -F qcow2 $name.qcow2
	qemu-io -f qcow2 -c 'write -P 4 1M 8M' -c 'write -z 12M 1M' -c 'write -P 5 40M 200k' $name.qcow2 >/dev/null
done
truncate -s 4M guest; qemu-img convert -f raw -O qcow2 -o data_file=$PWD/three.data guest three.qcow2; rm guest
for name in one two three template; do kind $name $name file qcow2 "file='$PWD/$name.qcow2'" $name.qcow2; vm $name; done
`

func TestAChainIsResumedAfterAKillAndItsTemplateOutlivesARetirement(t *testing.T) {
	h := set(t, scenario.Options{})
	h.sh(t, template)
	t.Run("a copy that is killed is taken up again, and is what qemu-img makes of the chain", h.resumesAChain)
	t.Run("what a chain rests on is not wiped", h.retiresAChain)
}

// resumesAChain has the copy of a chain killed half-way, and taken up again.
func (h host) resumesAChain(t *testing.T) {
	want := h.sh(t, `qemu-img convert -f qcow2 -O raw /srv/images/many/one.qcow2 /srv/want; sha256sum </srv/want; rm /srv/want`)
	c := h.Command(append([]string{"vmmigrate"}, migrate([]string{"one"}, "--vg", "vg0", "--max-rate", "3M", "--output", "json")...)...)
	// Twice a second; finished chunks are recorded every five.
	seen := make(chan struct{})
	c.Stdout = &watch{part: `"event":"progress"`, wanted: 14, seen: seen}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var result testhost.Result
	var err error
	ended := make(chan struct{})
	go func() {
		result, err = c.Wait(t.Context())
		close(ended)
	}()
	select {
	case <-seen:
	case <-ended:
		t.Fatalf("it ends before it is killed: %+v, %v", result, err)
	case <-time.After(3 * time.Minute):
		t.Fatal("it does not get to copy")
	}
	if err := c.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ended
	h.sh(t, `for i in $(seq 50); do pgrep qemu-nbd >/dev/null || break; sleep 0.1; done; ! pgrep -a qemu-nbd`)
	h.does(t, 0, []string{"jobs"}, "interrupted", "vmmigrate resume")
	resumed := h.does(t, 0, []string{"resume", "one", "--key-file", scenario.KeyFile})
	t.Log(resumed.Stdout + resumed.Stderr)
	if got := h.sh(t, `sha256sum </dev/mapper/cr_one_vda`); got != want {
		t.Errorf("the payload's SHA-256 is %s, and what qemu-img makes of the chain has %s", got, want)
	}
	h.does(t, 0, []string{"verify", "one"}, "equal")
}

// watch closes seen when a part has come by so many times.
type watch struct {
	part          string
	count, wanted int
	seen          chan struct{}
}

func (w *watch) Write(p []byte) (int, error) {
	if before := w.count; before < w.wanted {
		if w.count += strings.Count(string(p), w.part); w.count >= w.wanted {
			close(w.seen)
		}
	}
	return len(p), nil
}

// retiresAChain retires the original of a clone whose disk was an image on a
// template: that image is wiped, and the template, which others use, is not. Nor
// can the template be retired as a VM's own disk.
func (h host) retiresAChain(t *testing.T) {
	others := func() string {
		return h.sh(t, `cd /srv/images/many; sha256sum template.qcow2 two.qcow2; qemu-img convert -f qcow2 -O raw two.qcow2 /srv/seen; sha256sum /srv/seen; rm /srv/seen`)
	}
	before := others()
	h.does(t, 0, migrate([]string{"template", "three"}, "--vg", "vg0"))
	for _, clone := range []string{"one-luks", "template-luks"} {
		h.does(t, 0, []string{"start", clone, "--key-file", scenario.KeyFile}, clone+": started")
		h.does(t, 0, []string{"stop", clone, "--force", "--timeout", "1s"}, "off")
	}
	retire := func(clone string) []string {
		return []string{"retire", clone, "--confirm", clone, "--method", "zero", "--keep-volume", "--key-file", scenario.KeyFile}
	}
	t.Log(h.does(t, 3, retire("template-luks"), "/srv/images/many/template.qcow2 lies under the disk vda of the VM", `as a backing file of /srv/images/many/`).Stderr)
	h.does(t, 3, retire("three-luks"), "the bytes of vda are in /srv/images/many/three.data, and not in /srv/images/many/three.qcow2")
	size := h.sh(t, `stat -c %s /srv/images/many/one.qcow2`)
	t.Log(h.does(t, 0, retire("one-luks"), "one.qcow2 rests on /srv/images/many/template.qcow2, which stays as it is", "every byte is zero").Stdout)
	h.sh(t, fmt.Sprintf(`cd /srv/images/many; [ "$(stat -c %%s one.qcow2)" = %s ]; cmp -n %[1]s one.qcow2 /dev/zero; ! virsh -q dominfo one 2>/dev/null`, size))
	if after := others(); after != before {
		t.Errorf("what others use was\n%s\nand is\n%s", before, after)
	}
	// The other VM of the template moves as before.
	h.does(t, 0, migrate([]string{"two"}, "--vg", "vg0"))
	h.does(t, 0, []string{"verify", "two"}, "equal")
}
