package luks

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxKey is the most bytes a key may have: cryptsetup's compiled-in "Maximum
// keyfile size: 8192kB" (cryptsetup --help).
const MaxKey = 8 << 20

// redacted is how a Key prints.
const redacted = "[redacted]"

// Key is what unlocks a volume: the bytes of a key file, or of a passphrase
// without its newline. Its memory is locked, kept out of core dumps, and
// wiped by Wipe. It prints as [redacted] in every way, and copies of a Key
// share their memory. The zero Key is empty and unlocks nothing.
type Key struct{ secret *secret }

type secret struct {
	mu     sync.Mutex
	memory []byte // from mmap
	wiped  bool
}

var (
	_ fmt.Formatter  = Key{}
	_ slog.LogValuer = Key{}
)

// KeyError says that bytes can't be a key. It holds none of them.
type KeyError struct {
	// Reason is in words.
	Reason string
}

func (e *KeyError) Error() string { return "this can't be a key: " + e.Reason }

// NewKey makes a Key of the bytes, and wipes them where they were. It returns
// a *KeyError when there are none or more than MaxKey.
func NewKey(bytes []byte) (Key, error) {
	defer clear(bytes)
	if err := checkLength(len(bytes)); err != nil {
		return Key{}, err
	}
	key, err := newKey(len(bytes))
	if err != nil {
		return Key{}, err
	}
	copy(key.secret.memory, bytes)
	return key, nil
}

// ReadKey makes a Key of all that r gives, byte for byte. It returns a
// *KeyError when that is nothing or more than MaxKey.
func ReadKey(r io.Reader) (Key, error) {
	// The bytes never lie in memory that the garbage collector moves or
	// leaves behind: they are read into locked memory straight away.
	all, err := newKey(MaxKey + 1)
	if err != nil {
		return Key{}, err
	}
	// Unmapping unlocks as well; it fails only for what is not mapped.
	defer func() { all.Wipe(); _ = unix.Munmap(all.secret.memory) }()
	n, err := io.ReadFull(r, all.secret.memory)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Key{}, fmt.Errorf("read the key: %w", err)
	}
	return NewKey(all.secret.memory[:n])
}

func checkLength(n int) error {
	switch {
	case n == 0:
		return &KeyError{Reason: "it is empty"}
	case n > MaxKey:
		return &KeyError{Reason: fmt.Sprintf("it is larger than %d bytes, the most that cryptsetup takes", MaxKey)}
	}
	return nil
}

func newKey(size int) (Key, error) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return Key{}, fmt.Errorf("get memory for the key: %w", err)
	}
	// Both are the best that can be had: an unprivileged user's limit on
	// locked memory may be smaller than a key, and a key that might be
	// swapped out is still better than none.
	_ = unix.Mlock(memory)
	_ = unix.Madvise(memory, unix.MADV_DONTDUMP)
	return Key{secret: &secret{memory: memory}}, nil
}

// Bytes are the key's bytes, in its own memory; they read as zeros once the
// key is wiped. A wiped or zero Key has none.
func (k Key) Bytes() []byte {
	if k.secret == nil {
		return nil
	}
	k.secret.mu.Lock()
	defer k.secret.mu.Unlock()
	if k.secret.wiped {
		return nil
	}
	return k.secret.memory
}

// Len is how many bytes the key has; none when it was wiped.
func (k Key) Len() int { return len(k.Bytes()) }

// Wipe overwrites the key's memory. It may be called again. The memory itself
// is not given back before the process ends: a slice from Bytes may still be
// on its way to a program, and must not become an invalid one.
func (k Key) Wipe() {
	if k.secret == nil {
		return
	}
	k.secret.mu.Lock()
	defer k.secret.mu.Unlock()
	clear(k.secret.memory)
	k.secret.wiped = true
}

// String is "[redacted]".
func (Key) String() string { return redacted }

// GoString is "[redacted]".
func (Key) GoString() string { return redacted }

// Format prints "[redacted]" whatever the verb.
func (Key) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, redacted) // fmt keeps no error of a Formatter
}

// MarshalJSON is "[redacted]".
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText is "[redacted]".
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue is "[redacted]".
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }
