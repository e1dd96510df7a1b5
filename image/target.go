package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/internal/nbd"
	"github.com/vmmigrate/vmmigrate/internal/scratch"
)

// CreateCommand makes an empty qcow2 image of version 3 at path, which has to be
// absolute, with nothing allocated (qemu-img(1), create).
func CreateCommand(path string, spec NewSpec) command.Cmd {
	options := fmt.Sprintf("compat=1.1,cluster_size=%d,preallocation=off", spec.Cluster)
	if spec.ExtendedL2 {
		options += ",extended_l2=on"
	}
	return command.Cmd{Name: "qemu-img", Args: []string{"create", "-q", "-f", "qcow2", "-o", options, path, fmt.Sprint(spec.Size)}}
}

// Create makes an empty qcow2 image, for its owner alone, and returns when it is
// on disk. Whatever is at path is replaced; it has to be in a folder of ours.
func (t Tools) Create(ctx context.Context, path string, spec NewSpec) error {
	if !filepath.IsAbs(path) {
		return &Error{Path: path, Reason: "is no absolute path"}
	}
	if _, err := t.runner().Run(ctx, CreateCommand(path, spec)); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	// libvirt gives it to QEMU's user while a guest runs, and takes it back.
	return errors.Join(file.Chmod(0o600), file.Sync(), file.Close())
}

// Mend has qemu-img take back the space that a power cut left allocated and
// unused in a qcow2 image without others behind it, and look for damage. It
// returns an *Error for an image that is damaged, and a *LockedError for one that
// is in use.
func (t Tools) Mend(ctx context.Context, path string) error {
	chain := Chain{{Path: path, Format: QCOW2}}
	_, err := t.runner().Run(ctx, command.Cmd{Name: "qemu-img", Args: []string{"check", "-q", "-r", "leaks", chain.alone()}})
	var failed *command.Error
	if err == nil || !errors.As(err, &failed) || ctx.Err() != nil {
		return err
	}
	if failed.ExitCode == checkLeaks {
		return nil
	}
	var locked *LockedError
	if said := refusal(chain, failed.Stderr, err); errors.As(said, &locked) {
		return locked
	}
	return &Error{Path: path, Reason: "is damaged: " + first(clean(failed.Stderr)), Err: err}
}

// Needed is how large a qcow2 image's file gets that holds what a chain holds
// now, in bytes (qemu-img(1), measure, "required"). The chain's own image has to
// be at rest. It changes nothing.
func (t Tools) Needed(ctx context.Context, chain Chain, spec NewSpec) (int64, error) {
	options := fmt.Sprintf("cluster_size=%d", spec.Cluster)
	if spec.ExtendedL2 {
		options += ",extended_l2=on"
	}
	result, err := t.runner().Run(ctx, command.Cmd{
		Name: "qemu-img", Args: []string{"measure", "--output=json", "-O", "qcow2", "-o", options, chain.graph()}, ReadOnly: true,
	})
	var failed *command.Error
	if errors.As(err, &failed) && ctx.Err() == nil {
		return 0, refusal(chain, failed.Stderr, err)
	}
	if err != nil {
		return 0, err
	}
	var measured struct {
		Required int64 `json:"required"`
	}
	if err := json.Unmarshal(result.Stdout, &measured); err != nil {
		return 0, fmt.Errorf("read what qemu-img measured of %s: %w", chain[0].Path, err)
	}
	return measured.Required, nil
}

// Target is a qcow2 image that is written as a guest would write it, through a
// qemu-nbd of its own. Its methods may be used by many goroutines at once.
type Target struct {
	path    string
	cluster int64
	server  *command.Process
	writer  *nbd.Writer
	direct  bool
	close   sync.Once
	closed  error
}

// OpenTarget shows a qcow2 image without others behind it through a qemu-nbd of
// its own on a socket that nobody else can reach, and connects to it to write.
// QEMU's lock keeps a guest from the image meanwhile. It returns what Open
// returns. Whoever opens a Target closes it.
func (t Tools) OpenTarget(ctx context.Context, path string) (*Target, error) {
	chain, err := Inspect(path, QCOW2)
	if err != nil {
		return nil, err
	}
	if len(chain) > 1 || len(chain[0].Data) > 0 {
		return nil, &Error{Path: path, Reason: "names other files, and was made without"}
	}
	return pastCache(func(mode string) (*Target, error) { return t.serveTarget(ctx, chain, mode) })
}

func (t Tools) serveTarget(ctx context.Context, chain Chain, mode string) (*Target, error) {
	folder, err := scratch.Make()
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Remove() }() // the connection stands by then
	socket := filepath.Join(folder.Path, "nbd")
	server, err := t.launch(command.Cmd{Name: "qemu-nbd", Args: []string{"--socket=" + socket, "--cache=" + mode, "--discard=unmap", "--", chain.alone()}})
	if err != nil {
		return nil, err
	}
	var writer *nbd.Writer
	err = t.reach(ctx, chain, server, socket, func(o nbd.Options) error {
		var err error
		writer, err = nbd.DialWriter(socket, o)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, server.Stop(stopPatience))
	}
	return &Target{path: chain[0].Path, cluster: chain[0].Cluster, server: server, writer: writer, direct: mode == direct}, nil
}

// Name is the image's path.
func (t *Target) Name() string { return t.path }

// Size is what the guest sees, in bytes.
func (t *Target) Size() int64 { return t.writer.Size() }

// Align is what writes should be multiples of: of a smaller one QEMU reads the
// rest of a page first.
func (t *Target) Align() int { return 4096 }

// Direct tells whether QEMU writes past the page cache.
func (t *Target) Direct() bool { return t.direct }

// ReadAt implements io.ReaderAt.
func (t *Target) ReadAt(p []byte, offset int64) (int, error) {
	n, err := t.writer.ReadAt(p, offset)
	return n, t.failure(err)
}

// WriteAt implements io.WriterAt. A cluster of nothing but zeros is zeroed and
// not written, so that it takes no room in the image, where it is new.
func (t *Target) WriteAt(p []byte, offset int64) (int, error) {
	for done := int64(0); done < int64(len(p)); {
		n, zero := t.run(p[done:], offset+done)
		var err error
		if zero {
			err = t.writer.ZeroAt(offset+done, n)
		} else {
			_, err = t.writer.WriteAt(p[done:done+n], offset+done)
		}
		if err != nil {
			return int(done), t.failure(err)
		}
		done += n
	}
	return len(p), nil
}

// zeros is what a piece of a cluster is held against.
var zeros = make([]byte, clusterMax)

// run is how many bytes from the first are alike: clusters of zeros alone, or
// such as hold something else.
func (t *Target) run(p []byte, offset int64) (n int64, zero bool) {
	for n < int64(len(p)) {
		end := min(int64(len(p)), (offset+n)/t.cluster*t.cluster+t.cluster-offset)
		blank := bytes.Equal(p[n:end], zeros[:end-n])
		if n > 0 && blank != zero {
			return n, zero
		}
		n, zero = end, blank
	}
	return n, zero
}

// Sync returns when all that was written before it is on disk, QEMU's tables and
// the file's as well.
func (t *Target) Sync() error { return t.failure(t.writer.Flush()) }

// failure tells why qemu-nbd did not do what it was asked for.
func (t *Target) failure(err error) error {
	var stalled *nbd.StalledError
	var server *nbd.ServerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &stalled):
		return &HungError{Path: t.path, After: stalled.After}
	case errors.As(err, &server):
		return err
	case errors.Is(err, nbd.ErrClosed):
	default:
		return err
	}
	select {
	case <-t.server.Done():
	case <-time.After(lastWords):
	}
	return &ServeError{Path: t.path, Said: clean(t.server.Said()), Err: err}
}

// closePatience is how long qemu-nbd may take to write its tables at its end.
const closePatience = 30 * time.Second

// Close ends the connection and qemu-nbd, which then has let go of the image.
// What was not flushed may be lost.
func (t *Target) Close() error {
	t.close.Do(func() {
		t.writer.Close()
		t.closed = t.server.Stop(closePatience)
	})
	return t.closed
}
