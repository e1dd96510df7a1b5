package hypervisor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAURILeadsToThisHostsSockets(t *testing.T) {
	env := func(values map[string]string) func(string) string {
		return func(name string) string { return values[name] }
	}
	user := env(map[string]string{"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/u"})
	bare := env(map[string]string{"HOME": "/home/u"})
	for _, test := range []struct {
		uri     string
		getenv  func(string) string
		name    string
		sockets []string
	}{
		{"", user, "qemu:///system", []string{"/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"}},
		{"qemu:///system", user, "qemu:///system", []string{"/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"}},
		{"qemu+unix:///system", user, "qemu:///system", []string{"/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"}},
		{"qemu:///system?socket=/a%20b/sock", user, "qemu:///system", []string{"/a b/sock"}},
		{"qemu:///session", user, "qemu:///session", []string{"/run/user/7/libvirt/virtqemud-sock", "/run/user/7/libvirt/libvirt-sock"}},
		{"qemu:///session", bare, "qemu:///session", []string{"/home/u/.cache/libvirt/virtqemud-sock", "/home/u/.cache/libvirt/libvirt-sock"}},
		{"qemu:///session?socket=/s", user, "qemu:///session", []string{"/s"}},
		{"test:///default", user, "test:///default", []string{"/run/libvirt/libvirt-sock"}},
	} {
		got, err := resolve(test.uri, test.getenv)
		// Where /var/run is a folder of its own, its sockets follow.
		if len(got.sockets) > len(test.sockets) {
			got.sockets = got.sockets[:len(test.sockets)]
		}
		if err != nil || got.name != test.name || !slices.Equal(got.sockets, test.sockets) {
			t.Errorf("%q: %+v, %v", test.uri, got, err)
		}
	}
}

func TestAURIThatLeadsElsewhereIsRefusedWithTheReason(t *testing.T) {
	for _, uri := range []string{
		"qemu+ssh://root@host/system", "qemu+tcp:///system", "qemu://host/system", "qemu+unix://host/system", "xen:///system", "lxc:///", "esx://h",
		"qemu:///", "qemu:///embed?root=/x", "nonsense", "://", "/run/libvirt/libvirt-sock", "qemu",
	} {
		got, err := resolve(uri, func(string) string { return "" })
		var bad *URIError
		if !errors.As(err, &bad) || bad.URI != uri || bad.Reason == "" {
			t.Errorf("%q: %+v, %v", uri, got, err)
		}
	}
}

// readOnly is a connection that only gives.
type readOnly struct {
	net.Conn
	in io.Reader
}

func (r readOnly) Read(p []byte) (int, error) { return r.in.Read(p) }
func (readOnly) Close() error                 { return nil }

func TestTheGuardPassesPacketsOnByteForByteAndEndsAtABadLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream, want bytes.Buffer
		for range rapid.IntRange(0, 5).Draw(t, "packets") {
			body := rapid.SliceOfN(rapid.Byte(), minPacket-4, 200).Draw(t, "packet")
			_ = binary.Write(&stream, binary.BigEndian, uint32(len(body)+4)) // a buffer never fails
			stream.Write(body)
		}
		want.Write(stream.Bytes())
		bad := rapid.OneOf(rapid.Uint32Range(0, minPacket-1), rapid.Uint32Range(maxPacket+1, 1<<32-1)).Draw(t, "bad length")
		_ = binary.Write(&stream, binary.BigEndian, bad)
		stream.WriteString("and more")

		w := newWire(readOnly{in: stepped{&stream, rapid.IntRange(1, 50).Draw(t, "step")}})
		close(w.settled)
		got, err := io.ReadAll(w)
		if err == nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%d of %d bytes, %v", len(got), want.Len(), err)
		}
		if !w.isGone() {
			t.Error("the connection goes on")
		}
	})
}

// stepped gives a few bytes at a time.
type stepped struct {
	in   io.Reader
	most int
}

func (s stepped) Read(p []byte) (int, error) { return s.in.Read(p[:min(len(p), s.most)]) }

func TestAUUIDIsReadAndWrittenTheSame(t *testing.T) {
	const text = "6a1f6c1e-0b7d-4d5c-9a51-0000000000ff"
	id, ok := parseUUID(text)
	if !ok || formatUUID(id) != text {
		t.Errorf("%s, %v", formatUUID(id), ok)
	}
	for _, bad := range []string{"", "x", text + "0", text[1:], "6a1f6c1e-0b7d-4d5c-9a51-0000000000fg"} {
		if _, ok := parseUUID(bad); ok {
			t.Errorf("%q is one", bad)
		}
	}
}
