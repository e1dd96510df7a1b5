package image

// NewSpec is a qcow2 image to make. Sizes are bytes.
type NewSpec struct {
	// Size is what the guest sees.
	Size int64
	// Cluster is the unit it is kept in, and ExtendedL2 keeps those in parts of
	// a thirty-second.
	Cluster    int64
	ExtendedL2 bool
}

// The clusters of an image that is made: QEMU's default, and the most that it
// takes (qemu-img(1), cluster_size).
const (
	clusterDefault = 64 << 10
	clusterMax     = 2 << 20
)

// Like is the image to make in the place of a chain: with the clusters of the
// disk's own image, save those that are smaller than QEMU's default, which cost
// much in tables and only ever served images of long ago.
func Like(chain Chain) NewSpec {
	top := chain[0]
	spec := NewSpec{Size: top.Size, Cluster: min(max(top.Cluster, clusterDefault), clusterMax)}
	for _, feature := range top.Features {
		spec.ExtendedL2 = spec.ExtendedL2 || feature == extendedL2
	}
	return spec
}

// Full is how large the image's file is once every cluster is allocated: header,
// guest data, level 1 and 2 tables, refcount tables and blocks with 16-bit
// refcounts (QEMU, docs/interop/qcow2.txt; qemu-img measure says the same as
// "fully-allocated-size").
func (s NewSpec) Full() int64 { return s.file(ceil(s.Size, s.Cluster)) }

// file is the file's size with so many clusters of data.
func (s NewSpec) file(data int64) int64 {
	entry := int64(8)
	if s.ExtendedL2 {
		entry = 16
	}
	l2 := ceil(ceil(s.Size, s.Cluster)*entry, s.Cluster)
	l1 := ceil(l2*8, s.Cluster)
	fixed := 1 + l1 + l2 + data
	// The refcounts count their own clusters too.
	for blocks, table := int64(0), int64(0); ; {
		nextBlocks := ceil((fixed+blocks+table)*2, s.Cluster)
		nextTable := ceil(nextBlocks*8, s.Cluster)
		if nextBlocks == blocks && nextTable == table {
			return (fixed + blocks + table) * s.Cluster
		}
		blocks, table = nextBlocks, nextTable
	}
}

func ceil(n, unit int64) int64 { return (n + unit - 1) / unit }
