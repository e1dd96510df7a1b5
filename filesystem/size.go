package filesystem

import "slices"

// Type is a kind of file system, by the name that mkfs(8) and mount(8) have for it.
type Type string

// The kinds that can be made.
const (
	Ext4 Type = "ext4"
	XFS  Type = "xfs"
)

// Types are all of them.
var Types = []Type{Ext4, XFS}

// Supported says whether a kind can be made.
func Supported(t Type) bool { return slices.Contains(Types, t) }

const mib = int64(1) << 20

// Least is the smallest file system of a kind that is made, in bytes: mkfs.xfs
// refuses one below 300 MiB (xfsprogs 5.19), and an ext4 of less is journal for
// the most part.
func Least(t Type) int64 {
	if t == XFS {
		return 320 * mib
	}
	return 64 * mib
}

// LargestFile is the most bytes that one file can have: of ext4 with blocks of
// 4 KiB 16 TiB (ext4(5)), of XFS 8 EiB (xfs(5)).
func LargestFile(t Type) int64 {
	if t == XFS {
		return 1<<63 - 1
	}
	return 16<<40 - 4096
}

// journal is how large the journal is made, in bytes. It is the same for all
// larger ones, so that what a file system takes for itself can be told.
func journal(t Type, size int64) int64 {
	switch {
	case t == XFS:
		return 64 * mib // the least that mkfs.xfs takes from 300 MiB on
	case size < 1<<30:
		return 8 * mib
	}
	return 64 * mib
}

// Size is how large a file system has to be, in bytes and a multiple of 1 MiB, for
// files of so many bytes. Beside the journal it counts a fiftieth of that, and of
// XFS a twenty-fifth: the inodes, bitmaps and the maps of files that are scattered
// take less than a hundredth of ext4; XFS reserves up to two hundredths for maps
// of what is shared, owned and free (xfsprogs 6.1, reflink and rmapbt). 32 MiB are
// what ext4 keeps for maps that are yet to be written (kernel,
// ext4_calculate_resv_clusters), and room for small files beside.
func Size(t Type, bytes int64) int64 {
	part := bytes / 50
	if t == XFS {
		part = bytes / 25
	}
	size := bytes + part + journal(t, bytes) + 32*mib
	return max(Least(t), (size+mib-1)/mib*mib)
}
