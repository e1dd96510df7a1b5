package lukstest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/luks/lukstest"
)

func TestTheFakeDoesWhatCryptsetupDoes(t *testing.T) {
	fake, sizes := lukstest.New(), map[string]int64{}
	fake.Size = func(device string) (int64, error) {
		if size, ok := sizes[device]; ok {
			return size, nil
		}
		return 0, errors.New("no such device")
	}
	lukstest.Conformance(t, lukstest.Env{
		Client: fake,
		Device: func(t *testing.T, size int64) string {
			device := fmt.Sprintf("/dev/vg0/%d", len(sizes))
			sizes[device] = size
			return device
		},
		Hold: func(_ *testing.T, m luks.Mapping) (func(), string) {
			fake.Hold(m.Name, "process 1 (qemu)")
			return func() { fake.Hold(m.Name) }, "process 1 (qemu)"
		},
	})
}

func TestAVolumeIsOneByWhicheverNameItsDeviceIsCalled(t *testing.T) {
	fake := lukstest.New()
	fake.Size = func(string) (int64, error) { return 32 << 20, nil }
	fake.Resolve = func(device string) string {
		if device == "/dev/vg0/a" {
			return "/dev/mapper/vg0-a"
		}
		return device
	}
	key, err := luks.NewKey([]byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	spec := luks.FormatSpec{Device: "/dev/vg0/a", UUID: "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d3e", Cipher: "aes-xts-plain64", KeySize: 512, SectorSize: 512, Offset: 16 << 20}
	if _, err := fake.Format(t.Context(), spec, key); err != nil {
		t.Fatal(err)
	}
	if err := fake.Open(t.Context(), "/dev/mapper/vg0-a", "cr", key, luks.OpenOptions{}); err != nil {
		t.Fatal(err)
	}
	if !fake.InUse("/dev/vg0/a") {
		t.Error("the device is not in use")
	}
	fake.Reboot()
	if fake.InUse("/dev/vg0/a") {
		t.Error("the device is in use after a reboot")
	}
	fake.Forget("/dev/mapper/vg0-a")
	if is, err := fake.IsLUKS(t.Context(), "/dev/vg0/a"); err != nil || is {
		t.Errorf("after it was removed: %v, %v", is, err)
	}
}
