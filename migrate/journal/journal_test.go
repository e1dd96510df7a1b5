package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func clock() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

type plan struct {
	VM string `json:"vm"`
}

func begin(t *testing.T) (dir string, j *Journal) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "job")
	j, err := Create(dir, plan{VM: "imap"}, clock)
	if err != nil {
		t.Fatal(err)
	}
	return dir, j
}

func add(t *testing.T, j *Journal, kind Kind, step string) {
	t.Helper()
	if err := j.Append(kind, step, "vda", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
}

func steps(records []Record) []string {
	var all []string
	for _, r := range records {
		all = append(all, string(r.Kind)+" "+r.Step)
	}
	return all
}

func TestAReopenedJournalHoldsWhatWasAppended(t *testing.T) {
	dir, j := begin(t)
	add(t, j, Intent, "copy")
	add(t, j, Done, "copy")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	add(t, again, End, "")
	read, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"begin ", "intent copy", "done copy", "end "}
	if diff := cmp.Diff(want, steps(read)); diff != "" {
		t.Error(diff)
	}
	if string(read[0].Data) != `{"vm":"imap"}` || read[0].Version != Version {
		t.Errorf("the first record is %+v", read[0])
	}
}

func TestATornLastRecordIsDropped(t *testing.T) {
	dir, j := begin(t)
	add(t, j, Intent, "copy")
	path := filepath.Join(dir, FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, err := encode(Record{Seq: 3, Kind: Done, Step: "copy"})
	if err != nil {
		t.Fatal(err)
	}
	for cut := range line {
		if err := os.WriteFile(path, append(append([]byte(nil), whole...), line[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Open(dir, clock)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if got := len(again.Records()); got != 2 {
			t.Fatalf("cut at %d: %d records", cut, got)
		}
		add(t, again, Done, "open") // takes the torn record's place
		if read, err := Read(dir); err != nil || len(read) != 3 || read[2].Step != "open" {
			t.Fatalf("cut at %d: after another record: %v, %v", cut, steps(read), err)
		}
	}
}

func TestZerosWhereTheLastRecordBelongsAreDropped(t *testing.T) {
	dir, j := begin(t)
	add(t, j, Intent, "copy")
	file, err := os.OpenFile(filepath.Join(dir, FileName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, clock)
	if err != nil || len(again.Records()) != 2 {
		t.Fatalf("%v", err)
	}
}

// Any single byte changed in the middle is noticed: the record is not read as
// something else.
func TestADamagedMiddleIsRefused(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := filepath.Join(t.TempDir(), "job")
		j, err := Create(dir, plan{VM: rapid.String().Draw(rt, "vm")}, clock)
		if err != nil {
			rt.Fatal(err)
		}
		n := rapid.IntRange(2, 6).Draw(rt, "records")
		for range n {
			if err := j.Append(Intent, "copy", "vda", nil); err != nil {
				rt.Fatal(err)
			}
		}
		path := filepath.Join(dir, FileName)
		data, err := os.ReadFile(path)
		if err != nil {
			rt.Fatal(err)
		}
		lastLine := strings.LastIndexByte(strings.TrimSuffix(string(data), "\n"), '\n') + 1
		at := rapid.IntRange(0, lastLine-1).Draw(rt, "at")
		flip := rapid.ByteRange(1, 255).Draw(rt, "flip")
		data[at] ^= flip
		if err := os.WriteFile(path, data, 0o600); err != nil {
			rt.Fatal(err)
		}
		_, err = Read(dir)
		var damaged *DamagedError
		if !errors.As(err, &damaged) {
			// Upper and lower case are the same hexadecimal digit.
			if data[at]|0x20 == (data[at]^flip)|0x20 && err == nil {
				return
			}
			rt.Fatalf("byte %d changed: %v", at, err)
		}
	})
}

func TestANewerFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	line, err := encode(Record{Seq: 1, Version: Version + 1, Kind: Begin})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, FileName), line, 0o600); err != nil {
		t.Fatal(err)
	}
	var newer *VersionError
	if _, err := Read(dir); !errors.As(err, &newer) || newer.Version != Version+1 {
		t.Errorf("got %v", err)
	}
}

func TestAnEmptyJournalHasNotBegun(t *testing.T) {
	dir := t.TempDir()
	var empty *EmptyError
	if _, err := Read(dir); !errors.As(err, &empty) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, FileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); !errors.As(err, &empty) {
		t.Errorf("empty file: %v", err)
	}
	if _, err := Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestCreateRefusesATakenName(t *testing.T) {
	dir, _ := begin(t)
	var unwritable *WriteError
	if _, err := Create(dir, plan{}, clock); !errors.As(err, &unwritable) || !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if names, err := List(filepath.Dir(dir)); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestAFailedWriteStopsTheJournal(t *testing.T) {
	_, j := begin(t)
	if err := j.file.Close(); err != nil {
		t.Fatal(err)
	}
	var unwritable *WriteError
	if err := j.Append(Intent, "copy", "", nil); !errors.As(err, &unwritable) {
		t.Fatalf("got %v", err)
	}
	if err := j.Append(Done, "copy", "", nil); !errors.As(err, &unwritable) {
		t.Errorf("a record after a failed one: %v", err)
	}
	if len(j.Records()) != 1 {
		t.Errorf("a record that was not written counts: %v", steps(j.Records()))
	}
}

func TestDiscardAndSweepLeaveNothing(t *testing.T) {
	dir, j := begin(t)
	parent := filepath.Dir(dir)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Discard(dir); err != nil {
		t.Fatal(err)
	}
	if err := Discard(dir); err != nil {
		t.Errorf("a second time: %v", err)
	}
	for _, name := range []string{trashPrefix + "a", unbornPrefix + "b", unbornPrefix + "alive"} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(parent, func(name string) bool { return name == "alive" }); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 || entries[0].Name() != unbornPrefix+"alive" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func FuzzDecodeNeverInventsARecord(f *testing.F) {
	line, err := encode(Record{Seq: 1, Version: 1, Kind: Begin})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(append([]byte(nil), line...), "0000"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, whole, err := decode("journal", data)
		if err != nil {
			return
		}
		if whole > int64(len(data)) {
			t.Fatalf("%d bytes of %d", whole, len(data))
		}
		for i, r := range records {
			if r.Seq != int64(i)+1 {
				t.Fatalf("record %d has number %d", i, r.Seq)
			}
		}
	})
}
