package image

import (
	"encoding/json"
	"fmt"
	"slices"
)

// mapEntry is one of qemu-img map --output=json (qemu-img(1)).
type mapEntry struct {
	Start, Length int64
	// Depth is the layer that has it, 0 for the disk's own.
	Depth      int
	Zero, Data bool
	// Compressed is told by QEMU 8.2 and later; before, such an entry only has
	// no Offset. Offset is where the file has it as it is.
	Compressed bool
	Offset     *int64
}

// extents reads the map of a window that begins at from. A map that leaves
// something out, or names a place outside of a file or one place twice, is an
// *Error: the image is damaged, or is not what was looked at.
func (p *plain) extents(text []byte, from int64) ([]extent, error) {
	senseless := func(format string, args ...any) error {
		return &Error{Path: p.chain[0].Path, Reason: "has a map that can't be true: " + fmt.Sprintf(format, args...), Remedy: "look for damage with qemu-img check"}
	}
	var entries []mapEntry
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, senseless("%v", err)
	}
	at, to := from, min(from+p.window, p.chain[0].Size)
	var all []extent
	for _, e := range entries {
		if e.Start != at || e.Length <= 0 || e.Length > to-at {
			return nil, senseless("it has %d bytes at %d where those from %d to %d are to come", e.Length, e.Start, at, to)
		}
		if e.Depth < 0 || e.Depth >= len(p.chain) {
			return nil, senseless("it names the layer %d of %d", e.Depth, len(p.chain))
		}
		at += e.Length
		one := extent{start: e.Start, end: at, zero: e.Zero, file: -1}
		if !e.Data || e.Zero || e.Compressed || e.Offset == nil || p.files[e.Depth] == nil {
			all = append(all, one)
			continue
		}
		size, slack := p.sizes[e.Depth], max(p.chain[e.Depth].Cluster, sector)
		// A file may end within its last cluster.
		if *e.Offset < 0 || *e.Offset >= size || e.Length >= size-*e.Offset+slack {
			return nil, senseless("%d bytes at %d of %s, which has %d bytes", e.Length, *e.Offset, p.paths[e.Depth], size)
		}
		one.file, one.offset = e.Depth, *e.Offset
		if beyond := e.Length - (size - *e.Offset); beyond > 0 {
			one.end -= beyond
			all = append(all, one)
			one = extent{start: one.end, end: at, file: -1}
		}
		all = append(all, one)
	}
	if at != to {
		return nil, senseless("it ends at %d, and not at %d", at, to)
	}
	if a, b := overlap(all); a != nil {
		return nil, senseless("the bytes from %d and from %d of the disk are both at %d of %s", a.start, b.start, b.offset, p.paths[a.file])
	}
	return all, nil
}

// overlap finds two extents that are, in part, in one place.
func overlap(all []extent) (a, b *extent) {
	var sorted []*extent
	for i := range all {
		if all[i].file >= 0 {
			sorted = append(sorted, &all[i])
		}
	}
	slices.SortFunc(sorted, func(a, b *extent) int {
		if a.file != b.file {
			return a.file - b.file
		}
		return int(max(-1, min(1, a.offset-b.offset)))
	})
	for i := 1; i < len(sorted); i++ {
		a, b = sorted[i-1], sorted[i]
		if a.file == b.file && a.offset+(a.end-a.start) > b.offset {
			return a, b
		}
	}
	return nil, nil
}
