package blockcopy

// span is the bytes from start up to, not including, end.
type span struct{ start, end int64 }

// holes finds the data of a source, asked for in ascending order.
type holes struct {
	mapped Mapped
	size   int64
	// data is the first range of data that ends after what was asked last.
	data span
}

func newHoles(s Source, size int64) *holes {
	h := &holes{size: size}
	h.mapped, _ = s.(Mapped)
	return h
}

// within returns the parts of from..to that may hold data. What lies beyond
// the source's end does not.
func (h *holes) within(from, to int64) []span {
	to = min(to, h.size)
	var found []span
	for pos := from; pos < to; {
		h.seek(pos)
		if h.data.start >= to {
			break
		}
		s := span{max(pos, h.data.start), min(to, h.data.end)}
		found = append(found, s)
		pos = s.end
	}
	return found
}

// seek makes data the first range that ends after pos.
func (h *holes) seek(pos int64) {
	if h.data.end > pos {
		return
	}
	if h.mapped != nil {
		start, end, err := h.mapped.Data(pos)
		switch {
		case err == nil && start >= h.size && start >= pos:
			h.data = span{h.size, h.size + 1}
			return
		case err == nil && start >= pos && end > start:
			h.data = span{start, end}
			return
		}
		// A map that fails or makes no sense is not asked again: reading
		// everything is always right.
		h.mapped = nil
	}
	h.data = span{pos, h.size}
}
