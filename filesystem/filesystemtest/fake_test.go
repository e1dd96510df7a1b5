package filesystemtest

import (
	"io/fs"
	"strings"
	"testing"
)

func TestTheFakeDoesWhatTheRealToolsDo(t *testing.T) {
	fake := New()
	fake.Content = func(device string) (string, error) {
		if strings.HasSuffix(device, "-none") {
			return "", fs.ErrNotExist
		}
		return device, nil
	}
	Conformance(t, Env{
		Client: fake, Device: "/dev/a", Other: "/dev/b", Folder: "/srv", Size: 400 << 20,
		Put: func(_ *testing.T, path string) { fake.Put(path) }, Link: func(_ *testing.T, path string) { fake.Link(path) },
		Hold: func(_ *testing.T, dir string) func() {
			fake.Hold(dir, "process 1 (sh)")
			return func() { fake.Hold(dir) }
		},
	})
}
