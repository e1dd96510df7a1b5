package luks

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestDirectIOIsAskedOfALoopDeviceAlone(t *testing.T) {
	for device, want := range map[string][]string{"loop3": {"losetup --direct-io=on /dev/loop3"}, "sdb1": nil} {
		c, s := scripted(t,
			answer{cmd: "dmsetup info", text: "DM_NAME='cr_web_vda':DM_MAJOR='254':DM_MINOR='3':DM_ATTR='L--w':DM_OPEN='0':DM_SEGMENTS='1':DM_EVENTS='0':DM_UUID='CRYPT-LUKS2-0b5a4f5e7f3b4f0e9d863a6f0c1b2d3e-cr_web_vda'\n"},
			answer{cmd: "dmsetup table", text: "0 16384 crypt aes-xts-plain64 :64:logon:x 0 7:3 32768\n"},
			answer{cmd: "losetup"})
		numbers := filepath.Join(c.sys, "dev/block")
		if err := os.MkdirAll(numbers, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../../devices/virtual/block/"+device, filepath.Join(numbers, "7:3")); err != nil {
			t.Fatal(err)
		}
		if err := c.DirectIO(t.Context(), "cr_web_vda"); err != nil || !slices.Equal(s.changes(), want) {
			t.Errorf("%s: %v, %v", device, s.changes(), err)
		}
	}
}
