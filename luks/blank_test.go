package luks

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const ownHeader = `{"signatures": [{"type":"crypto_LUKS", "uuid":"0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d3e"},{"type":"crypto_LUKS", "uuid":"0B5A4F5E-7f3b-4f0e-9d86-3a6f0c1b2d3e"}]}`

const ownUUID = "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d3e"

// written is a device, here a file, of 4 MiB that was written all over.
func written(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatLiesOnADeviceIsReadFromWipefs(t *testing.T) {
	for text, want := range map[string][]Signature{
		"":                                     nil,
		"{\n   \"signatures\": [\n\n   ]\n}\n": nil,
		`{"signatures": [{"type":"ext4", "uuid":"ab"},{"type":"gpt", "uuid":null}]}`: {{Type: "ext4", UUID: "ab"}, {Type: "gpt"}},
	} {
		c, _ := scripted(t, answer{cmd: "wipefs --json --output=TYPE,UUID -- /", text: text})
		if got, err := c.Signatures(t.Context(), written(t)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	c, _ := scripted(t, answer{cmd: "wipefs", text: "no JSON"})
	if _, err := c.Signatures(t.Context(), written(t)); err == nil {
		t.Error("what is no JSON was read")
	}
	var missing *NotFoundError
	if _, err := c.Signatures(t.Context(), "/nowhere"); !errors.As(err, &missing) {
		t.Errorf("of no device: %v", err)
	}
}

func TestOnlyAHeadersOwnBytesAreErasedAndOnlyIfItIsAlone(t *testing.T) {
	const offset = 3<<20 + 4096
	for when, c := range map[string]struct {
		bears  string
		erased bool
		header bool // of the *ForeignError
	}{
		"its own":            {bears: ownHeader, erased: true},
		"nothing":            {bears: ""},
		"another's":          {bears: `{"signatures": [{"type":"crypto_LUKS", "uuid":"ff"}]}`},
		"its own and a disk": {bears: `{"signatures": [{"type":"gpt", "uuid":null},{"type":"crypto_LUKS", "uuid":"` + ownUUID + `"}]}`, header: true},
	} {
		client, _ := scripted(t, answer{cmd: "wipefs", text: c.bears})
		path := written(t)
		err := client.Erase(t.Context(), path, ownUUID, offset)
		var foreign *ForeignError
		if isForeign := errors.As(err, &foreign); isForeign != (c.bears != "" && !c.erased) || err != nil && !isForeign || isForeign && foreign.Header != c.header {
			t.Errorf("%s: %v", when, err)
		}
		want := bytes.Repeat([]byte{7}, 4<<20)
		if c.erased {
			clear(want[:offset])
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
			t.Errorf("%s: what is left is not what it should be", when)
		}
	}
}

// countdown is a context that ends when it was asked so often.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestAnErasureCutShortLeavesTheHeaderToTheLast(t *testing.T) {
	path := written(t)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := zero(&countdown{Context: t.Context(), left: 3}, f, 4<<20); err == nil {
		t.Fatal("nothing cut it short")
	}
	if got, _ := os.ReadFile(path); got[0] != 7 || got[4<<20-1] != 0 {
		t.Error("the header went first")
	}
}
