package lifecycle

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Backup is a header backup: a file that cryptsetup wrote, and what was put
// beside it of where it came from.
type Backup struct {
	// File is its path, Bytes its size and SHA256 its digest, in hexadecimal.
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	// Made is when.
	Made time.Time `json:"made"`
	// There is whether the file still is where it was written to.
	There bool `json:"there"`
	// VM, Disk and Volume say of what it was made, at that time.
	VM     string `json:"vm"`
	Disk   string `json:"disk"`
	Volume string `json:"volume"`
	// LUKS is the UUID in the header, Type its format and Offset where the
	// payload begins, in bytes. VolumeSize is the volume's, in bytes.
	LUKS       string    `json:"luks_uuid"`
	Type       luks.Type `json:"luks_type"`
	Offset     int64     `json:"payload_offset"`
	VolumeSize int64     `json:"volume_size"`
}

// beside is the suffix of the file that says what a header backup is. It is
// one that sha256sum -c reads: a digest, and comments.
const beside = ".sha256"

// BesideError says that the file beside a header backup can't be understood.
type BesideError struct {
	Path, Reason string
}

func (e *BesideError) Error() string {
	return fmt.Sprintf("%s does not say what the backup beside it is: %s", e.Path, e.Reason)
}

// text is what is written beside a backup.
func (b *Backup) text() []byte {
	var t bytes.Buffer
	name := filepath.Base(b.File)
	fmt.Fprintf(&t, "# A backup of a LUKS header, made by vmmigrate. Whoever has it and a key that\n")
	fmt.Fprintf(&t, "# opened the volume then can open it for ever. To check it: sha256sum -c %s%s\n", name, beside)
	for _, pair := range b.pairs() {
		fmt.Fprintf(&t, "# %s: %s\n", pair[0], pair[1])
	}
	fmt.Fprintf(&t, "%s  %s\n", b.SHA256, name)
	return t.Bytes()
}

func (b *Backup) pairs() [][2]string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return [][2]string{
		{"file", b.File},
		{"vm", b.VM},
		{"disk", b.Disk},
		{"volume", b.Volume},
		{"volume-size", number(b.VolumeSize)},
		{"luks-uuid", b.LUKS},
		{"luks-type", string(b.Type)},
		{"payload-offset", number(b.Offset)},
		{"bytes", number(b.Bytes)},
		{"made", b.Made.UTC().Format(time.RFC3339)},
	}
}

// parseBackup reads what text wrote.
func parseBackup(path string, text []byte) (Backup, error) {
	var b Backup
	bad := func(format string, args ...any) (Backup, error) {
		return Backup{}, &BesideError{Path: path, Reason: fmt.Sprintf(format, args...)}
	}
	facts := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if comment, ok := strings.CutPrefix(line, "# "); ok {
			if name, value, ok := strings.Cut(comment, ": "); ok {
				facts[name] = value
			}
			continue
		}
		digest, _, ok := strings.Cut(line, "  ")
		if raw, err := hex.DecodeString(digest); !ok || err != nil || len(raw) != sha256.Size {
			return bad("%q is no line of sha256sum", line)
		}
		b.SHA256 = strings.ToLower(digest)
	}
	if err := lines.Err(); err != nil {
		return bad("%v", err)
	}
	if b.SHA256 == "" {
		return bad("it holds no digest")
	}
	b.File, b.VM, b.Disk, b.Volume, b.LUKS, b.Type = facts["file"], facts["vm"], facts["disk"], facts["volume"], facts["luks-uuid"], luks.Type(facts["luks-type"])
	for name, to := range map[string]*int64{"volume-size": &b.VolumeSize, "payload-offset": &b.Offset, "bytes": &b.Bytes} {
		n, err := strconv.ParseInt(facts[name], 10, 64)
		if err != nil || n < 0 {
			return bad("its %s is %q", name, facts[name])
		}
		*to = n
	}
	made, err := time.Parse(time.RFC3339, facts["made"])
	if err != nil {
		return bad("it was made at %q", facts["made"])
	}
	b.Made = made
	return b, nil
}

// headersDir is where backups go that are sent nowhere else, and where it is
// noted what became of those that are.
func (m *Manager) headersDir() string { return filepath.Join(m.StateDir, "headers") }

// newestBackup is the newest header backup of a disk that is known of: made by
// `header backup`, or by the job. It is nil if there is none.
func (m *Manager) newestBackup(clone *Clone, disk *Disk) (*Backup, error) {
	var newest *Backup
	notes, err := filepath.Glob(filepath.Join(globEscape(m.headersDir()), "*"+beside))
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		text, err := os.ReadFile(note)
		if err != nil {
			continue // gone since, or not ours to read: it is one that is not known of
		}
		b, err := parseBackup(note, text)
		if err != nil || !strings.EqualFold(b.LUKS, disk.LUKS) {
			continue
		}
		if newest == nil || b.Made.After(newest.Made) {
			newest = &b
		}
	}
	ofJob := filepath.Join(m.StateDir, "jobs", clone.Origin.Job, disk.Target+".luks-header")
	if info, err := os.Stat(ofJob); err == nil && (newest == nil || info.ModTime().After(newest.Made)) {
		newest = &Backup{File: ofJob, Bytes: info.Size(), Made: info.ModTime(), VM: clone.Name, Disk: disk.Target, Volume: disk.Volume(), LUKS: disk.LUKS}
	}
	if newest != nil {
		_, err := os.Stat(newest.File)
		newest.There = err == nil
	}
	return newest, nil
}

// globEscape quotes what filepath.Glob would take for a pattern.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// digestFile is a file's SHA-256 and size.
func digestFile(path string) (digest string, size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	hash := sha256.New()
	if size, err = io.Copy(hash, file); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(hash.Sum(nil)), size, nil
}

// publish gives a file that is on disk its name, which has to be free.
func publish(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// A file system without it, such as NFS: link(2) does not replace
		// either.
		if err = os.Link(from, to); err == nil {
			err = os.Remove(from)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return &luks.ExistsError{File: to}
	}
	if err != nil {
		return &fs.PathError{Op: "name", Path: to, Err: err}
	}
	return syncPath(filepath.Dir(to))
}

// writeFlushed writes a new file that its owner alone may read.
func writeFlushed(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(data); err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
