package blockcopy

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// numbered is a disk with a device number.
type numbered struct {
	*disk
	major, minor uint32
}

func (n numbered) Number() (major, minor uint32) { return n.major, n.minor }

// tree is a sysfs of two nodes. 259:0 is an NVMe disk on node 1 and 259:1 its
// partition; 8:0 is a disk on node 0 with heads; 9:0 is a RAID of whole
// stripes; 253:0 is a mapping on the partition; 7:0 hangs on no bus.
func tree(t *testing.T, processors map[string]string) sysfs {
	t.Helper()
	root := t.TempDir()
	const bus = "devices/pci0000:80/0000:80:01.0"
	for file, content := range map[string]string{
		bus + "/numa_node": "1\n",
		bus + "/nvme/nvme0/nvme0n1/queue/nr_requests":                 "1023\n",
		bus + "/nvme/nvme0/nvme0n1/queue/max_sectors_kb":              "128\n",
		bus + "/nvme/nvme0/nvme0n1/queue/rotational":                  "0\n",
		bus + "/nvme/nvme0/nvme0n1/nvme0n1p1/partition":               "1\n",
		"devices/pci0000:00/numa_node":                                "0\n",
		"devices/pci0000:00/ata1/block/sda/queue/nr_requests":         "64\n",
		"devices/pci0000:00/ata1/block/sda/queue/max_sectors_kb":      "512\n",
		"devices/pci0000:00/ata1/block/sda/queue/rotational":          "1\n",
		"devices/pci0000:00/ata1/block/sda/queue/physical_block_size": "4096\n",
		"devices/virtual/block/md0/queue/optimal_io_size":             "2097152\n",
		"devices/virtual/block/dm-0/queue/max_sectors_kb":             "128\n",
		"devices/virtual/block/loop0/queue/nr_requests":               "128\n",
		"devices/virtual/block/loop0/queue/max_sectors_kb":            "1280\n",
	} {
		put(t, filepath.Join(root, file), content)
	}
	for node, bitmap := range processors {
		put(t, filepath.Join(root, "devices/system/node", node, "cpumap"), bitmap)
	}
	for link, to := range map[string]string{
		"dev/block/259:0": bus + "/nvme/nvme0/nvme0n1",
		"dev/block/259:1": bus + "/nvme/nvme0/nvme0n1/nvme0n1p1",
		"dev/block/8:0":   "devices/pci0000:00/ata1/block/sda",
		"dev/block/9:0":   "devices/virtual/block/md0",
		"dev/block/253:0": "devices/virtual/block/dm-0",
		"dev/block/7:0":   "devices/virtual/block/loop0",
		"devices/virtual/block/dm-0/slaves/nvme0n1p1": bus + "/nvme/nvme0/nvme0n1/nvme0n1p1",
	} {
		path := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, to), path); err != nil {
			t.Fatal(err)
		}
	}
	return sysfs(root)
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestACopyBeginsWithWhatTheQueuesTake(t *testing.T) {
	s := tree(t, nil)
	for name, c := range map[string]struct {
		major, minor uint32
		want         tuning
	}{
		"unknown device":                      {1, 1, tuning{8, 1 << 20}},
		"NVMe":                                {259, 0, tuning{8, 1 << 20}},
		"partition of it":                     {259, 1, tuning{8, 1 << 20}},
		"mapping on that":                     {253, 0, tuning{8, 1 << 20}},
		"heads to move: few workers":          {8, 0, tuning{2, 4 << 20}},
		"RAID: whole stripes":                 {9, 0, tuning{8, 2 << 20}},
		"short queue, as many as it has room": {7, 0, tuning{8, 1 << 20}},
	} {
		d := demand{hashing: true, chunk: ChunkSize, align: 512, queues: []queue{s.queueOf(numbered{nil, c.major, c.minor})}}
		if got := d.plans()[0]; got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if q := s.queueOf(numbered{nil, 253, 0}); q.requests != 1023 || q.transfer != 128<<10 {
		t.Errorf("a mapping's queue is %+v, want that of the disk below", q)
	}
}

func TestNoTuningTriedIsMoreThanAQueueHolds(t *testing.T) {
	sda := tree(t, nil).queueOf(numbered{nil, 8, 0})
	for _, c := range (demand{hashing: true, chunk: ChunkSize, align: 512, queues: []queue{sda}}).plans() {
		if n := int64(c.workers) * ((c.block + sda.transfer - 1) / sda.transfer); n > sda.requests {
			t.Errorf("%+v are %d requests for a queue of %d", c, n, sda.requests)
		}
	}
	asked := demand{asked: tuning{64, 512 << 10}, chunk: ChunkSize, align: 512, queues: []queue{{requests: 1, transfer: 4096, optimal: 1 << 20, physical: 4096}}}
	if got := asked.plans(); len(got) != 1 || got[0] != asked.asked {
		t.Errorf("%+v, not what was asked for", got)
	}
	half := demand{chunk: ChunkSize, align: 512, maxRate: 1, queues: []queue{{physical: 128 << 10}}}
	if got := half.plans()[0]; got.block != 128<<10 {
		t.Errorf("blocks of %d are half a physical block", got.block)
	}
}

func TestWorkersRunNearTheTarget(t *testing.T) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	var ours []int
	for i := range 1024 {
		if allowed.IsSet(i) {
			ours = append(ours, i)
		}
	}
	// Node 1 has the last processor that we may use, node 0 the others.
	last := ours[len(ours)-1]
	nodes := map[string]string{"node0": bitmap(ours[:len(ours)-1]), "node1": bitmap(ours[len(ours)-1:])}
	nvme, sda, loop := [2]uint32{253, 0}, [2]uint32{8, 0}, [2]uint32{7, 0}
	for name, c := range map[string]struct {
		nodes          map[string]string
		source, target [2]uint32
		pinned         bool
	}{
		"target on node 1":                        {nodes, sda, nvme, true},
		"source on node 1, target on none":        {nodes, nvme, loop, true},
		"neither on a node":                       {nodes, loop, loop, false},
		"one node":                                {map[string]string{"node0": bitmap(ours)}, sda, nvme, false},
		"a node without processors that are ours": {map[string]string{"node0": bitmap(ours), "node1": "0"}, sda, nvme, false},
	} {
		t.Run(name, func(t *testing.T) {
			source, target, job := small()
			job.Source, job.Target = numbered{source, c.source[0], c.source[1]}, numbered{target, c.target[0], c.target[1]}
			job.sysfs, job.Workers = tree(t, c.nodes), 3
			var mu sync.Mutex
			var ran []unix.CPUSet
			target.writeFails = func(int64, int64) error {
				var now unix.CPUSet
				err := unix.SchedGetaffinity(0, &now)
				mu.Lock()
				defer mu.Unlock()
				ran = append(ran, now)
				return err
			}
			if _, err := Copy(t.Context(), job); err != nil || !slices.Equal(target.durable, source.data) {
				t.Fatal(err)
			}
			for _, set := range ran {
				if c.pinned && (set.Count() != 1 || !set.IsSet(last)) || !c.pinned && set != allowed {
					t.Fatalf("a worker may run on %d processors", set.Count())
				}
			}
		})
	}
	var now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil || now != allowed {
		t.Errorf("after the copies, %d processors are left (%v)", now.Count(), err)
	}
}

// bitmap writes processors as the kernel does, in at least two words.
func bitmap(processors []int) string {
	words := make([]uint32, 2)
	for _, p := range processors {
		for len(words) <= p/32 {
			words = append(words, 0)
		}
		words[p/32] |= 1 << (p % 32)
	}
	text := ""
	for _, w := range slices.Backward(words) {
		const digits = "0123456789abcdef"
		if text != "" {
			text += ","
		}
		for shift := 28; shift >= 0; shift -= 4 {
			text += string(digits[w>>shift&15])
		}
	}
	return text + "\n"
}

func TestBitmapsOfProcessors(t *testing.T) {
	for text, want := range map[string][]int{
		"3\n": {0, 1}, "00000000,00000000\n": nil, "00000100,80000001": {40, 0, 31}, "": nil, "nonsense": nil, "1,zz": nil,
	} {
		if got := parseMap(text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
