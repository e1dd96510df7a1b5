package luks

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestALUKS2HeaderIsReadFromItsMetadata(t *testing.T) {
	client, _ := scripted(t, headers()...)
	got, err := client.Header(t.Context(), "/dev/vg0/lin")
	want := Header{
		Type: LUKS2, UUID: anyUUID, Cipher: "aes-xts-plain64", KeySize: 512, Hash: "sha512", SectorSize: 512, Offset: 16 << 20,
		Flags: []string{"allow-discards", "no-read-workqueue"},
		Keyslots: []Keyslot{
			{ID: 0, PBKDF: "pbkdf2", Hash: "sha512", Iterations: 1000},
			{ID: 10, PBKDF: "argon2id", Hash: "sha256", Iterations: 4, Memory: 32, Parallel: 1},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestALUKS1HeaderIsReadFromItsDump(t *testing.T) {
	client, script := scripted(t, answer{cmd: "cryptsetup luksDump --batch-mode -- /dev/x", file: "luks1.txt"})
	got, err := client.Header(t.Context(), "/dev/x")
	want := Header{
		Type: LUKS1, UUID: anyUUID, Cipher: "aes-xts-plain64", KeySize: 512, Hash: "sha512", SectorSize: 512, Offset: 4104 * 512,
		Keyslots: []Keyslot{{ID: 0, PBKDF: "pbkdf2", Hash: "sha512", Iterations: 1000}, {ID: 2, PBKDF: "pbkdf2", Hash: "sha512", Iterations: 2000}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if len(script.changes()) != 0 {
		t.Errorf("ran %q", script.changes())
	}
}

func TestAnOffsetBeyondTwoTerabytesOfSectorsIsRead(t *testing.T) {
	got, err := parseDump([]byte(strings.Replace(read(t, "luks1.txt"), "4104", "4294967288", 1)))
	if err != nil || got.Offset != 4294967288*512 {
		t.Errorf("%d, %v", got.Offset, err)
	}
}

func TestAHeaderThatMakesNoSenseIsAnError(t *testing.T) {
	for claim, change := range map[string][2]string{
		"no version":      {"Version:       \t1", "Version:       \t3"},
		"no UUID":         {"UUID:", "ID:"},
		"no offset":       {"Payload offset:\t4104", "Payload offset:\t"},
		"a bad offset":    {"4104", "-8"},
		"a huge offset":   {"4104", "99999999999"},
		"no key size":     {"MK bits:       \t512", "MK bits:       \t0"},
		"no cipher":       {"Cipher name:", "Cipher:"},
		"a bad slot":      {"Key Slot 0", "Key Slot x"},
		"bad iterations ": {"Iterations:         \t1000", "Iterations:         \tmany"},
	} {
		if got, err := parseDump([]byte(strings.Replace(read(t, "luks1.txt"), change[0], change[1], 1))); err == nil {
			t.Errorf("%s: %+v", claim, got)
		}
	}
	for claim, change := range map[string][2]string{
		"no JSON":                {"{", ""},
		"no segment":             {`"segments"`, `"pieces"`},
		"a segment in the clear": {`"type":"crypt"`, `"type":"linear"`},
		"an offset of words":     {`"16777216"`, `"16M"`},
		"a negative offset":      {`"16777216"`, `"-1"`},
		"an offset as a number":  {`"16777216"`, `16777216`},
		"a slot of no number":    {`"10":{`, `"ten":{`},
	} {
		var h Header
		if err := h.metadata([]byte(strings.Replace(read(t, "luks2.json"), change[0], change[1], 1))); err == nil {
			t.Errorf("%s: %+v", claim, h)
		}
	}
}

func TestAVolumeBeingReencryptedSaysSo(t *testing.T) {
	var h Header
	text := strings.Replace(read(t, "luks2.json"), `"config":{`, `"config":{"requirements":{"mandatory":["online-reencrypt-v2"]},`, 1)
	if err := h.metadata([]byte(text)); err != nil || !cmp.Equal(h.Requirements, []string{"online-reencrypt-v2"}) {
		t.Errorf("%q, %v", h.Requirements, err)
	}
}

func TestADeviceIsLUKSOrNotOrNotThere(t *testing.T) {
	for _, test := range []struct {
		answer answer
		is     bool
		bad    bool
	}{
		{answer{}, true, false},
		{answer{code: 1}, false, false},
		{answer{code: 4, stderr: "Device /dev/x does not exist or access denied."}, false, true},
		{answer{code: 1, stderr: "Cannot read the device."}, false, true},
	} {
		test.answer.cmd = "cryptsetup isLuks -- /dev/x"
		client, _ := scripted(t, test.answer)
		if is, err := client.IsLUKS(t.Context(), "/dev/x"); is != test.is || (err != nil) != test.bad {
			t.Errorf("%+v: %v, %v", test.answer, is, err)
		}
	}
	client, _ := scripted(t, answer{cmd: "cryptsetup luksDump", code: 1, stderr: "Device /dev/x is not a valid LUKS device."})
	var not *NotLUKSError
	if _, err := client.Header(t.Context(), "/dev/x"); !errors.As(err, &not) || not.Device != "/dev/x" {
		t.Error(err)
	}
}

func FuzzDump(f *testing.F) {
	f.Add(read(f, "luks1.txt"))
	f.Add(read(f, "luks2.txt"))
	f.Add("Version:\t1\nUUID:\tx\nKey Slot 0: ENABLED\n\tIterations: 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseDump([]byte(text))
		if err == nil && (h.UUID == "" || h.Type != LUKS1 && h.Type != LUKS2 || h.Offset < 0 || h.KeySize < 0) {
			t.Errorf("%+v", h)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add(read(f, "luks2.json"))
	f.Add(`{"segments":{"0":{"type":"crypt","offset":"0"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var h Header
		if err := h.metadata([]byte(text)); err == nil && (h.Offset < 0 || h.KeySize < 0) {
			t.Errorf("%+v", h)
		}
	})
}
