package luks

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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
	LUKS       string `json:"luks_uuid"`
	Type       Type   `json:"luks_type"`
	Offset     int64  `json:"payload_offset"`
	VolumeSize int64  `json:"volume_size"`
}

// Beside is the suffix of the file that says what a header backup is. It is one
// that sha256sum -c reads: a digest, and comments.
const Beside = ".sha256"

// Note is the suffix of the same text once more in a job's folder. It stays when
// the backup and what is beside it are moved away: so that is still known of.
const Note = ".header-note"

// BesideError says that the file beside a header backup can't be understood.
type BesideError struct {
	Path, Reason string
}

func (e *BesideError) Error() string {
	return fmt.Sprintf("%s does not say what the backup beside it is: %s", e.Path, e.Reason)
}

// Text is what is written beside a backup.
func (b *Backup) Text() []byte {
	var t bytes.Buffer
	name := filepath.Base(b.File)
	fmt.Fprintf(&t, "# A backup of a LUKS header, made by vmmigrate. Whoever has it and a key that\n")
	fmt.Fprintf(&t, "# opened the volume then can open it for ever. To check it: sha256sum -c %s%s\n", name, Beside)
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

// ParseBackup reads what Text wrote. It returns a *BesideError for anything else.
func ParseBackup(path string, text []byte) (Backup, error) {
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
	b.File, b.VM, b.Disk, b.Volume, b.LUKS, b.Type = facts["file"], facts["vm"], facts["disk"], facts["volume"], facts["luks-uuid"], Type(facts["luks-type"])
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

// DigestFile is a file's SHA-256, in hexadecimal, and its size in bytes.
func DigestFile(path string) (digest string, size int64, err error) {
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
