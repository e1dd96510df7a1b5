package luks

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

const anyUUID = "11111111-2222-3333-4444-555555555555"

// spec is the volume whose header lies in testdata.
func spec() FormatSpec {
	return FormatSpec{Device: "/dev/vg0/lin", UUID: anyUUID, Type: LUKS2, Cipher: "aes-xts-plain64", KeySize: 512, Hash: "sha512", SectorSize: 512, Offset: 16 << 20}
}

func headers() []answer {
	return []answer{
		{cmd: "cryptsetup luksDump --batch-mode --dump-json-metadata -- /dev/vg0/lin", file: "luks2.json"},
		{cmd: "cryptsetup luksDump --batch-mode -- /dev/vg0/lin", file: "luks2.txt"},
	}
}

func TestAVolumeIsFormattedByOneCommandThatLeavesNothingToChoose(t *testing.T) {
	client, script := scripted(t, append(headers(), answer{cmd: "cryptsetup luksFormat "})...)
	header, err := client.Format(t.Context(), spec(), aKey(t, "secret\n"))
	if err != nil || header.UUID != anyUUID || header.Offset != 16<<20 {
		t.Errorf("%+v, %v", header, err)
	}
	want := []string{"cryptsetup luksFormat --batch-mode --type luks2 --uuid " + anyUUID + " --cipher=aes-xts-plain64 --key-size 512 --sector-size 512 --offset 32768 --hash=sha512 --key-file=- -- /dev/vg0/lin"}
	if diff := cmp.Diff(want, script.changes()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsToldIsPassedOnAndWhatIsNotIsLeftToCryptsetup(t *testing.T) {
	s := spec()
	s.PBKDF, s.PBKDFMemory, s.PBKDFForceIterations, s.IterTime, s.Label = "argon2id", 1024, 4, 2000, "-a b"
	got := strings.Join(s.args(), " ")
	for _, want := range []string{"--pbkdf=argon2id", "--pbkdf-memory 1024", "--pbkdf-force-iterations 4", "--iter-time 2000", "--label=-a b"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if got := strings.Join(spec().args(), " "); strings.Contains(got, "pbkdf") || strings.Contains(got, "label") || strings.Contains(got, "iter") {
		t.Error(got)
	}
}

func TestAKeyIsOnStandardInputAndNowhereElse(t *testing.T) {
	const secret = "correct horse\n"
	client, script := scripted(t, append(headers(), answer{cmd: "cryptsetup "})...)
	ctx, key := t.Context(), aKey(t, secret)
	_, err := client.Format(ctx, spec(), key)
	if err := errors.Join(err, client.Open(ctx, "/dev/vg0/lin", "cr", key, OpenOptions{}), client.TestKey(ctx, "/dev/vg0/lin", key)); err != nil {
		t.Fatal(err)
	}
	keyed := 0
	for _, cmd := range script.ran {
		if strings.Contains(cmd.String(), "correct horse") || strings.Contains(strings.Join(cmd.Env, " "), "horse") || len(cmd.Inputs) > 0 {
			t.Errorf("shown in %v", cmd)
		}
		if len(cmd.Stdin) == 0 {
			continue
		}
		keyed++
		if string(cmd.Stdin) != secret || !strings.Contains(cmd.String(), " --key-file=- ") || strings.Contains(cmd.String(), "keyfile-size") {
			t.Errorf("%s got %q", cmd, cmd.Stdin)
		}
	}
	if keyed != 3 {
		t.Errorf("%d commands got the key", keyed)
	}
}

func TestOfALargeKeyTheSizeIsTold(t *testing.T) {
	// Without it, cryptsetup 2.6.1 took 75 seconds to read 8 MiB; with it 0.3.
	client, script := scripted(t, answer{cmd: "cryptsetup "})
	if err := client.TestKey(t.Context(), "/dev/x", aKey(t, strings.Repeat("k", 100_000))); err != nil {
		t.Error(err)
	}
	if line := script.ran[0].String(); !strings.HasSuffix(line, "--key-file=- --keyfile-size 100000 -- /dev/x") {
		t.Error(line)
	}
}

func TestADeviceTooSmallIsNotTouched(t *testing.T) {
	client, script := scripted(t)
	client.size = func(string) (int64, error) { return 16<<20 + 4095, nil }
	_, err := client.Format(t.Context(), spec(), aKey(t, "x"))
	want := error(&TooSmallError{Device: "/dev/vg0/lin", Size: 16<<20 + 4095, Need: 16<<20 + 4096})
	if diff := cmp.Diff(want, err); diff != "" || len(script.ran) != 0 {
		t.Errorf("%s\nran %v", diff, script.ran)
	}
}

func TestASpecThatCryptsetupWouldRefuseIsNotTried(t *testing.T) {
	for claim, change := range map[string]func(*FormatSpec){
		"Device: none":               func(s *FormatSpec) { s.Device = "" },
		"Type: unknown":              func(s *FormatSpec) { s.Type = "luks3" },
		"UUID: none":                 func(s *FormatSpec) { s.UUID = "" },
		"UUID: upper case":           func(s *FormatSpec) { s.UUID = strings.ToUpper("aaaaaaaa" + anyUUID[8:]) },
		"Offset: no whole block":     func(s *FormatSpec) { s.Offset += 512 },
		"Offset: within the header":  func(s *FormatSpec) { s.Offset = 8 << 20 },
		"Offset: none":               func(s *FormatSpec) { s.Offset = 0 },
		"Offset: negative":           func(s *FormatSpec) { s.Offset = -4096 },
		"SectorSize: left to choose": func(s *FormatSpec) { s.SectorSize = 0 },
		"SectorSize: 4096 in LUKS1":  func(s *FormatSpec) { s.Type, s.SectorSize = LUKS1, 4096 },
		"PBKDF: argon2id in LUKS1":   func(s *FormatSpec) { s.Type, s.PBKDF = LUKS1, "argon2id" },
		"PBKDF: negative":            func(s *FormatSpec) { s.IterTime = -1 },
		"Label: in LUKS1":            func(s *FormatSpec) { s.Type, s.Label = LUKS1, "x" },
		"Cipher: left to choose":     func(s *FormatSpec) { s.Cipher = "" },
		"KeySize: no whole bytes":    func(s *FormatSpec) { s.KeySize = 511 },
	} {
		client, script := scripted(t)
		s := spec()
		change(&s)
		_, err := client.Format(t.Context(), s, aKey(t, "x"))
		var bad *SpecError
		if field, _, _ := strings.Cut(claim, ":"); !errors.As(err, &bad) || bad.Field != field || bad.Reason == "" {
			t.Errorf("%s: %v", claim, err)
		}
		if len(script.ran) != 0 {
			t.Errorf("%s: ran %v", claim, script.ran)
		}
	}
	client, _ := scripted(t)
	var bad *KeyError
	if _, err := client.Format(t.Context(), spec(), Key{}); !errors.As(err, &bad) {
		t.Error(err)
	}
}

func TestAVolumeOfAnotherOffsetOrUUIDThanToldIsAnError(t *testing.T) {
	client, _ := scripted(t, append(headers(), answer{cmd: "cryptsetup luksFormat "})...)
	s := spec()
	s.Offset = 32 << 20
	var offset *OffsetError
	if _, err := client.Format(t.Context(), s, aKey(t, "x")); !errors.As(err, &offset) || *offset != (OffsetError{Device: "/dev/vg0/lin", Want: 32 << 20, Got: 16 << 20}) {
		t.Error(err)
	}
	s = spec()
	s.UUID = "21111111-2222-3333-4444-555555555555"
	if _, err := client.Format(t.Context(), s, aKey(t, "x")); err == nil {
		t.Error("another UUID passes")
	}
}

func TestCryptsetupsWordsAreUnderstoodWithTheirExitCode(t *testing.T) {
	const device, mapper = "/dev/vg0/lin", "cr_x"
	for _, test := range []struct {
		code  int
		words string
		want  error
	}{
		{2, "No key available with this passphrase.", &WrongKeyError{Device: device}},
		{1, "Device /dev/vg0/lin is not a valid LUKS device.", &NotLUKSError{Device: device}},
		{4, "Device /dev/vg0/lin does not exist or access denied.", &NotFoundError{Kind: "device", Name: device}},
		{4, "Device cr_x is not active.", &NotFoundError{Kind: "mapping", Name: mapper}},
		{5, "Device cr_x already exists.", &ExistsError{Mapper: mapper}},
		{5, "device-mapper: remove ioctl on cr_x  failed: Device or resource busy\nDevice cr_x is still in use.", &BusyError{Mapper: mapper}},
		{5, "Cannot use device /dev/vg0/lin which is in use (already mapped or mounted).", &InUseError{Device: device}},
		{1, "Cannot exclusively open /dev/vg0/lin, device in use.", &InUseError{Device: device}},
	} {
		got := recognise(&command.Error{ExitCode: test.code, Stderr: test.words}, device, mapper)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%d %s\n%s", test.code, test.words, diff)
		}
		// The same words with another code, or the code without the words,
		// stand for nothing that is known.
		for _, other := range []*command.Error{{ExitCode: 3, Stderr: test.words}, {ExitCode: test.code, Stderr: "Something else."}} {
			if got := recognise(other, device, mapper); !errors.Is(got, other) {
				t.Errorf("%d %s is %v", other.ExitCode, other.Stderr, got)
			}
		}
	}
	if got := recognise(nil, device, mapper); got != nil {
		t.Error(got)
	}
}
