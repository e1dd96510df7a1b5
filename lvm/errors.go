package lvm

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// NotFoundError says that there is no such thing.
type NotFoundError struct {
	// Kind is "volume group", "logical volume", "thin pool" or "physical volume".
	Kind string
	// Name is what was looked for; a logical volume's is VG/LV, or the path
	// that was asked for.
	Name string
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("there is no %s %q", e.Kind, e.Name) }

// ExistsError says that the group already has a volume of that name.
type ExistsError struct {
	VG, Name string
}

func (e *ExistsError) Error() string {
	return fmt.Sprintf("volume group %q already has a logical volume %q", e.VG, e.Name)
}

// NoSpaceError says that a volume does not fit.
type NoSpaceError struct {
	// VG is the volume group, and Pool its thin pool when it is the pool
	// that is too full.
	VG, Pool string
	// Need and Free are bytes, in whole extents for a group. Free is what
	// volumes of this layout can use: of a striped volume's every stripe
	// needs a disk of its own, so it may be less than the group's free space.
	Need, Free int64
}

func (e *NoSpaceError) Error() string {
	where := fmt.Sprintf("volume group %q", e.VG)
	if e.Pool != "" {
		where = fmt.Sprintf("thin pool %q", e.VG+"/"+e.Pool)
	}
	return fmt.Sprintf("%s has not enough room: %d bytes are needed and %d can be used", where, e.Need, e.Free)
}

// NotOursError says that a volume does not bear the tag it would have to bear
// for us to remove it.
type NotOursError struct {
	VG, Name string
	// Tag is the one it should bear, Tags those it does.
	Tag  string
	Tags []string
}

func (e *NotOursError) Error() string {
	return fmt.Sprintf("logical volume %q does not bear the tag %q (it bears %q), so it is not ours to remove", e.VG+"/"+e.Name, e.Tag, e.Tags)
}

// SnapshotError says that a volume has snapshots that can't outlive it: they
// hold only the blocks that differ from it, and lvremove would take them along.
// It is still there then, and so are they.
type SnapshotError struct {
	VG, Name string
	// Snapshots are their names.
	Snapshots []string
}

func (e *SnapshotError) Error() string {
	whose := "a snapshot, %s, that is"
	if len(e.Snapshots) > 1 {
		whose = "snapshots, %s, that are"
	}
	return fmt.Sprintf("logical volume %q has "+whose+" worth nothing without it", e.VG+"/"+e.Name, strings.Join(e.Snapshots, ", "))
}

// ChangedError says that a volume is not what it was when it was looked at.
type ChangedError struct {
	VG, Name string
	// Size is what it had, in bytes, and Now what it is.
	Size int64
	Now  LV
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("logical volume %q of %d bytes is %q of %d bytes by now", e.VG+"/"+e.Name, e.Size, e.Now.VG+"/"+e.Now.Name, e.Now.Size)
}

// InUseError says that a volume, or a group inside a guest's disk, is open and
// so can't be removed or deactivated.
type InUseError struct {
	VG string
	// Name is the volume, or "" for the whole group.
	Name string
}

func (e *InUseError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("a logical volume of volume group %q is in use", e.VG)
	}
	return fmt.Sprintf("logical volume %q is in use", e.VG+"/"+e.Name)
}

// MovingError says that a volume can't be removed before lvm2 has ended what it
// does with it: a pvmove, whose volumes it locks (pvmove(8)).
type MovingError struct {
	VG, Name string
}

func (e *MovingError) Error() string {
	return fmt.Sprintf("logical volume %q is being moved to another disk, by a pvmove that has not ended", e.VG+"/"+e.Name)
}

// AmbiguousError says that several volume groups have one name, and that none
// of them is known to be this host's own.
type AmbiguousError struct {
	Name string
	// UUIDs are the groups'.
	UUIDs []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%d volume groups are called %q (UUIDs %s)", len(e.UUIDs), e.Name, strings.Join(e.UUIDs, ", "))
}

// NameError says that lvm2 would not take a name.
type NameError struct {
	Name, Reason string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("%q can't be an LVM name: %s", e.Name, e.Reason)
}

// failed is lvm2's exit code when a command was understood and did not
// succeed (ECMD_FAILED, tools/errors.h); what went wrong is only in its words.
const failed = 5

// The messages by which lvcreate and the allocator behind it say that there
// is no room, as lvm2 2.03.16 words them. The first two give both numbers.
var (
	freeNeeded   = regexp.MustCompile(`insufficient free space \((\d+) extents?\): (\d+) required`)
	neededFree   = regexp.MustCompile(`Insufficient free space: (\d+) extents? needed, but only (\d+) available`)
	insufficient = regexp.MustCompile(`Insufficient suitable |must not exceed number of physical volumes|has insufficient free space|Insufficient free space`)
	noDisk       = regexp.MustCompile(`Physical Volume "([^"]*)" not found in Volume Group`)
	noPool       = regexp.MustCompile(`Pool (\S+) not found in Volume group`)
)

// recognise turns a command's failure into the error of this package that it
// stands for, judged by exit code and words both; any other stays as it is.
func recognise(err error, vg, name string) error {
	var said *command.Error
	if !errors.As(err, &said) || said.ExitCode != failed {
		return err
	}
	text := said.Stderr
	switch {
	case strings.Contains(text, fmt.Sprintf("Volume group %q not found", vg)):
		return &NotFoundError{Kind: "volume group", Name: vg}
	case strings.Contains(text, "Failed to find logical volume"):
		return &NotFoundError{Kind: "logical volume", Name: vg + "/" + name}
	case strings.Contains(text, "already exists in volume group"):
		return &ExistsError{VG: vg, Name: name}
	case strings.Contains(text, "remove locked logical volume"):
		return &MovingError{VG: vg, Name: name}
	case strings.Contains(text, " in use") || strings.Contains(text, "is used by another device") || strings.Contains(text, "open logical volume"):
		return &InUseError{VG: vg, Name: name}
	}
	if m := noDisk.FindStringSubmatch(text); m != nil {
		return &NotFoundError{Kind: "physical volume", Name: m[1]}
	}
	if m := noPool.FindStringSubmatch(text); m != nil {
		return &NotFoundError{Kind: "thin pool", Name: vg + "/" + m[1]}
	}
	return err
}

// noSpace is the *NoSpaceError behind a refused lvcreate, or nil. The numbers
// are lvm2's own where it gives them, else need and what the group has free.
func noSpace(err error, vg VG, need int64) *NoSpaceError {
	var said *command.Error
	if !errors.As(err, &said) || said.ExitCode != failed || !insufficient.MatchString(said.Stderr) {
		return nil
	}
	result := &NoSpaceError{VG: vg.Name, Need: need, Free: vg.Free}
	var free, needed string
	if m := freeNeeded.FindStringSubmatch(said.Stderr); m != nil {
		free, needed = m[1], m[2]
	} else if m := neededFree.FindStringSubmatch(said.Stderr); m != nil {
		free, needed = m[2], m[1]
	}
	// A number too long for an int64 leaves what was known before.
	f, errFree := strconv.ParseInt(free, 10, 64)
	n, errNeed := strconv.ParseInt(needed, 10, 64)
	if errFree == nil && errNeed == nil {
		result.Free, result.Need = f*vg.ExtentSize, n*vg.ExtentSize
	}
	return result
}
