package blockcopy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fileOf makes a record of n chunks in a file and returns it and its path.
func fileOf(t testing.TB, folder string, n int64) (*Chunks, string) {
	path := filepath.Join(folder, "record")
	c, err := createChunks(path, header{payload: n * 512, chunk: 512, identity: "luks uuid"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, path
}

func digestFor(index int64) Digest { return sha256.Sum256(fmt.Append(nil, index)) }

func batchOf(indexes ...int64) []finished {
	var b []finished
	for _, i := range indexes {
		b = append(b, finished{index: i, digest: digestFor(i), hashed: true})
	}
	return b
}

func TestARecordReadsBackAsItWasLeft(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.Int64Range(0, 500).Draw(rt, "chunks")
		c, path := fileOf(t, folder, n)
		inMemory := newChunks(c.header)
		left := rapid.Permutation(upTo(n)).Draw(rt, "order")
		for len(left) > 0 && rapid.Bool().Draw(rt, "more") {
			k := rapid.IntRange(0, len(left)).Draw(rt, "batch")
			for _, r := range []*Chunks{c, inMemory} {
				if err := r.add(batchOf(left[:k]...)); err != nil {
					rt.Fatal(err)
				}
			}
			left = left[k:]
		}
		loaded, err := LoadChunks(path)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = loaded.Close() }()
		if loaded.Payload() != n*512 || loaded.Identity() != "luks uuid" || loaded.Len() != n || loaded.Path() != path {
			rt.Fatalf("%+v", loaded.header)
		}
		for i := range n {
			a, errA := inMemory.Digest(i)
			b, errB := loaded.Digest(i)
			if loaded.Done(i) != inMemory.Done(i) || a != b || (errA == nil) != (errB == nil) {
				rt.Fatalf("chunk %d: %s %v, then %s %v", i, a, errA, b, errB)
			}
		}
		if loaded.DoneBytes() != int64(int(n)-len(left))*512 || loaded.Complete() != (len(left) == 0) {
			rt.Fatalf("%d bytes of %d chunks less %d", loaded.DoneBytes(), n, len(left))
		}
		a, errA := inMemory.JobDigest()
		b, errB := loaded.JobDigest()
		if a != b || (errA == nil) != (errB == nil) || (errA == nil) != (len(left) == 0) {
			rt.Fatalf("job digests %s %v and %s %v", a, errA, b, errB)
		}
	})
}

func upTo(n int64) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = int64(i)
	}
	return list
}

// A power cut leaves any part of the sectors written since the last flush. The
// journal is flushed before the pages' places are written, so either the
// journal is torn or the places are, never both.
func TestAPowerCutDuringACheckpointLosesNothingRecordedBefore(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		const n = 400
		c, path := fileOf(t, folder, n)
		order := rapid.Permutation(upTo(n)).Draw(rt, "order")
		first := 0
		for range rapid.IntRange(1, 4).Draw(rt, "checkpoints") {
			next := rapid.IntRange(first, n).Draw(rt, "recorded")
			if err := c.add(batchOf(order[first:next]...)); err != nil {
				rt.Fatal(err)
			}
			first = next
		}
		second := rapid.IntRange(first, n).Draw(rt, "then")
		old := read(t, path)
		if err := c.add(batchOf(order[first:second]...)); err != nil {
			rt.Fatal(err)
		}
		cut, now := bytes.Clone(old), read(t, path)
		from, to := pageSize, firstPage*pageSize
		if rapid.Bool().Draw(rt, "the places are torn") {
			copy(cut[:to], now[:to])
			from, to = to, len(now)
		}
		for at := from; at < to; at += 512 {
			if !bytes.Equal(old[at:at+512], now[at:at+512]) && rapid.Bool().Draw(rt, "sector arrived") {
				copy(cut[at:at+512], now[at:at+512])
			}
		}
		if err := os.WriteFile(path, cut, 0o600); err != nil {
			rt.Fatal(err)
		}
		for range 2 { // what loading repairs stays repaired
			loaded, err := LoadChunks(path)
			if err != nil {
				rt.Fatal(err)
			}
			for k, i := range order {
				d, err := loaded.Digest(i)
				switch {
				case k < first && !loaded.Done(i):
					rt.Fatalf("chunk %d was recorded and is lost", i)
				case k >= second && loaded.Done(i):
					rt.Fatalf("chunk %d was never recorded", i)
				case loaded.Done(i) && (err != nil || d != digestFor(i)):
					rt.Fatalf("chunk %d has digest %s (%v)", i, d, err)
				}
			}
			if err := loaded.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// watched is a record's file that notes what was done to it, in order.
type watched struct {
	recordFile
	log []string
}

func (w *watched) WriteAt(p []byte, offset int64) (int, error) {
	where := "place"
	if offset < firstPage*pageSize {
		where = "journal"
	}
	if n := len(w.log); n == 0 || w.log[n-1] != where {
		w.log = append(w.log, where)
	}
	return w.recordFile.WriteAt(p, offset)
}

func (w *watched) Sync() error {
	w.log = append(w.log, "flush")
	return w.recordFile.Sync()
}

func TestAPageIsSafeInTheJournalBeforeItsPlaceIsTouched(t *testing.T) {
	const n = (journalPages + 1) * pageChunks
	c, _ := fileOf(t, t.TempDir(), n)
	w := &watched{recordFile: c.file}
	c.file = w
	if err := c.add(batchOf(upTo(n)...)); err != nil {
		t.Fatal(err)
	}
	want := "[journal flush place flush journal flush place flush]"
	if got := fmt.Sprint(w.log); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
}

func TestTheNewestCopyInTheJournalCounts(t *testing.T) {
	older, newer, torn := newPage(7), newPage(7), newPage(7)
	older.seal()
	for range 2 {
		newer.seal()
	}
	for range 3 {
		torn.seal()
	}
	torn[100] ^= 1
	for _, order := range [][]page{{older, torn, newer}, {newer, torn, older}} {
		var journal []byte
		for _, p := range order {
			journal = append(journal, p...)
		}
		if got := readJournal(journal); len(got) != 1 || got[7].version() != 2 {
			t.Errorf("%d pages, of version %d", len(got), got[7].version())
		}
	}
}

func read(t testing.TB, path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDamageToARecordIsNeverBelieved(t *testing.T) {
	c, path := fileOf(t, t.TempDir(), 300)
	if err := c.add(batchOf(upTo(300)...)); err != nil {
		t.Fatal(err)
	}
	good := read(t, path)
	clear(good[pageSize : firstPage*pageSize]) // the journal would heal it
	rapid.Check(t, func(rt *rapid.T) {
		bad := bytes.Clone(good)
		at := rapid.IntRange(0, len(bad)-1).Filter(func(at int) bool { return at < pageSize || at >= firstPage*pageSize }).Draw(rt, "byte")
		bad[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			rt.Fatal(err)
		}
		_, err := LoadChunks(path)
		var re *RecordError
		if !errors.As(err, &re) || re.Path != path {
			rt.Fatalf("a bit of byte %d was turned: %v", at, err)
		}
	})
	for _, n := range []int{0, 1, 100, pageSize, firstPage * pageSize, len(good) - 1} {
		if err := os.WriteFile(path, good[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		var re *RecordError
		if _, err := LoadChunks(path); !errors.As(err, &re) {
			t.Errorf("a file of %d bytes: %v", n, err)
		}
	}
	if _, err := LoadChunks(path + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestARecordIsPrivateAndReplacesAnOldOneWhole(t *testing.T) {
	c, path := fileOf(t, t.TempDir(), 3)
	if err := c.add(batchOf(0, 1, 2)); err != nil {
		t.Fatal(err)
	}
	again, err := CreateChunks(path, 9<<20, "another")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || again.DoneBytes() != 0 || again.Len() != 3 {
		t.Fatalf("%v, mode %s, %d bytes done", err, info.Mode(), again.DoneBytes())
	}
}

func TestARecordOfAHugeDiskStaysSmall(t *testing.T) {
	n := chunkCount(64<<40, ChunkSize)
	if size := (firstPage + pages(n)) * pageSize; size > n*33 {
		t.Fatalf("%d bytes for %d chunks of 64 TiB: %.2f a chunk", size, n, float64(size)/float64(n))
	}
}

func FuzzLoadChunks(f *testing.F) {
	c, path := fileOf(f, f.TempDir(), 130)
	if err := c.add(batchOf(0, 1, 129)); err != nil {
		f.Fatal(err)
	}
	f.Add(read(f, path))
	f.Add([]byte(recordMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "record")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := LoadChunks(path)
		if err != nil {
			if re := (*RecordError)(nil); !errors.As(err, &re) {
				t.Fatalf("neither loaded nor damaged: %v", err)
			}
			return
		}
		for i := range c.Len() {
			if _, err := c.Digest(i); err == nil && !c.Done(i) {
				t.Errorf("chunk %d has a digest and is not done", i)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A kill while a record is made leaves it half made, and only its own folder is
// swept.
func TestARecordIsMadeInItsOwnFolderAlone(t *testing.T) {
	elsewhere := t.TempDir()
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(elsewhere, long, long); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", elsewhere)
	fileOf(t, t.TempDir(), 3)
	info, err := os.Stat(elsewhere)
	if err != nil || !info.ModTime().Equal(long) {
		t.Errorf("something was made in %s: %v, %v", elsewhere, info.ModTime(), err)
	}
}
