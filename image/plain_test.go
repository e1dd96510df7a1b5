package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// memory is a file that is in memory.
type memory []byte

func (m memory) Size() int64  { return int64(len(m)) }
func (m memory) Close() error { return nil }

func (m memory) ReadAt(p []byte, at int64) (int, error) {
	if at >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// mapper answers for qemu-img map.
type mapper struct {
	answer func(args []string) (string, error)
	asked  atomic.Int32
}

func (m *mapper) Run(ctx context.Context, cmd command.Cmd) (command.Result, error) {
	m.asked.Add(1)
	if !cmd.ReadOnly || cmd.Name != "qemu-img" || cmd.Args[0] != "map" {
		return command.Result{}, fmt.Errorf("%s is run", cmd)
	}
	text, err := m.answer(cmd.Args)
	return command.Result{Stdout: []byte(text)}, errors.Join(err, context.Cause(ctx))
}

// mapped is a disk of 1 MiB on a raw one, in files of 512 KiB.
func mapped(t *testing.T, answer func(args []string) (string, error)) (*plain, *mapper) {
	t.Helper()
	m := &mapper{answer: answer}
	chain := Chain{{Path: "/i/top", Format: QCOW2, Size: 1 << 20, Cluster: 65536}, {Path: "/i/base", Format: Raw, Size: 1 << 20}}
	p, err := Tools{Runner: m, OpenFile: func(string) (File, error) { return memory(make([]byte, 512<<10)), nil }}.openPlain(chain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return p, m
}

func entries(t *testing.T, all ...mapEntry) string {
	t.Helper()
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.ToLower(string(text)), `"offset":null`, `"present":true`)
}

func at(offset int64) *int64 { return &offset }

// A map as QEMU 7.2 prints it: what is compressed has no offset.
func TestOnlyWhatLiesInAFileAsItIsIsReadFromThere(t *testing.T) {
	p, m := mapped(t, func([]string) (string, error) {
		return `[{ "start": 0, "length": 131072, "depth": 0, "present": true, "zero": false, "data": true, "offset": 327680},
{ "start": 131072, "length": 65536, "depth": 0, "present": true, "zero": false, "data": true},
{ "start": 196608, "length": 65536, "depth": 0, "present": true, "zero": false, "data": true, "compressed": true, "offset": 65536},
{ "start": 262144, "length": 262144, "depth": 1, "present": true, "zero": false, "data": true, "offset": 262144},
{ "start": 524288, "length": 524288, "depth": 1, "present": false, "zero": true, "data": false}]`, nil
	})
	parts, err := p.pieces(65536, 1<<20-65536)
	want := []extent{
		{start: 65536, end: 131072, file: 0, offset: 327680 + 65536},
		{start: 131072, end: 196608, file: -1},
		{start: 196608, end: 262144, file: -1},
		{start: 262144, end: 524288, file: 1, offset: 262144},
		{start: 524288, end: 1048576, file: -1, zero: true},
	}
	if err != nil || !slices.Equal(parts, want) {
		t.Errorf("it is\n%+v, %v, not\n%+v", parts, err, want)
	}
	if parts, err = p.pieces(262144+512, 512); err != nil || len(parts) != 1 || parts[0] != (extent{start: 262656, end: 263168, file: 1, offset: 262656}) {
		t.Errorf("a part of one is %+v, %v", parts, err)
	}
	if parts, err = p.pieces(131072-4096, 65536+8192); err != nil || len(parts) != 0 {
		t.Errorf("three parts of one small read are not left to QEMU: %+v, %v", parts, err)
	}
	if n := m.asked.Load(); n != 1 {
		t.Errorf("qemu-img was asked %d times", n)
	}
}

func TestAMapThatCantBeTrueIsRefused(t *testing.T) {
	const half, whole = 512 << 10, 1 << 20
	end := mapEntry{Start: half, Length: half, Zero: true}
	for name, c := range map[string]struct {
		text string
		says string
	}{
		"no JSON at all":              {"Offset          Length", "invalid character"},
		"nothing":                     {"", "unexpected end"},
		"an empty list":               {"[]", "ends at 0"},
		"a number too large":          {`[{"start": 0, "length": 99999999999999999999}]`, "cannot unmarshal"},
		"a hole in it":                {entries(t, mapEntry{Length: half, Zero: true}, mapEntry{Start: half + 512, Length: half - 512, Zero: true}), "are to come"},
		"one place twice":             {entries(t, mapEntry{Length: half, Zero: true}, mapEntry{Length: half, Zero: true}, end), "are to come"},
		"an end too early":            {entries(t, mapEntry{Length: half, Zero: true}), "ends at 524288"},
		"an end too late":             {entries(t, mapEntry{Length: whole + 512, Zero: true}), "are to come"},
		"a length below zero":         {entries(t, mapEntry{Length: -512, Zero: true}, mapEntry{Start: -512, Length: whole + 512, Zero: true}), "are to come"},
		"a length of zero":            {entries(t, mapEntry{}, mapEntry{Length: whole, Zero: true}), "are to come"},
		"a layer that is not there":   {entries(t, mapEntry{Length: half, Data: true, Depth: 2, Offset: at(0)}, end), "layer 2 of 2"},
		"a layer below zero":          {entries(t, mapEntry{Length: half, Data: true, Depth: -1, Offset: at(0)}, end), "layer -1 of 2"},
		"an offset below zero":        {entries(t, mapEntry{Length: half, Data: true, Offset: at(-65536)}, end), "/i/top, which has 524288 bytes"},
		"an offset at the end":        {entries(t, mapEntry{Length: half, Data: true, Offset: at(half)}, end), "/i/top, which has 524288 bytes"},
		"an offset far beyond it":     {entries(t, mapEntry{Length: half, Data: true, Offset: at(1<<63 - 1)}, end), "/i/top, which has 524288 bytes"},
		"a cluster beyond the end":    {entries(t, mapEntry{Length: half, Data: true, Offset: at(65536)}, end), "/i/top, which has 524288 bytes"},
		"a sector beyond a raw one's": {entries(t, mapEntry{Length: half, Data: true, Depth: 1, Offset: at(512)}, end), "/i/base, which has 524288 bytes"},
		"one place for two": {
			entries(t, mapEntry{Length: 131072, Data: true, Offset: at(65536)}, mapEntry{Start: 131072, Length: half - 131072, Zero: true},
				mapEntry{Start: half, Length: 65536, Data: true, Offset: at(131072)}, mapEntry{Start: half + 65536, Length: half - 65536, Zero: true}),
			"the bytes from 0 and from 524288 of the disk are both at 131072 of /i/top",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := mapped(t, func([]string) (string, error) { return c.text, nil })
			for range 2 { // it stays refused
				parts, err := p.pieces(0, 4096)
				var bad *Error
				if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.says) || bad.Remedy == "" {
					t.Errorf("it is %+v, %v", parts, err)
				}
			}
		})
	}
}

// QEMU reads as zeros what a file lacks of its last cluster.
func TestAFileMayEndWithinItsLastCluster(t *testing.T) {
	p, _ := mapped(t, func([]string) (string, error) {
		return entries(t, mapEntry{Length: 524288, Data: true, Offset: at(65536 - 512)}, mapEntry{Start: 524288, Length: 524288, Zero: true}), nil
	})
	parts, err := p.pieces(0, 1<<20)
	want := []extent{
		{start: 0, end: 458752 + 512, file: 0, offset: 65536 - 512},
		{start: 458752 + 512, end: 524288, file: -1},
		{start: 524288, end: 1048576, file: -1, zero: true},
	}
	if err != nil || !slices.Equal(parts, want) {
		t.Errorf("it is\n%+v, %v, not\n%+v", parts, err, want)
	}
}

// The two layers may well have data at the same offset.
func TestOnePlaceOfTwoFilesIsTwo(t *testing.T) {
	p, _ := mapped(t, func([]string) (string, error) {
		return entries(t, mapEntry{Length: 262144, Data: true, Offset: at(262144)}, mapEntry{Start: 262144, Length: 262144, Depth: 1, Data: true, Offset: at(262144)},
			mapEntry{Start: 524288, Length: 524288, Zero: true}), nil
	})
	if parts, err := p.pieces(0, 1<<20); err != nil || len(parts) != 3 {
		t.Errorf("%+v, %v", parts, err)
	}
}

func TestWithoutAMapAllIsLeftToQEMU(t *testing.T) {
	p, m := mapped(t, func([]string) (string, error) { return "", errors.New("no qemu-img here") })
	for i := range int64(3) {
		if parts, err := p.pieces(i*4096, 4096); err != nil || len(parts) != 0 {
			t.Errorf("%+v, %v", parts, err)
		}
	}
	if n := m.asked.Load(); n != 1 {
		t.Errorf("qemu-img was asked %d times", n)
	}
}

// Windows of a large disk are asked for once each, and one ahead.
func TestALargeMapIsReadInWindowsThatAreForgotten(t *testing.T) {
	const size = 40 * windowMax
	m := &mapper{answer: func(args []string) (string, error) {
		var from, n int64
		if _, err := fmt.Sscanf(args[2]+" "+args[3], "--start-offset=%d --max-length=%d", &from, &n); err != nil {
			return "", err
		}
		return fmt.Sprintf(`[{"start": %d, "length": %d, "depth": 0, "zero": false, "data": true, "offset": %d}]`, from, n, from), nil
	}}
	p, err := Tools{Runner: m, OpenFile: func(string) (File, error) { return sized(size), nil }}.openPlain(Chain{{Path: "/i", Format: QCOW2, Size: size, Cluster: 2 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for at := int64(0); at < size; at += windowMax / 4 {
		for i := range int64(4) {
			group.Go(func() {
				from := at + i*4096
				if parts, err := p.pieces(from, 4096); err != nil || len(parts) != 1 || parts[0].offset != from {
					t.Errorf("%+v, %v", parts, err)
				}
			})
		}
		group.Wait()
	}
	if parts, err := p.pieces(windowMax-4096, 8192); err != nil || len(parts) != 0 {
		t.Errorf("what spans two windows: %+v, %v", parts, err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
	if n := m.asked.Load(); n != 40 {
		t.Errorf("qemu-img was asked %d times", n)
	}
	if len(p.maps) > 4 {
		t.Errorf("%d windows are remembered", len(p.maps))
	}
}

// sized is a file of that many bytes that nobody reads.
type sized int64

func (s sized) Size() int64                         { return int64(s) }
func (sized) Close() error                          { return nil }
func (sized) ReadAt(p []byte, _ int64) (int, error) { return len(p), nil }

func FuzzMap(f *testing.F) {
	f.Add([]byte(`[{"start": 0, "length": 1048576, "depth": 0, "zero": false, "data": true, "offset": 0}]`))
	f.Add([]byte(`[{"start":0,"length":524288,"depth":1,"data":true,"offset":0},{"start":524288,"length":524288,"depth":0,"data":true,"offset":9223372036854775807}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, _ := mapped(t, nil)
		all, err := p.extents(text, 0)
		if bad := (*Error)(nil); err != nil && !errors.As(err, &bad) {
			t.Fatalf("an error of another type: %v", err)
		} else if err != nil {
			return
		}
		at := int64(0)
		for _, e := range all {
			if e.start != at || e.end <= e.start || e.file >= 0 && (e.offset < 0 || e.offset+e.end-e.start > p.sizes[e.file]) {
				t.Fatalf("%+v", all)
			}
			at = e.end
		}
		if at != 1<<20 {
			t.Fatalf("it ends at %d", at)
		}
	})
}
