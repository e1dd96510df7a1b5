package luks

import (
	"fmt"
	"io"
)

// modhex are the sixteen letters that are at the same place on most keyboards
// (Yubico's modhex; systemd-cryptenroll(1), --recovery-key, uses it as well).
const modhex = "cbdefghijklnrtuv"

// The form of a recovery key: 256 bits in eight groups of eight letters.
const (
	recoveryBytes = 32
	recoveryGroup = 4 // bytes
)

// NewRecoveryKey draws a key that a person can write down and type: 256 bits
// from random, as eight groups of eight letters with dashes between them. The
// key is that text, dashes included and without a newline.
func NewRecoveryKey(random io.Reader) (Key, error) {
	var drawn [recoveryBytes]byte
	defer clear(drawn[:])
	if _, err := io.ReadFull(random, drawn[:]); err != nil {
		return Key{}, fmt.Errorf("draw a recovery key: %w", err)
	}
	text := make([]byte, 0, 2*recoveryBytes+recoveryBytes/recoveryGroup-1)
	for i, b := range drawn {
		if i > 0 && i%recoveryGroup == 0 {
			text = append(text, '-')
		}
		text = append(text, modhex[b>>4], modhex[b&15])
	}
	return NewKey(text)
}
