package luks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// speedBlock is what is encrypted at once, as `cryptsetup benchmark` does it.
const speedBlock = 64 << 10

// Speed is how many bytes a second this host's processors together encrypt
// with a cipher, by dm-crypt's name for it (aes-xts-plain64) and the key's size
// in bits. It has the kernel's own crypto do it through a socket (AF_ALG,
// Documentation/crypto/userspace-if.rst) for about the time of limit, which is
// what `cryptsetup benchmark` measures by in a second and more. dm-crypt itself
// is somewhat slower, as it does each sector on its own. An error says that the
// kernel has no such cipher, or none to be had from outside.
func Speed(ctx context.Context, cipher string, keySize int, limit time.Duration) (bytesPerSecond float64, err error) {
	name, err := kernelName(cipher)
	if err != nil {
		return 0, err
	}
	workers := runtime.NumCPU()
	rates, failures := make([]float64, workers), make([]error, workers)
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { rates[i], failures[i] = speed(ctx, name, keySize/8, limit) })
	}
	group.Wait()
	for i, rate := range rates {
		if failures[i] != nil {
			return 0, failures[i]
		}
		bytesPerSecond += rate
	}
	return bytesPerSecond, nil
}

// kernelName turns dm-crypt's name of a cipher, cipher-mode-iv, into that of
// the kernel's crypto, mode(cipher) (Documentation/admin-guide/device-mapper/
// dm-crypt.rst).
func kernelName(cipher string) (string, error) {
	if capi, found := strings.CutPrefix(cipher, "capi:"); found {
		if i := strings.LastIndexByte(capi, '-'); i > 0 {
			return capi[:i], nil
		}
	}
	parts := strings.SplitN(cipher, "-", 3)
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return "", fmt.Errorf("%q does not name a cipher and its mode", cipher)
	}
	return parts[1] + "(" + parts[0] + ")", nil
}

func speed(ctx context.Context, name string, keyBytes int, limit time.Duration) (float64, error) {
	failed := func(what string, err error) (float64, error) {
		return 0, fmt.Errorf("%s %s: %w", what, name, err)
	}
	socket, err := unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return failed("ask the kernel for", err)
	}
	defer unix.Close(socket)
	if err := unix.Bind(socket, &unix.SockaddrALG{Type: "skcipher", Name: name}); err != nil {
		return failed("ask the kernel for", err)
	}
	// The two halves of an XTS key must differ.
	key := make([]byte, keyBytes)
	for i := range key {
		key[i] = byte(i)
	}
	if err := unix.SetsockoptString(socket, unix.SOL_ALG, unix.ALG_SET_KEY, string(key)); err != nil {
		return failed(fmt.Sprintf("give a key of %d bits to", 8*keyBytes), err)
	}
	// unix.Accept wants an address, and these sockets have none.
	fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(socket), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return failed("use", errno)
	}
	work := int(fd)
	defer unix.Close(work)

	block := make([]byte, speedBlock)
	iv := 16 // of all ciphers with blocks of 16 bytes; adiantum's has 32
	var done int64
	begin := time.Now()
	for time.Since(begin) < limit && ctx.Err() == nil {
		err := unix.Sendmsg(work, block, encrypt(iv), nil, 0)
		if errors.Is(err, unix.EINVAL) && done == 0 && iv < 32 {
			iv = 32
			continue
		}
		if err != nil {
			return failed("encrypt with", err)
		}
		n, err := unix.Read(work, block)
		if err != nil {
			return failed("encrypt with", err)
		}
		if n != len(block) {
			return failed("encrypt with", os.ErrInvalid)
		}
		done += int64(n)
	}
	elapsed := time.Since(begin).Seconds()
	if done == 0 || elapsed <= 0 {
		return failed("measure", context.Cause(ctx))
	}
	return float64(done) / elapsed, nil
}

// encrypt is the control message that goes before what is to be encrypted: the
// operation, and an initialisation vector of so many bytes (linux/if_alg.h).
func encrypt(iv int) []byte {
	operation := make([]byte, 4)
	binary.NativeEndian.PutUint32(operation, unix.ALG_OP_ENCRYPT)
	vector := make([]byte, 4+iv)
	binary.NativeEndian.PutUint32(vector, uint32(iv))
	return append(control(unix.ALG_SET_OP, operation), control(unix.ALG_SET_IV, vector)...)
}

// control is a message of cmsg(3): its length in the size of a pointer, level
// and type, then the data, padded.
func control(kind uint32, data []byte) []byte {
	message := make([]byte, unix.CmsgSpace(len(data)))
	length := uint64(unix.CmsgLen(len(data)))
	at := unix.SizeofCmsghdr - 8
	if at == 8 {
		binary.NativeEndian.PutUint64(message, length)
	} else {
		binary.NativeEndian.PutUint32(message, uint32(length))
	}
	binary.NativeEndian.PutUint32(message[at:], unix.SOL_ALG)
	binary.NativeEndian.PutUint32(message[at+4:], kind)
	copy(message[unix.CmsgLen(0):], data)
	return message
}
