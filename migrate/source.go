package migrate

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/image"
)

// A source is a raw disk or an image chain. Plan, guard, resume and rollback go
// by SourcePlan, copy and verification by Source, and neither asks which of the
// two it is.

// SourcePlan is the plain disk, as it was when the plan was made.
type SourcePlan struct {
	Path string `json:"path"`
	// Format is the domain's word for it, never found by looking.
	Format string `json:"format"`
	Block  bool   `json:"block"`
	// Size is what the guest sees, in bytes.
	Size int64 `json:"size"`
	// ModTime is a regular file's, to tell that it changed meanwhile.
	ModTime time.Time `json:"mod_time,omitzero"`
	// Writes and Boot are a device's count of written sectors in a boot of
	// this host, to tell the same; Writes is -1 where there is no count.
	Writes int64  `json:"writes"`
	Boot   string `json:"boot,omitempty"`
	// Chain is how an image is read, its own layer first, and Files are all
	// files of it, in the same order; both are empty for a raw disk.
	Chain image.Chain  `json:"chain,omitempty"`
	Files []SourceFile `json:"files,omitempty"`
	// ID tells the disk from another of the same path, now and after a reboot:
	// "lv UUID", "file INODE", or "" where neither is so. Stored is the size of
	// the device or file, in bytes: of an image, that of its own layer's.
	ID     string `json:"id,omitempty"`
	Stored int64  `json:"stored,omitempty"`
}

// SourceFile is one file of an image chain, as it was when the plan was made.
type SourceFile struct {
	Path    string    `json:"path"`
	Block   bool      `json:"block"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time,omitzero"`
	Writes  int64     `json:"writes"`
	Boot    string    `json:"boot,omitempty"`
}

func sourceFile(facts DeviceFacts) SourceFile {
	return SourceFile{Path: facts.Path, Block: facts.Block, Size: facts.Size, ModTime: facts.ModTime, Writes: facts.Writes, Boot: facts.Boot}
}

// newSource is the plan of a source that was looked at.
func newSource(format string, facts DiskFacts) SourcePlan {
	source := SourcePlan{
		Path: facts.Path, Format: format, Block: facts.Block, Size: facts.guestSize(), ModTime: facts.ModTime, Writes: facts.Writes, Boot: facts.Boot,
		Chain: facts.Chain, ID: sourceID(facts), Stored: facts.Size,
	}
	for _, file := range facts.Files {
		source.Files = append(source.Files, sourceFile(file))
	}
	return source
}

// all are the files that the source's bytes are in.
func (s SourcePlan) all() []SourceFile {
	if len(s.Files) > 0 {
		return s.Files
	}
	return []SourceFile{{Path: s.Path, Block: s.Block, Size: s.Size, ModTime: s.ModTime, Writes: s.Writes, Boot: s.Boot}}
}

// paths are the paths of those files.
func (s SourcePlan) paths() []string {
	var paths []string
	for _, file := range s.all() {
		paths = append(paths, file.Path)
	}
	return paths
}

// changed says how a file is not what it was, or "".
func (f SourceFile) changed(facts DeviceFacts) string {
	if facts.Size != f.Size {
		return fmt.Sprintf("it has %d bytes and had %d", facts.Size, f.Size)
	}
	if facts.Block != f.Block {
		return "it is no longer the same kind of file"
	}
	if facts.Writes >= 0 && f.Writes >= 0 {
		before := f.Writes
		if facts.Boot != f.Boot || facts.Writes < before {
			before = 0 // counted anew since a boot, or since the volume was activated again
		}
		if facts.Writes > before {
			return fmt.Sprintf("the kernel has written %d sectors to it since", facts.Writes-before)
		}
	}
	if !facts.ModTime.Equal(f.ModTime) {
		return "it was written at " + facts.ModTime.Format("2006-01-02 15:04:05 MST")
	}
	return ""
}

// guestSize is what the guest sees of a disk, in bytes.
func (d DiskFacts) guestSize() int64 {
	if len(d.Chain) > 0 {
		return d.Chain[0].Size
	}
	return d.Size
}

// Source is a plain disk, opened to be read as the guest sees it. That it may
// also know its holes, its alignment and whether it passes the page cache is
// blockcopy's Mapped, Aligned and Directed.
type Source interface {
	blockcopy.Source
	io.Closer
}

// openSource opens a source by its plan. What is opened stays what was planned:
// an image is read by the chain that is in the plan, and its headers are not
// asked again.
func (b BlockCopier) openSource(ctx context.Context, plan SourcePlan, pace Pace) (Source, error) {
	if len(plan.Chain) == 0 {
		return blockcopy.OpenSource(plan.Path)
	}
	tools := b.Images
	tools.Idle = pace.Idle
	tools.OpenFile = func(path string) (image.File, error) { return blockcopy.OpenSource(path) }
	return tools.Open(ctx, plan.Chain)
}

// claimed are the files that are held while a source is read.
type claimed []*os.File

// claimSource opens the files of a source so that, where they are block
// devices, this host can neither mount nor map them for as long (open(2),
// O_EXCL). Of a file the flag means nothing; QEMU's locks keep guests from an
// image.
//
// It keeps no QEMU from a device: that opens its disks without the flag. Nor has
// LVM anything to add. A shared activation (lvchange -asy) is a lock that a lock
// manager gives out (lvmlockd(8)); in a group without one, such as those that
// vmmigrate makes volumes in, lvm2 2.03.16 takes -asy and -aey for -ay: the
// device can be written, and lv_active_exclusively is set, after each of them.
// To make the volume read-only (lvchange -pr) would be a change to the source,
// which a crash would leave behind. So guardSource watches instead.
func claimSource(plan SourcePlan) (claimed, error) {
	var held claimed
	for _, path := range plan.paths() {
		file, err := claimFile(path)
		if err != nil {
			held.Close()
			return nil, err
		}
		held = append(held, file)
	}
	return held, nil
}

func claimFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&os.ModeDevice == 0 {
		return os.Open(path)
	}
	return os.OpenFile(path, os.O_RDONLY|os.O_EXCL, 0)
}

// Close lets go of all of them.
func (c claimed) Close() {
	for _, file := range c {
		_ = file.Close() // it was only held
	}
}

// strayFile is the first file of a chain that lies neither in the disk's own
// folder, nor below it, nor in one that was allowed, and that the domain itself
// does not name. "" is none. Whoever made an image chose the names in it, and a
// name that leads elsewhere may be meant to read what is there.
func strayFile(chain image.Chain, named, allowed []string) string {
	if len(chain) == 0 {
		return ""
	}
	// Relative names begin at the folder of the name that the domain has.
	folders := []string{filepath.Dir(real(chain[0].Path)), real(filepath.Dir(chain[0].Path))}
	for _, folder := range allowed {
		folders = append(folders, real(folder))
	}
	own := make(map[string]bool)
	for _, path := range named {
		own[real(path)] = true
	}
	for _, path := range chain.Files()[1:] {
		at := real(path)
		inside := own[at]
		for _, folder := range folders {
			inside = inside || folder == "/" || strings.HasPrefix(at, folder+"/")
		}
		if !inside {
			return path
		}
	}
	return ""
}

// real is a path without symbolic links, as far as it can be followed.
func real(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return filepath.Clean(path)
}

// sourceID is SourcePlan.ID. A file's is its inode's number alone, since that of
// its file system's device may be another after a reboot.
func sourceID(facts DiskFacts) string {
	switch fields := strings.Fields(facts.ID); {
	case facts.LV != nil:
		return "lv " + facts.LV.UUID
	case len(fields) == 3 && fields[0] == "file":
		return "file " + fields[2]
	}
	return ""
}
