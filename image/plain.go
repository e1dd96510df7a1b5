package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// File is a file or device of a chain, opened to be read at any place by many
// goroutines at once.
type File interface {
	io.ReaderAt
	io.Closer
	// Size is in bytes.
	Size() int64
}

// plain reads the guest's bytes from the images' own files where they lie there
// as they are: not compressed, not encrypted. What is left costs a copy through
// the socket less. Where they lie is qemu-img's to say, which reads the tables
// by the same code as qemu-nbd, and holds for as long as qemu-nbd has its lock:
// nobody writes the tables meanwhile.
type plain struct {
	tools  Tools
	chain  Chain
	paths  []string // of each layer's file; "" where its bytes are in several
	files  []File
	sizes  []int64
	window int64

	// ctx is that of the maps, which are fetched ahead of the reads, until end
	// is called.
	ctx  context.Context
	end  context.CancelFunc
	jobs sync.WaitGroup

	mu   sync.Mutex
	maps map[int64]*window
	// mapless is set when no map can be had.
	mapless bool
}

// window is the map of a stretch of the guest's disk.
type window struct {
	ready   chan struct{}
	extents []extent
	err     error
}

// extent is a stretch of the guest's disk of one kind, from start to end.
type extent struct {
	start, end int64
	// zero says that it reads as zeros, and file which file has it as it is at
	// offset; file -1 leaves it to QEMU.
	zero   bool
	file   int
	offset int64
}

// A map is asked for in windows of so many clusters, so that it is small
// whatever the image, within these bounds of bytes.
const (
	windowClusters         = 65536
	windowLeast, windowMax = 32 << 20, 1 << 30
	// scattered is the least that pieces of one read have on average. QEMU
	// reads smaller ones better: several at once.
	scattered = 128 << 10
)

// openPlain opens the files of a chain.
func (t Tools) openPlain(chain Chain) (*plain, error) {
	p := &plain{
		tools: t, chain: chain, paths: chain.own(), files: make([]File, len(chain)), sizes: make([]int64, len(chain)),
		window: windowMax, maps: make(map[int64]*window),
	}
	p.ctx, p.end = context.WithCancel(context.Background())
	for i, layer := range chain {
		if unit := layer.unit(); unit > 0 {
			p.window = min(p.window, max(windowLeast, unit*windowClusters))
		}
		if p.paths[i] == "" {
			continue
		}
		file, err := t.OpenFile(p.paths[i])
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.files[i], p.sizes[i] = file, file.Size()
	}
	return p, nil
}

// own are the files that the map's offsets are in, one for each layer, or ""
// where it does not tell which file it is.
func (c Chain) own() []string {
	paths := make([]string, len(c))
	for i, layer := range c {
		switch {
		case len(layer.Data) == 0:
			paths[i] = layer.Path
		case layer.Format == QCOW2:
			paths[i] = layer.Data[0].Path
		}
	}
	return paths
}

// identities tell the files of a chain from others of the same names.
func (c Chain) identities() ([]string, error) {
	var all []string
	for _, path := range c.Files() {
		file, id, _, err := open(path, new(Layer))
		if err != nil {
			return nil, &Error{Path: path, Reason: "can't be opened: " + bare(err), Err: err}
		}
		_ = file.Close() // it was only looked at
		all = append(all, id)
	}
	return all, nil
}

// unit is the least stretch that a layer's tables tell of, in bytes; 0 for raw.
func (l Layer) unit() int64 {
	if slices.Contains(l.Features, extendedL2) {
		return l.Cluster / 32 // docs/interop/qcow2.txt: 32 subclusters
	}
	return l.Cluster
}

// close ends the fetching of maps and closes the files.
func (p *plain) close() error {
	if p == nil {
		return nil
	}
	p.end()
	p.jobs.Wait()
	var errs []error
	for _, file := range p.files {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}

// pieces are the parts of n bytes at offset, in order, or none where QEMU is to
// read all of it. An *Error says that the map can't be true.
func (p *plain) pieces(offset, n int64) ([]extent, error) {
	number := offset / p.window
	if n <= 0 || (offset+n-1)/p.window != number {
		return nil, nil
	}
	w := p.get(number)
	if w == nil {
		return nil, nil
	}
	<-w.ready
	if bad := (*Error)(nil); errors.As(w.err, &bad) {
		return nil, w.err
	} else if w.err != nil {
		return nil, nil // QEMU can say itself what is the matter
	}
	p.ahead(number + 1)
	first, _ := slices.BinarySearchFunc(w.extents, offset, func(e extent, at int64) int { return cmp.Compare(e.end, at+1) })
	var parts []extent
	for _, e := range w.extents[first:] {
		if e.start >= offset+n {
			break
		}
		if skip := offset - e.start; skip > 0 {
			e.start, e.offset = offset, e.offset+skip
		}
		e.end = min(e.end, offset+n)
		parts = append(parts, e)
	}
	if int64(len(parts)) > 1+n/scattered {
		return nil, nil
	}
	return parts, nil
}

// get is the map of a window, which may be under way. It is nil when no map can
// be had.
func (p *plain) get(number int64) *window {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.maps[number]; w != nil || p.mapless {
		return w
	}
	w := &window{ready: make(chan struct{})}
	for old := range p.maps {
		if old < number-1 || old > number+1 {
			delete(p.maps, old)
		}
	}
	p.maps[number] = w
	p.jobs.Go(func() {
		defer close(w.ready)
		if w.extents, w.err = p.fetch(number * p.window); w.err != nil {
			p.mu.Lock()
			p.mapless = true
			p.mu.Unlock()
		}
	})
	return w
}

// ahead has the next map fetched before it is needed.
func (p *plain) ahead(number int64) {
	if number*p.window < p.chain[0].Size {
		p.get(number)
	}
}

// fetch asks qemu-img for the map of a window that begins at from.
func (p *plain) fetch(from int64) ([]extent, error) {
	result, err := p.tools.runner().Run(p.ctx, command.Cmd{
		Name: "qemu-img", ReadOnly: true, Timeout: cmp.Or(p.tools.Stall, 2*time.Minute),
		Args: []string{"map", "--output=json", fmt.Sprintf("--start-offset=%d", from), fmt.Sprintf("--max-length=%d", p.window), p.chain.graph()},
	})
	if err != nil {
		return nil, err
	}
	return p.extents(result.Stdout, from)
}
