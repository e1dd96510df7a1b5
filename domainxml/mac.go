package domainxml

import (
	"fmt"
	"io"
)

// macTries is how many addresses NewMAC draws before it gives up. With 1,000
// of the 16.7 million taken, even two draws hardly ever are.
const macTries = 100

// MACError says that no free hardware address was found.
type MACError struct {
	// Err is the source of randomness's error, or nil when all the addresses
	// that were drawn were taken.
	Err error
}

func (e *MACError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("choosing a hardware address: %v", e.Err)
	}
	return fmt.Sprintf("choosing a hardware address: all %d that were drawn are taken", macTries)
}

// Unwrap returns the source of randomness's error.
func (e *MACError) Unwrap() error { return e.Err }

// NewMAC draws a hardware address that taken does not know, such as
// 52:54:00:12:34:56. Its prefix is the one that QEMU and libvirt use for
// theirs, which is locally administered and no vendor's. taken gets lower
// case and may be nil. It returns a *MACError.
func NewMAC(random io.Reader, taken func(mac string) bool) (string, error) {
	for range macTries {
		var b [3]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", &MACError{Err: err}
		}
		mac := fmt.Sprintf("52:54:00:%02x:%02x:%02x", b[0], b[1], b[2])
		if taken == nil || !taken(mac) {
			return mac, nil
		}
	}
	return "", &MACError{}
}
