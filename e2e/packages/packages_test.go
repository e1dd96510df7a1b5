//go:build e2e

package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

const repository = "../.."

// TestMain fails, rather than skips, on a machine that can't run a test host.
func TestMain(m *testing.M) {
	if err := testhost.CheckMachine(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// built makes the packages from a copy of the sources, under another umask, time
// zone and language than a second copy has, and returns their files by suffix.
func built(t *testing.T, dir, umask, zone, language string) map[string]string {
	t.Helper()
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "sh", "-euc", `
		umask "$1"; mkdir -p "$2"; cd "$3"
		unset MAKEFLAGS MFLAGS MAKELEVEL # of the make that runs the tests
		{ git ls-files -z --cached --others --exclude-standard; printf '.git\0'; } |
			tar -c --null --files-from - | tar -x -C "$2"
		make -s NFPM="$3/.cache/bin/nfpm" "$3/.cache/bin/nfpm" >&2
		cd "$2"; make -s packages NFPM="$3/.cache/bin/nfpm"`, "sh", umask, dir, root)
	c.Env = append(os.Environ(), "TZ="+zone, "LC_ALL="+language)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("make packages: %v\n%s%s", err, out, stderr.String())
	}
	files := make(map[string]string)
	for name := range strings.FieldsSeq(string(out)) {
		files[filepath.Ext(name)] = filepath.Join(dir, name)
	}
	if len(files) != 2 || files[".deb"] == "" || files[".rpm"] == "" {
		t.Fatalf("made were %q", out)
	}
	return files
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPackages(t *testing.T) {
	dir := t.TempDir()
	files := built(t, filepath.Join(dir, "a"), "022", "UTC", "C")
	for suffix, again := range built(t, filepath.Join(dir, "a rather longer", "path"), "077", "Asia/Kathmandu", "C.UTF-8") {
		if !bytes.Equal(read(t, files[suffix]), read(t, again)) {
			t.Errorf("two builds of %s differ: compare %s with %s", suffix, files[suffix], again)
		}
		if filepath.Base(files[suffix]) != filepath.Base(again) {
			t.Errorf("two builds are called %s and %s", files[suffix], again)
		}
	}
	t.Run("lintian finds no error", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), "lintian", "--allow-root", "--fail-on", "error", files[".deb"]).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})

	h, err := testhost.Start(t.Context(), testhost.Options{Disks: []testhost.Disk{{Size: 256 << 20}}, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(h.ConsoleTail())
		}
		h.PowerCut()
	})
	for suffix, file := range files {
		if err := h.CopyIn(t.Context(), file, "/root/vmmigrate"+suffix); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("dpkg", func(t *testing.T) { dpkg(t, host{h, t}) })
	t.Run("rpm", func(t *testing.T) { rpm(t, host{h, t}) })
}

type host struct {
	*testhost.Host
	t *testing.T
}

// sh runs a script that has to succeed, and returns what it printed.
func (h host) sh(script string) string {
	h.t.Helper()
	out, err := h.Shell(h.t.Context(), "exec 2>&1\n"+script)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func (h host) says(script string, words ...string) {
	h.t.Helper()
	out := h.sh(script)
	for _, word := range words {
		if !strings.Contains(out, word) {
			h.t.Errorf("%s\ndoes not say %q but:\n%s", script, word, out)
		}
	}
}

// left lists what of the package's files, as listed in /tmp/installed, and of
// anything else in its name is there still, save the state and dpkg's records.
const left = `while read -r path; do
	case $path in */vmmigrate*) test ! -e "$path" || echo "$path" ;; *) test -d "$path" || test ! -e "$path" || echo "$path" ;; esac
done </tmp/installed
find /etc /var/lib -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/vmmigrate \) -prune -o -name '*vmmigrate*' -print`

func dpkg(t *testing.T, h host) {
	// A container's dpkg may be told to leave man pages out; this host's is not.
	h.sh(`rm -f /etc/dpkg/dpkg.cfg.d/*; dpkg -i /root/vmmigrate.deb; dpkg -L vmmigrate >/tmp/installed; test "$(grep -c vmmigrate /tmp/installed)" -gt 40`)
	version := h.sh(`dpkg-query -W -f '${Version}' vmmigrate`)
	h.says(`dpkg-query -W -f '${Status}' vmmigrate; dpkg --verify vmmigrate && echo; command -v vmmigrate; vmmigrate --version`,
		"install ok installed", "/usr/sbin/vmmigrate", "vmmigrate version "+version)

	units, err := filepath.Glob(repository + "/packaging/systemd/*")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("every command has its man page, bash completes, units are there", func(t *testing.T) {
		h := host{h.Host, t}
		h.says(`man -w vmmigrate; man -w vmmigrate-header-restore; MANWIDTH=80 man vmmigrate-run | cat`, "/usr/share/man/man8/vmmigrate.8.gz", "--recovery-key")
		h.says(`bash -c '. /usr/share/bash-completion/completions/vmmigrate
			complete -p vmmigrate; COMP_LINE="vmmigrate roll"; COMP_POINT=14; _vmmigrate vmmigrate; echo "[${COMPREPLY[*]}]"'`, "[rollback")
		for _, unit := range units {
			h.sh(`test -f /usr/lib/systemd/system/` + filepath.Base(unit))
		}
	})
	t.Run("udev applies the rule to our mappings and no others", func(t *testing.T) {
		h := host{h.Host, t}
		h.says(`udevadm control --reload
			for name in cr_a_vda other; do
				truncate -s 40M /tmp/$name; printf x | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - /tmp/$name
				printf x | cryptsetup open --key-file - /tmp/$name $name; mkfs.ext4 -q /dev/mapper/$name
				udevadm trigger --settle --name-match /dev/mapper/$name
				echo "$name: $(udevadm info -q property --name /dev/mapper/$name | grep -c ID_FS_UUID=)"
				cryptsetup close $name
			done`, "cr_a_vda: 0", "other: 1")
	})
	t.Run("an upgrade and a removal keep the state and say so", func(t *testing.T) {
		h := host{h.Host, t}
		h.sh(`mkdir -p -m 700 /var/lib/vmmigrate/headers; echo header >/var/lib/vmmigrate/headers/a
			dpkg-deb -R /root/vmmigrate.deb /tmp/newer; sed -i 's/^Version: .*/&.1/' /tmp/newer/DEBIAN/control; dpkg-deb -b /tmp/newer /root/newer.deb; rm -r /tmp/newer`)
		h.says(`dpkg -i /root/newer.deb; dpkg-query -W vmmigrate; vmmigrate --version`, version+".1", "vmmigrate version")
		h.says(`dpkg -r vmmigrate; cat /var/lib/vmmigrate/headers/a`, "/var/lib/vmmigrate is left alone", "header")
		h.says(`dpkg -i /root/vmmigrate.deb; dpkg -P vmmigrate; cat /var/lib/vmmigrate/headers/a; ! dpkg -s vmmigrate`, "/var/lib/vmmigrate is left alone", "header", "is not installed")
	})
	if found := h.sh(left); found != "" {
		t.Errorf("after a purge there is still: %s", found)
	}
}

// Debian's rpm, on a root of its own, with busybox for the scripts' shell.
func rpm(t *testing.T, h host) {
	h.says(`rpm -qp --list /root/vmmigrate.rpm`, "/usr/sbin/vmmigrate\n", "/usr/share/man/man8/vmmigrate-run.8.gz\n", "/usr/share/zsh/site-functions/_vmmigrate", "/usr/lib/udev/rules.d/57-vmmigrate.rules")
	h.says(`rpm -qp --scripts --requires /root/vmmigrate.rpm`, "/var/lib/vmmigrate is left alone", "lvm2", "cryptsetup >= 2.3", "qemu-img")
	h.sh(`mkdir -p /tmp/root/bin /tmp/root/usr /tmp/root/dev; touch /tmp/root/dev/null; cp /bin/busybox /tmp/root/bin/sh; for applet in ls echo; do ln -s sh /tmp/root/bin/$applet; done; rpm --root /tmp/root --initdb`)
	list := `find /tmp/root -path /tmp/root/var/lib/rpm -prune -o -path /tmp/root/var/lib/vmmigrate -prune -o -path /tmp/root/dev -prune -o -type f -print | sort`
	before := h.sh(list)
	h.sh(`rpm --root /tmp/root -i --nodeps /root/vmmigrate.rpm`)
	h.says(`chroot /tmp/root /usr/sbin/vmmigrate --version; rpm --root /tmp/root -V --nodeps vmmigrate && echo unchanged`, "vmmigrate version", "unchanged")
	h.says(`mkdir -p /tmp/root/var/lib/vmmigrate; echo header >/tmp/root/var/lib/vmmigrate/a; rpm --root /tmp/root -e vmmigrate; cat /tmp/root/var/lib/vmmigrate/a`, "is left alone", "header")
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(h.sh(list), "\n")); diff != "" {
		t.Errorf("after the removal there is not what there was before: %s", diff)
	}
}
