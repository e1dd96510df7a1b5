package luks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
)

func TestAKeyPrintsAsRedactedInEveryWay(t *testing.T) {
	const secret = "correct horse"
	key := aKey(t, secret)
	holder := struct {
		Name string
		Key  Key
		Ptr  *Key
		Any  any
	}{"x", key, &key, key}

	var out bytes.Buffer
	for _, value := range []any{key, &key, holder, &holder, []Key{key}, map[string]Key{"k": key}, fmt.Errorf("bad key %v", key)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%p", "%T", "%c"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		fmt.Fprintln(&out, value)
		text, err := json.Marshal(value)
		if err != nil {
			t.Error(err)
		}
		out.Write(text)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", value)
	}
	fmt.Fprint(&out, key.String(), key.GoString())
	for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("%d", []byte(secret)), fmt.Sprintf("%#v", []byte(secret))} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q was printed", form)
		}
	}
	if text, err := key.MarshalText(); err != nil || string(text) != redacted {
		t.Errorf("%s, %v", text, err)
	}
}

func TestMakingAKeyWipesWhereItCameFrom(t *testing.T) {
	source := []byte("secret\n")
	key, err := NewKey(source)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(source, make([]byte, 7)) {
		t.Errorf("left %q", source)
	}
	if got := key.Bytes(); string(got) != "secret\n" || key.Len() != 7 {
		t.Errorf("key %q", got)
	}
}

func TestAWipedKeyIsGoneForEveryCopyOfIt(t *testing.T) {
	key := aKey(t, "secret")
	copied, bytes := key, key.Bytes()
	copied.Wipe()
	if key.Len() != 0 || key.Bytes() != nil || copied.Bytes() != nil {
		t.Errorf("left %d bytes", key.Len())
	}
	if string(bytes) != "\x00\x00\x00\x00\x00\x00" {
		t.Errorf("a slice of it reads %q", bytes)
	}
	key.Wipe()
	Key{}.Wipe()
	if (Key{}).Len() != 0 {
		t.Error("the zero key has bytes")
	}
}

func TestAKeyIsReadByteForByteUpToTheLargest(t *testing.T) {
	for _, text := range []string{"x", "a\n", "\x00\xff\r\n", strings.Repeat("k", MaxKey)} {
		key, err := ReadKey(iotest.HalfReader(strings.NewReader(text)))
		if err != nil || string(key.Bytes()) != text {
			t.Errorf("%d bytes: %d, %v", len(text), key.Len(), err)
		}
		key.Wipe()
	}
}

func TestNothingAndTooMuchAreNoKey(t *testing.T) {
	for _, size := range []int{0, MaxKey + 1, MaxKey + 4096} {
		var bad *KeyError
		if _, err := ReadKey(strings.NewReader(strings.Repeat("k", size))); !errors.As(err, &bad) || strings.Contains(err.Error(), "kk") {
			t.Errorf("%d bytes read: %v", size, err)
		}
		if _, err := NewKey(bytes.Repeat([]byte("k"), size)); !errors.As(err, &bad) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	broken := errors.New("broken")
	if _, err := ReadKey(io.MultiReader(strings.NewReader("half a key"), iotest.ErrReader(broken))); !errors.Is(err, broken) || strings.Contains(err.Error(), "half") {
		t.Error(err)
	}
}
