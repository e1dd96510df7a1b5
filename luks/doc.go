// Package luks makes, opens and closes LUKS volumes and tells what is in
// their headers, through cryptsetup's command line.
//
// Start with Client. Key holds what unlocks a volume, in memory that is
// neither swapped nor dumped, and prints as [redacted] wherever it turns up;
// it reaches cryptsetup through standard input alone and never an argument.
//
// What a volume is exactly is fixed before it is made: its UUID, so that a
// crashed job knows its own volume again, and the offset of its data, so that
// the payload is as large as the caller says and not what cryptsetup would
// have chosen. Format reads both back.
//
// Three things that cryptsetup 2.6.1 does, found by trying, shape this
// package. It formats a device that is too small for its header and exits 0,
// so sizes are checked here. A luksFormat that it refuses halfway (a bad
// LUKS1 offset) has already destroyed the header that was there. And it reads
// a large key from a pipe in quadratic time, minutes for 8 MiB, unless it is
// told the size.
package luks
