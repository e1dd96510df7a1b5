package main

import (
	"slices"
	"testing"
)

// As QEMU 7.2 says it.
func TestTheOtherFilesOfAnImageAreItsDataAndWhatIsBehind(t *testing.T) {
	for name, c := range map[string]struct {
		text         string
		data, behind []string
	}{
		"an image alone": {`[{"filename": "/i/disk", "format": "qcow2", "format-specific": {"type": "qcow2", "data": {"compat": "1.1"}}}]`, nil, nil},
		"a data file": {
			`[{"filename": "/i/disk", "format": "qcow2", "format-specific": {"type": "qcow2", "data": {"compat": "1.1", "data-file": "/d/dd", "data-file-raw": false}}}]`,
			[]string{"/d/dd"},
			nil,
		},
		"a vmdk in one piece": {`[{"filename": "/i/disk", "format": "vmdk", "format-specific": {"type": "vmdk", "data": {"cid": 4073161892, "extents": [{"filename": "/i/disk", "format": ""}]}}}]`, nil, nil},
		"a vmdk in two": {
			`[{"filename": "/i/disk", "format": "vmdk", "format-specific": {"type": "vmdk", "data": {"extents": [{"filename": "/i/disk-f001.vmdk", "format": "FLAT"}, {"filename": "disk-f002.vmdk", "format": "FLAT"}]}}}]`,
			[]string{"/i/disk-f001.vmdk", "/i/disk-f002.vmdk"},
			nil,
		},
		"a chain, of which one has a data file": {
			`[{"filename": "/i/disk", "format": "qcow2", "full-backing-filename": "/i/b", "backing-filename": "b"},
			{"filename": "/i/b", "format": "qcow2", "full-backing-filename": "/t/base", "format-specific": {"type": "qcow2", "data": {"data-file": "/t/data"}}}, {"filename": "/t/base", "format": "raw"}]`,
			nil,
			[]string{"/i/b", "/t/data", "/t/base"},
		},
		"a raw disk": {`[{"filename": "/i/disk", "format": "raw", "format-specific": {"type": "file", "data": {}}}]`, nil, nil},
	} {
		files, err := parseImageFiles([]byte(c.text), "/i/disk")
		if err != nil || !slices.Equal(files.Data, c.data) || !slices.Equal(files.Behind, c.behind) {
			t.Errorf("%s: %+v, %v", name, files, err)
		}
	}
	if _, err := parseImageFiles([]byte("image: disk"), "/i/disk"); err == nil {
		t.Error("what is no JSON is taken for a chain")
	}
}
