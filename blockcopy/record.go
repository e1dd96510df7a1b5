package blockcopy

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The file of a record, all numbers little-endian:
//
//	page 0           header: what disk the record is about
//	pages 1..64      journal: copies of the pages written last
//	pages 65..       one page for 126 chunks: which are done, and their digests
//
// It is laid out once, whole, so that it can't run out of room later, and then
// changed in place: 32.5 bytes a chunk, 520 MiB for a disk of 64 TiB, of which
// a checkpoint touches only the pages of the chunks finished since the last
// one. A log of (chunk, digest) would cost the same and need reading from its
// start; a file replaced by rename would cost its whole size every few seconds.
//
// A page carries a checksum, because a power cut may leave half of it written.
// So that such a page loses nothing, pages go to the journal first, then to
// their place, with a flush after each: one of the two is always whole. A page
// that is whole in neither place is damage, and told as a *RecordError. A copy
// in the journal may be older than the page was, but a chunk that was done
// stays done, so it errs only towards copying again.
const (
	pageSize     = 4096
	pageChunks   = 126
	journalPages = 64
	firstPage    = 1 + journalPages

	recordMagic   = "vmmchunk"
	recordVersion = 1
	pageMagic     = 0x6b6e6863 // "chnk"

	// Offsets within a page.
	pageDone    = 24
	pageHashed  = 40
	pageDigests = 64

	// maxIdentity keeps the header within its page with room to spare.
	maxIdentity = 1024
	headerFixed = 40
)

// castagnoli is CRC-32C, which processors have an instruction for.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// header is page 0.
type header struct {
	payload, chunk int64
	identity       string
}

// encode lays the header out: magic 8, CRC 4 (of all after it), version 4,
// payload 8, chunk 8, identity's length 4, four bytes of nothing, identity.
func (h header) encode() []byte {
	b := make([]byte, pageSize)
	copy(b, recordMagic)
	binary.LittleEndian.PutUint32(b[12:], recordVersion)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.payload))
	binary.LittleEndian.PutUint64(b[24:], uint64(h.chunk))
	binary.LittleEndian.PutUint32(b[32:], uint32(len(h.identity)))
	copy(b[headerFixed:], h.identity)
	binary.LittleEndian.PutUint32(b[8:], checksum(b[12:]))
	return b
}

// decodeHeader returns why b is no header, or "".
func decodeHeader(b []byte) (h header, reason string) {
	if len(b) < pageSize || string(b[:8]) != recordMagic {
		return h, "this is no record of chunks"
	}
	if binary.LittleEndian.Uint32(b[8:]) != checksum(b[12:pageSize]) {
		return h, "the header is damaged"
	}
	if v := binary.LittleEndian.Uint32(b[12:]); v != recordVersion {
		return h, fmt.Sprintf("it has version %d, and this program knows version %d", v, recordVersion)
	}
	h.payload = int64(binary.LittleEndian.Uint64(b[16:]))
	h.chunk = int64(binary.LittleEndian.Uint64(b[24:]))
	n := binary.LittleEndian.Uint32(b[32:])
	if h.payload < 0 || h.chunk < SectorSize || h.chunk%SectorSize != 0 || n > maxIdentity {
		return h, "the header makes no sense"
	}
	h.identity = string(b[headerFixed : headerFixed+n])
	return h, ""
}

// page is what one page of the file says about pageChunks chunks.
type page []byte

func newPage(index int64) page {
	p := make(page, pageSize)
	binary.LittleEndian.PutUint32(p, pageMagic)
	binary.LittleEndian.PutUint64(p[8:], uint64(index))
	return p
}

func (p page) index() int64 { return int64(binary.LittleEndian.Uint64(p[8:])) }

// seal counts the page's version up and checksums it.
func (p page) seal() {
	binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])+1)
	binary.LittleEndian.PutUint32(p[4:], checksum(p[8:]))
}

func (p page) version() uint64 { return binary.LittleEndian.Uint64(p[16:]) }

// blank is a page that was never written.
func (p page) blank() bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// whole tells whether the page is as seal left it.
func (p page) whole() bool {
	return binary.LittleEndian.Uint32(p) == pageMagic && binary.LittleEndian.Uint32(p[4:]) == checksum(p[8:])
}

func (p page) bit(at, slot int64) bool { return p[at+slot/8]&(1<<(slot%8)) != 0 }

func (p page) setBit(at, slot int64) { p[at+slot/8] |= 1 << (slot % 8) }

func (p page) digest(slot int64) Digest { return Digest(p[pageDigests+slot*32:]) }

func (p page) set(slot int64, f finished) {
	p.setBit(pageDone, slot)
	if f.hashed {
		p.setBit(pageHashed, slot)
		copy(p[pageDigests+slot*32:], f.digest[:])
	}
}

// pages is how many pages a record of n chunks has beyond the journal.
func pages(n int64) int64 { return (n + pageChunks - 1) / pageChunks }

// chunkCount is how many chunks payload bytes make.
func chunkCount(payload, chunk int64) int64 {
	n := payload / chunk
	if payload%chunk != 0 {
		n++
	}
	return n
}
