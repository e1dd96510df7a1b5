package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Writer is who has a disk open for writing.
type Writer struct {
	// PID is the process; 0 is the kernel itself.
	PID int
	// Name is the process's, or the kernel's own device that lies on the disk.
	Name string
}

func (w Writer) String() string {
	if w.PID == 0 {
		return w.Name
	}
	return fmt.Sprintf("process %d (%s)", w.PID, w.Name)
}

// Writers implements Devices. It goes by what every process has open (proc(5),
// /proc/pid/fdinfo) and by the loop devices, which hold their file without a
// process (kernel, Documentation/ABI/testing/sysfs-block-loop).
func (Host) Writers(ctx context.Context, path string) ([]Writer, error) {
	disk, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var writers []Writer
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, process := range processes {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		pid, err := strconv.Atoi(filepath.Base(process))
		if err != nil || pid == os.Getpid() {
			continue
		}
		writes, err := writesTo(process, disk)
		if err != nil {
			return nil, err
		}
		if writes {
			name, _ := os.ReadFile(process + "/comm") // it may have ended
			writers = append(writers, Writer{pid, strings.TrimSuffix(string(name), "\n")})
		}
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, loop := range loops {
		file, err := os.ReadFile(loop)
		device := filepath.Dir(filepath.Dir(loop))
		readOnly, roErr := os.ReadFile(device + "/ro")
		if err != nil || roErr != nil || string(bytes.TrimSpace(readOnly)) == "1" {
			continue // it was taken apart meanwhile, or writes nothing
		}
		if at, err := os.Stat(strings.TrimSuffix(string(file), "\n")); err == nil && sameDisk(at, disk) {
			writers = append(writers, Writer{Name: "the loop device /dev/" + filepath.Base(device)})
		}
	}
	return writers, nil
}

// writesTo says whether a process has a disk open for writing.
func writesTo(process string, disk os.FileInfo) (bool, error) {
	open, err := os.ReadDir(process + "/fd")
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return false, nil // it has ended
	case errors.Is(err, fs.ErrPermission):
		// Root may look everywhere but into a process of another user
		// namespace that guards itself; that one has no disk of this host's.
		return false, nil
	case err != nil:
		return false, err
	}
	for _, fd := range open {
		at, err := os.Stat(process + "/fd/" + fd.Name())
		if err != nil || !sameDisk(at, disk) {
			continue
		}
		info, err := os.ReadFile(process + "/fdinfo/" + fd.Name())
		if err != nil {
			continue // it was closed meanwhile
		}
		if forWriting(info) {
			return true, nil
		}
	}
	return false, nil
}

// forWriting reads the line "flags:", octal, of a descriptor's fdinfo.
func forWriting(fdinfo []byte) bool {
	for line := range strings.Lines(string(fdinfo)) {
		if text, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseInt(strings.TrimSpace(text), 8, 64)
			return err == nil && flags&syscall.O_ACCMODE != syscall.O_RDONLY
		}
	}
	return false
}

// sameDisk says whether two are the same file, or lead to the same device.
func sameDisk(a, b os.FileInfo) bool {
	if os.SameFile(a, b) {
		return true
	}
	one, ok := a.Sys().(*syscall.Stat_t)
	other, also := b.Sys().(*syscall.Stat_t)
	block := func(s *syscall.Stat_t) bool { return s.Mode&syscall.S_IFMT == syscall.S_IFBLK }
	return ok && also && block(one) && block(other) && one.Rdev == other.Rdev
}
