//go:build e2e

package life

import (
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
)

var cheap = []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}

func TestAHeaderOverwrittenWithNoiseComesBackAndSoDoTheBytes(t *testing.T) {
	h := set(t, "--close")
	before := h.sh(t, `cryptsetup open --readonly --key-file "$1" /dev/vg0/imap-vda-luks x; sha256sum </dev/mapper/x; cryptsetup close x`, scenario.KeyFile)

	// What run has made can be moved off the host, and is still known of.
	h.sh(t, `cd "$1"/jobs/*/; sha256sum -c *.sha256; mkdir /root/stick; mv *.luks-header* /root/stick/; cd /root/stick; sha256sum -c *.sha256`, kept)
	h.does(t, 0, []string{"--state-dir", kept, "status", "imap-luks"}, "moved away")
	h.does(t, 0, []string{"header", "check", "imap-luks", "/root/stick/vda.luks-header"}, "vda  current")

	h.does(t, 0, []string{"header", "backup", "imap-luks"}, "vda: header saved to /var/lib/vmmigrate/headers/", "Move them off this host")
	h.sh(t, `cd /var/lib/vmmigrate/headers; sha256sum -c *.sha256; [ -z "$(find . -type f ! -perm 600)" ]; [ "$(ls -A | wc -l)" = 4 ]`)
	h.does(t, 0, []string{"header", "backup", "imap-luks", "--disk", "vda", "--out", "/root/vda.header"})
	h.does(t, 3, []string{"header", "backup", "imap-luks", "--disk", "vda", "--out", "/root/vda.header"}, "exists already")
	h.does(t, 2, []string{"header", "backup", "imap-luks", "--out", "/root/both"}, "--disk: vda, vdb")
	h.does(t, 0, []string{"header", "check", "imap-luks"}, "vda  current", "vdb  current")
	h.does(t, 0, []string{"header", "check", "imap-luks", "/root/vda.header"}, "vda  current")

	noise := func(t *testing.T) {
		h.sh(t, `dd if=/dev/urandom of=/dev/vg0/imap-vda-luks bs=1M count=16 conv=fsync status=none`)
	}
	t.Run("while it is locked", func(t *testing.T) {
		noise(t)
		h.does(t, 3, with("start", "imap-luks"), "is damaged or gone", "vmmigrate header restore imap-luks FILE")
		h.does(t, 0, []string{"status"}, "is damaged or gone")
		h.does(t, 5, []string{"header", "check", "imap-luks"}, "vda  live header damaged", "vdb  current")
		h.does(t, 2, []string{"header", "restore", "imap-luks", "/root/vda.header"}, "give --yes", "damaged or gone")
		h.does(t, 0, []string{"header", "restore", "imap-luks", "/root/vda.header", "--yes"}, "vda: header restored", "What was there before is in")
		after := h.sh(t, `cryptsetup open --readonly --key-file "$1" /dev/vg0/imap-vda-luks x; sha256sum </dev/mapper/x; cryptsetup close x`, scenario.KeyFile)
		if before != after {
			t.Error("the payload is not what it was")
		}
		h.does(t, 0, []string{"header", "restore", "imap-luks", "/root/vda.header", "--yes"}, "byte for byte")
	})
	t.Run("while it is open", func(t *testing.T) {
		h.does(t, 0, with("unlock", "imap-luks"))
		noise(t)
		h.does(t, 0, with("unlock", "imap-luks"), "is damaged or gone")
		h.does(t, 0, []string{"header", "restore", "imap-luks", "/root/vda.header", "--yes"})
		h.does(t, 0, []string{"lock", "imap-luks"})
		h.does(t, 0, with("unlock", "imap-luks"))
		after := h.sh(t, `sha256sum </dev/mapper/cr_imap_vda`)
		if before != after {
			t.Error("the payload is not what it was")
		}
		h.does(t, 0, []string{"lock", "imap-luks"})
	})
	t.Run("and one of another volume, or a damaged one, never", func(t *testing.T) {
		h.sh(t, `lvcreate -q --yes -L 24M -n other vg0; cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$1" /dev/vg0/other
			cryptsetup luksHeaderBackup --header-backup-file /root/other.header /dev/vg0/other
			cp /root/vda.header /root/torn.header; truncate -s 1M /root/torn.header
			cp /root/vda.header /root/flipped.header; cp /root/vda.header.sha256 /root/flipped.header.sha256; printf x | dd of=/root/flipped.header bs=1 seek=300000 conv=notrunc status=none`, scenario.KeyFile)
		h.does(t, 3, []string{"header", "restore", "imap-luks", "/root/other.header", "--yes"}, "holds the header of another volume")
		h.does(t, 3, []string{"header", "restore", "imap-luks", "/root/torn.header", "--yes"}, "holds no LUKS header, or only a part")
		h.does(t, 3, []string{"header", "restore", "imap-luks", "/root/flipped.header", "--yes"}, "its SHA-256 is not the one beside it")
		h.does(t, 3, []string{"header", "restore", "imap-luks", "/root/none", "--yes"}, "no such file")
		h.does(t, 0, []string{"header", "check", "imap-luks"}, "vda  current")
	})
	t.Run("keys are added, changed and taken away, never the last", func(t *testing.T) {
		h.sh(t, `cd /root; printf second >second.key; printf third >third.key; chmod 600 *.key`)
		key := func(verb string, args ...string) []string {
			words := append([]string{"key", verb, "imap-luks"}, args...)
			if verb == "add" || verb == "change" {
				words = append(words, cheap...)
			}
			return words
		}
		h.does(t, 3, with(key("remove", "--slot", "0")...), "is the last key slot")
		h.does(t, 0, with(key("test")...), "vda: the key fits", "key slot 0")
		h.does(t, 1, key("add", "--key-file", "/root/third.key", "--new-key-file", "/root/second.key"), "the key does not unlock")
		h.does(t, 0, with(key("add", "--new-key-file", "/root/second.key")...), "vda: key added", "vdb: key added", "header saved")
		h.does(t, 3, with(key("remove", "--slot", "0")...), "is that of slot 0 itself")
		h.does(t, 5, []string{"header", "check", "imap-luks", "/root/vda.header"}, "vda  outdated", "it has the key slots 0 and the volume now 0, 1")
		h.does(t, 0, []string{"header", "check", "imap-luks"}, "vda  current", "vdb  current")
		h.does(t, 0, key("change", "--key-file", "/root/second.key", "--new-key-file", "/root/third.key"), "vda: key added", "vda: key taken away")
		h.does(t, 1, key("test", "--key-file", "/root/second.key"), "does not unlock")
		h.does(t, 0, key("remove", "--slot", "0", "--key-file", "/root/third.key", "--no-header-backup"), "vda: key taken away", "open with the older keys")
		h.does(t, 1, with(key("test")...), "does not unlock")
		h.does(t, 0, key("test", "--key-file", "/root/third.key"), "key slot 2")
		h.does(t, 5, []string{"header", "check", "imap-luks"}, "outdated")
		h.does(t, 0, []string{"unlock", "imap-luks", "--key-file", "/root/third.key"})
		h.open(t, vda, vdb)
		if status := h.does(t, 0, []string{"status", "--output", "json"}); strings.Count(status, `"slot": 2`) != 2 {
			t.Errorf("status: %s", status)
		}
	})
}
