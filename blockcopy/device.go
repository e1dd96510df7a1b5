package blockcopy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileAlign is what direct I/O on a regular file is aligned to: filesystems
// ask for the logical block of the disk below, and no disk's is larger.
const fileAlign = 4096

// device is an open block device or regular file. Aligned I/O goes straight to
// it; what is not aligned goes through plain, a second descriptor that uses the
// page cache.
type device struct {
	path   string
	size   int64
	align  int
	direct bool
	block  bool
	stat   unix.Stat_t
	fd     int
	plain  int
}

// SourceDevice is a block device or regular file that is only read.
type SourceDevice struct {
	device
	holes bool
}

// TargetDevice is a block device or regular file that is written.
type TargetDevice struct{ device }

var (
	_ Source   = (*SourceDevice)(nil)
	_ Mapped   = (*SourceDevice)(nil)
	_ Aligned  = (*SourceDevice)(nil)
	_ Numbered = (*SourceDevice)(nil)
	_ Directed = (*SourceDevice)(nil)
	_ Target   = (*TargetDevice)(nil)
	_ Zeroer   = (*TargetDevice)(nil)
)

// OpenSource opens the block device or regular file path for reading, past the
// page cache where it lets us; Direct tells. It returns an *OpenError.
func OpenSource(path string) (*SourceDevice, error) {
	d, err := openDevice(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	// Block devices refuse SEEK_DATA, so all of one is read: what a thin volume
	// has never written, too.
	return &SourceDevice{device: d, holes: !d.block}, nil
}

// OpenTarget opens the block device or regular file path for writing need
// bytes, past the page cache where it lets us. A block device is claimed
// (O_EXCL, open(2)), so that it is mounted or mapped nowhere on this host now
// and can't be until it is closed. A regular file must exist and have its size.
// It returns an *OpenError, or a *SizeError when there is less room than need.
func OpenTarget(path string, need int64) (*TargetDevice, error) {
	d, err := openDevice(path, unix.O_RDWR, unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	if d.size < need {
		_ = d.Close() // nothing was written
		return nil, &SizeError{Name: path, Size: d.size, Need: need}
	}
	return &TargetDevice{device: d}, nil
}

// openDevice opens path twice, once past the page cache. blockFlags are added
// for a block device.
func openDevice(path string, flags, blockFlags int) (device, error) {
	d := device{path: path, plain: -1, fd: -1}
	fail := func(err error) (device, error) {
		_ = d.Close() // the first error is the one to tell
		return device{}, &OpenError{Path: path, Busy: errors.Is(err, unix.EBUSY), Err: err}
	}
	// A FIFO in the device's place must not block us for ever.
	fd, err := openRetry(path, flags|unix.O_NONBLOCK)
	if err != nil {
		return fail(err)
	}
	d.plain = fd
	if err := unix.Fstat(d.plain, &d.stat); err != nil {
		return fail(err)
	}
	// Opening by descriptor reaches the very same device, whatever has
	// happened to the name since.
	again := fmt.Sprintf("/proc/self/fd/%d", d.plain)
	switch d.stat.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		d.block = true
		flags |= blockFlags
		err = d.measureBlock()
	case unix.S_IFREG:
		d.size, d.align = d.stat.Size, fileAlign
	default:
		err = errors.New("neither a block device nor a regular file")
	}
	if err != nil {
		return fail(err)
	}
	d.fd, err = openRetry(again, flags|unix.O_DIRECT)
	d.direct = err == nil && d.tryDirect()
	if d.direct {
		return d, nil
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fail(err)
	}
	if d.fd >= 0 {
		_ = unix.Close(d.fd)
	}
	if d.fd, err = openRetry(again, flags); err != nil {
		return fail(err)
	}
	// Sequential doubles the read-ahead window (posix_fadvise(2)). It is
	// advice: a filesystem that does not take it reads on as before.
	_ = unix.Fadvise(d.fd, 0, 0, unix.FADV_SEQUENTIAL)
	return d, nil
}

func openRetry(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// measureBlock asks a block device for its size and logical block.
func (d *device) measureBlock() error {
	var size uint64
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.plain), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size))); errno != 0 {
		return os.NewSyscallError("BLKGETSIZE64", errno)
	}
	sector, err := unix.IoctlGetInt(d.plain, unix.BLKSSZGET)
	if err != nil {
		return os.NewSyscallError("BLKSSZGET", err)
	}
	d.size, d.align = int64(size), sector
	return nil
}

// tryDirect reads the first block: some filesystems let O_DIRECT be opened and
// refuse it only then. Any other error is left for the copy to meet and name.
func (d *device) tryDirect() bool {
	_, err := pread(d.fd, alignedBytes(d.align, d.align), 0)
	return !errors.Is(err, unix.EINVAL)
}

// alignedBytes returns n bytes of zeros at an address that is a multiple of
// align. Go's collector does not move memory.
func alignedBytes(n, align int) []byte {
	b := make([]byte, n+align)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (align - 1)
	return b[skip : skip+n : skip+n]
}

// Name is the path that was opened.
func (d *device) Name() string { return d.path }

// Size is the size in bytes when the device was opened.
func (d *device) Size() int64 { return d.size }

// Align is the logical block in bytes.
func (d *device) Align() int { return d.align }

// Direct tells whether I/O passes the page cache.
func (d *device) Direct() bool { return d.direct }

// Number is the block device's number, or that of the one the file is on.
func (d *device) Number() (major, minor uint32) {
	number := d.stat.Dev
	if d.block {
		number = d.stat.Rdev
	}
	return unix.Major(number), unix.Minor(number)
}

// same tells whether both are one device or file.
func (d *device) same(e *device) bool {
	if d.block && e.block {
		return d.stat.Rdev == e.stat.Rdev
	}
	return d.block == e.block && d.stat.Dev == e.stat.Dev && d.stat.Ino == e.stat.Ino
}

func (d *device) aligned(p []byte, offset int64) bool {
	mask := d.align - 1
	return len(p) > 0 && int(offset)&mask == 0 && int(uintptr(unsafe.Pointer(&p[0])))&mask == 0
}

// ReadAt implements io.ReaderAt. Any p and offset will do; aligned ones are
// read without a copy.
func (d *device) ReadAt(p []byte, offset int64) (int, error) {
	if !d.direct {
		n, err := pread(d.fd, p, offset)
		// What is read once must not push a guest's cache out of memory.
		_ = unix.Fadvise(d.fd, offset, int64(n), unix.FADV_DONTNEED)
		return n, err
	}
	if !d.aligned(p, offset) {
		return pread(d.plain, p, offset)
	}
	whole := len(p) &^ (d.align - 1)
	n, err := pread(d.fd, p[:whole], offset)
	if err != nil || whole == len(p) {
		return n, err
	}
	// The odd tail: a whole block is asked for and what there is comes.
	last := alignedBytes(d.align, d.align)
	m, err := pread(d.fd, last, offset+int64(whole))
	m = copy(p[whole:], last[:m])
	if errors.Is(err, io.EOF) && whole+m == len(p) {
		err = nil
	}
	return whole + m, err
}

// pread reads until p is full, the device ends (io.EOF) or it fails.
func pread(fd int, p []byte, offset int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(fd, p[done:], offset+int64(done))
		switch {
		case err == unix.EINTR:
		case err == unix.EINVAL && done%SectorSize != 0:
			// Direct I/O that stopped at no block boundary has met the end
			// of a file, and can't be asked to go on from there.
			return done, io.EOF
		case err != nil:
			return done, err
		case n == 0:
			return done, io.EOF
		default:
			done += n
		}
	}
	return done, nil
}

// pwrite writes until p is written or the device fails. No progress is
// io.ErrShortWrite.
func pwrite(fd int, p []byte, offset int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pwrite(fd, p[done:], offset+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, err
		case n == 0:
			return done, io.ErrShortWrite
		default:
			done += n
		}
	}
	return done, nil
}

// WriteAt implements io.WriterAt. Any p and offset will do; aligned ones are
// written past the page cache if Direct. Nothing beyond Size is written.
func (d *TargetDevice) WriteAt(p []byte, offset int64) (int, error) {
	if offset < 0 || offset > d.size || int64(len(p)) > d.size-offset {
		return 0, &SizeError{Name: d.path, Size: d.size, Need: offset + int64(len(p))}
	}
	if !d.direct {
		return pwrite(d.fd, p, offset)
	}
	if !d.aligned(p, offset) {
		return pwrite(d.plain, p, offset)
	}
	whole := len(p) &^ (d.align - 1)
	n, err := pwrite(d.fd, p[:whole], offset)
	if err != nil || whole == len(p) {
		return n, err
	}
	m, err := pwrite(d.plain, p[whole:], offset+int64(whole))
	return whole + m, err
}

// Sync makes all that was written before it durable: the disk's own cache is
// flushed too (fdatasync(2)).
func (d *TargetDevice) Sync() error {
	for {
		err := unix.Fdatasync(d.fd)
		if err != nil && err != unix.EINTR {
			return err
		}
		if err == nil {
			break
		}
	}
	if !d.direct {
		// What is on the disk need not stay in memory, and a read-back is
		// worth something only if it comes from the disk.
		_ = unix.Fadvise(d.fd, 0, 0, unix.FADV_DONTNEED)
	}
	return nil
}

// ZeroAt implements Zeroer with BLKZEROOUT (linux/fs.h), which zeros without
// unmapping. It is errors.ErrUnsupported for a regular file.
func (d *TargetDevice) ZeroAt(offset, length int64) error {
	mask := int64(d.align - 1)
	if !d.block || offset&mask != 0 || length&mask != 0 {
		return errors.ErrUnsupported
	}
	span := [2]uint64{uint64(offset), uint64(length)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&span)))
	if errno != 0 {
		return os.NewSyscallError("BLKZEROOUT", errno)
	}
	return nil
}

// Data implements Mapped with SEEK_DATA and SEEK_HOLE (lseek(2)).
func (d *SourceDevice) Data(offset int64) (start, end int64, err error) {
	if !d.holes {
		return 0, 0, errors.ErrUnsupported
	}
	start, err = unix.Seek(d.fd, offset, unix.SEEK_DATA)
	if err == unix.ENXIO {
		return d.size, d.size, nil
	}
	if err != nil {
		return 0, 0, os.NewSyscallError("lseek", err)
	}
	end, err = unix.Seek(d.fd, start, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, os.NewSyscallError("lseek", err)
	}
	return start, end, nil
}

// DropCache drops what the page cache holds of the device, so that the next
// read comes from the disk. Pages not yet written stay.
func (d *device) DropCache() error {
	if err := unix.Fadvise(d.fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		return &os.PathError{Op: "fadvise", Path: d.path, Err: err}
	}
	return nil
}

// Close closes the device. On a target, Sync comes before it.
func (d *device) Close() error {
	var errs []error
	for _, fd := range []*int{&d.fd, &d.plain} {
		if *fd >= 0 {
			errs = append(errs, unix.Close(*fd))
			*fd = -1
		}
	}
	return errors.Join(errs...)
}

// Discard tells a block device that length bytes at offset are free (BLKDISCARD,
// linux/fs.h), or gives the blocks of a file back to its filesystem
// (FALLOC_FL_PUNCH_HOLE, fallocate(2)). What a device then reads there is its own
// to say; a file reads zeros. It is errors.ErrUnsupported where there is no such
// thing.
func (d *TargetDevice) Discard(offset, length int64) error {
	var errno error
	what := "BLKDISCARD"
	if d.block {
		span := [2]uint64{uint64(offset), uint64(length)}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), unix.BLKDISCARD, uintptr(unsafe.Pointer(&span))); e != 0 {
			errno = e
		}
	} else {
		what = "fallocate"
		errno = unix.Fallocate(d.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
	}
	switch {
	case errno == nil:
		return nil
	case errors.Is(errno, unix.EOPNOTSUPP), errors.Is(errno, unix.ENOTTY):
		return errors.ErrUnsupported
	}
	return os.NewSyscallError(what, errno)
}
