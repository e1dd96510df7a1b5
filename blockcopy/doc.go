// Package blockcopy copies a plain disk onto an opened encrypted volume, proves
// that every byte arrived, and can be interrupted at any instant.
//
// The source is read, and every byte of the payload is written: zeros too,
// because a fresh dm-crypt device reads back as noise where nothing was
// written. A hole in the source saves the read, never the write. Where the
// payload is larger than the source (which happens only when the source is no
// multiple of 4096 bytes) the bytes beyond the source's end are zeros.
//
// # Digest
//
// The payload is cut into chunks of 4 MiB, the last one shorter. Each has the
// SHA-256 of exactly the bytes the payload must hold there, padding included,
// taken from what was read of the source. The job's digest is the SHA-256 over
// the binary chunk digests in order, so that an auditor can recompute it from
// the payload, PAYLOAD_SIZE bytes long, with coreutils and xxd alone:
//
//	head -c PAYLOAD_SIZE /dev/mapper/NAME |
//	  split -b 4M --filter='sha256sum | cut -c1-64' | xxd -r -p | sha256sum
//
// # What is durable when
//
// Chunks is the record of the chunks that need no copying any more. A chunk
// enters it only after the target has been flushed, so a record never claims
// more than the disk holds; Copy flushes and adds to it every few seconds, and
// once more when it ends, whatever the reason. See record.go for the file it
// lives in.
//
// # Where to begin
//
// OpenSource and OpenTarget open real devices, Copy and Verify do the work over
// the interfaces Source and Target, which anything that can be read or written
// at an offset can meet. job.go holds what a caller sets and gets, copy.go the
// order of events, chunk.go what is done to one chunk.
package blockcopy
