//go:build !amd64

package sha256pair

// Fast tells whether two streams at once are faster here than one after the
// other: they are where pair is written for the processor.
func Fast() bool { return false }

func pair(_, _ *[8]uint32, _, _ *byte, _ int) {
	panic("sha256pair: no instructions for it, and Fast said so")
}
