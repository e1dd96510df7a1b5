package testhost

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The kernel that hosts run, if it can be had: Debian's user-mode-linux of a
// later release. Since Linux 6.16 UML need not trace the programs inside with
// ptrace (seccomp=auto of its command line), and a system call in a host costs a
// fraction of what it costs with the 6.1 of Debian 12, where programs like lvm2's
// take six times as long. It is unpacked into the cache, not installed.
const (
	umlVersion = "7.2um1"
	umlURL     = "http://deb.debian.org/debian/pool/main/u/user-mode-linux/user-mode-linux_" + umlVersion + "_amd64.deb"
	umlSum     = "SHA256:f947c9244fd79d481299df2ad68961f6b3b7703bff38c4b0e726f861161da62c"
)

// aptHelper fetches a file the way apt does, through the same proxy, and keeps it
// only if it has the right sum.
const aptHelper = "/usr/lib/apt/apt-helper"

// umlChoice is the environment's variable that says "installed" where the
// machine's own linux.uml is wanted.
const umlChoice = "TESTHOST_KERNEL"

// uml is a linux.uml with the modules that go with it.
type uml struct {
	// program is its path, and modules the folder that holds one of the
	// kernel's release.
	program, modules string
	// name tells it from others, as part of a file's name.
	name string
	// args are what it has to be told besides.
	args []string
	// unusable is a file whose existence says that it does not boot on this
	// machine; "" is for the one that there is no other for.
	unusable string
}

// installedUML is the package user-mode-linux that e2e/setup.sh has installed.
var installedUML = uml{program: "linux.uml", modules: "/usr/lib/uml/modules", name: "installed"}

// findUML returns the kernel to run: the one of umlVersion, which it fetches if
// the cache lacks it, or where that can't be had or does not boot the installed
// one. It tells log which and why.
func findUML(ctx context.Context, cache string, log func(format string, args ...any)) uml {
	if os.Getenv(umlChoice) == installedUML.name {
		return installedUML
	}
	dir := filepath.Join(cache, "uml-"+umlVersion)
	k := uml{
		program: filepath.Join(dir, "usr/bin/linux.uml"), modules: filepath.Join(dir, "usr/lib/uml/modules"),
		name: umlVersion, args: []string{"seccomp=auto"}, unusable: dir + ".unusable",
	}
	if _, err := os.Stat(k.unusable); err == nil {
		return installedUML
	}
	if _, err := os.Stat(k.program); errors.Is(err, fs.ErrNotExist) {
		if err := fetchUML(ctx, cache, dir); err != nil {
			log("test host: the kernel %s can't be had, and the installed one is slower: %v\n", umlVersion, err)
			return installedUML
		}
	}
	return k
}

// fetchUML unpacks the kernel into dir, which is there whole or not at all.
func fetchUML(ctx context.Context, cache, dir string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "uml-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	deb, root := filepath.Join(work, "uml.deb"), filepath.Join(work, "root")
	for _, argv := range [][]string{
		{aptHelper, "-o", "APT::Sandbox::User=root", "download-file", umlURL, deb, umlSum},
		{"dpkg-deb", "-x", deb, root},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
		}
	}
	if err := dropVersion(filepath.Join(root, "usr/bin/linux.uml"), "GLIBC_2.38"); err != nil {
		return err
	}
	// Another harness may have been quicker; its kernel is as good.
	if err := os.Rename(root, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// weak is the flag of a version that a program can do without (VER_FLG_WEAK of
// elf.h).
const weak = 2

// dropVersion lets a program start with a C library that lacks that version of
// its symbols: it marks it as one that the program can do without. Of GLIBC_2.38
// linux.uml wants __isoc23_strtol and __isoc23_strtoul, strtol and strtoul under
// the names that newer headers give them; boot/isoc23.c has them.
func dropVersion(program, version string) error {
	f, err := os.OpenFile(program, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := elf.NewFile(f)
	if err != nil {
		return err
	}
	section, names := file.SectionByType(elf.SHT_GNU_VERNEED), file.Section(".dynstr")
	if section == nil || names == nil {
		return fmt.Errorf("%s needs no versions of symbols", program)
	}
	needs, err := section.Data()
	if err != nil {
		return err
	}
	text, err := names.Data()
	if err != nil {
		return err
	}
	at, err := findVersion(needs, text, version)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	if at < 0 {
		return f.Close() // nothing to drop
	}
	if _, err := f.WriteAt([]byte{needs[at] | weak}, int64(section.Offset)+int64(at)); err != nil {
		return err
	}
	return f.Close()
}

// findVersion returns where the flags of a version stand in the section
// .gnu.version_r, or -1 (System V ABI, Elf64_Verneed and Elf64_Vernaux: the
// numbers of a kind have 2 or 4 bytes, and each part tells how far it is to the
// next).
func findVersion(needs, names []byte, version string) (int, error) {
	cut := errors.New("its versions of symbols are cut short")
	for file := 0; ; {
		if file+16 > len(needs) {
			return 0, cut
		}
		count := int(binary.LittleEndian.Uint16(needs[file+2:]))
		aux := file + int(binary.LittleEndian.Uint32(needs[file+8:]))
		for range count {
			if aux+16 > len(needs) {
				return 0, cut
			}
			name := int(binary.LittleEndian.Uint32(needs[aux+8:]))
			if name < len(names) && strings.HasPrefix(string(names[name:]), version+"\x00") {
				return aux + 4, nil
			}
			aux += int(binary.LittleEndian.Uint32(needs[aux+12:]))
		}
		next := int(binary.LittleEndian.Uint32(needs[file+12:]))
		if next == 0 {
			return -1, nil
		}
		file += next
	}
}
