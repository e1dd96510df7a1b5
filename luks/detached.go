package luks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A detached header is one in a file of its own. Whatever is about the header
// alone takes that file in the place of a device: Header, TestKey, AddKey,
// KillSlot, HeaderBackup. Only Format and Open have to know of both.

// fitsHeader looks, before a header is written to a file, whether that is there
// and large enough, and whether the device is anybody's: cryptsetup itself looks
// at the header's device alone, and would give a payload that is open a new key.
func (c *Client) fitsHeader(spec FormatSpec) error {
	size, err := c.headerSize(spec.Header)
	if err != nil {
		return err
	}
	if need := HeaderSize(spec.Type); size < need {
		return &TooSmallError{Device: spec.Header, Size: size, Need: need}
	}
	if c.claimed(spec.Device) {
		return c.withHolders(&InUseError{Device: spec.Device})
	}
	return nil
}

// headerSize is the size of a header file in bytes. The error is a
// *NotFoundError of the kind "header file" where there is none.
func (c *Client) headerSize(file string) (int64, error) {
	size, err := c.size(file)
	var missing *NotFoundError
	if errors.As(err, &missing) {
		missing.Kind = kindHeader
	}
	return size, err
}

// kindHeader is the kind of a *NotFoundError about a detached header.
const kindHeader = "header file"

// claimed says whether a device is mounted, mapped or otherwise the kernel's, or
// a file is behind a loop device.
func (c *Client) claimed(device string) bool {
	info, err := os.Stat(device)
	if err != nil {
		return false
	}
	if info.Mode().IsRegular() {
		resolved, err := filepath.EvalSymlinks(device)
		return err == nil && len(c.loops([]string{device, resolved})) > 0
	}
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		return errors.Is(err, unix.EBUSY)
	}
	return f.Close() != nil
}

// loops are the loop devices over a file that has one of these names, in words.
func (c *Client) loops(names []string) []string {
	var all []string
	files, _ := filepath.Glob(filepath.Join(c.sys, "block/*/loop/backing_file")) // the pattern is well-formed
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && slices.Contains(names, strings.TrimSpace(string(text))) {
			all = append(all, "the loop device /dev/"+filepath.Base(filepath.Dir(filepath.Dir(file))))
		}
	}
	return all
}

// missingHeader is a *NotFoundError where a header file is none.
func missingHeader(file string) error {
	if _, err := os.Stat(file); file != "" && errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{Kind: kindHeader, Name: file}
	}
	return nil
}

// ofHeader says of an error about the header which file it is in.
func ofHeader(err error, file string) error {
	var none *NotLUKSError
	if file != "" && errors.As(err, &none) {
		none.Device = file
	}
	return err
}
