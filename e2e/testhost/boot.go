package testhost

import (
	"context"
	_ "embed" // for the boot script
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

//go:embed boot/init.sh
var initScript []byte

// agentPackage is the program that boot/init.sh hands over to.
const agentPackage = "github.com/vmmigrate/vmmigrate/e2e/agent"

// prepare lays out the host's folder and returns the kernel's command line.
func (h *Host) prepare(ctx context.Context, k uml, cache string, options Options) ([]string, error) {
	// What QEMU can do is found out anew for every kernel.
	cache = filepath.Join(cache, "libvirt-"+k.name)
	for _, folder := range []string{h.path("requests"), h.path("share"), h.path("bin"), cache} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	for _, program := range options.Programs {
		if err := copyFile(program, h.path("bin", filepath.Base(program))); err != nil {
			return nil, err
		}
	}
	if err := Build(ctx, agentPackage, h.path("agent")); err != nil {
		return nil, err
	}

	memory := options.Memory
	if memory == 0 {
		memory = 2 << 30
	}
	cmdline := []string{
		"mem=" + strconv.FormatInt(memory>>20, 10) + "M",
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet",
		"init=" + h.path("init.sh"),
		"con=null", "con0=fd:0,fd:1", "ssl0=fd:3", // see startKernel for the numbers
		"uml_dir=" + h.dir, "umid=uml",
	}
	if options.Systemd {
		cmdline = append(cmdline, "systemd.getty_auto=no") // the console is not for logging in
	}
	for i, disk := range options.Disks {
		if err := attach(disk, h.path(diskName(i))); err != nil {
			return nil, err
		}
		cmdline = append(cmdline, ubd(i, diskName(i)))
	}
	persist := ""
	if options.Persist != "" {
		i := len(options.Disks)
		if err := attachPersist(ctx, options.Persist, h.path(diskName(i))); err != nil {
			return nil, err
		}
		cmdline = append(cmdline, ubd(i, diskName(i)))
		persist = h.Device(i)
	}
	settings := fmt.Sprintf("PERSIST=%s\nCACHE=%s\nMODULES=%s\nSYSTEMD=%s\n", persist, command.Quote([]string{cache}), command.Quote([]string{k.modules}), yes(options.Systemd))
	if err := os.WriteFile(h.path("settings"), []byte(settings), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(h.path("qemu.conf"), []byte(qemuConf), 0o600); err != nil {
		return nil, err
	}
	return cmdline, os.WriteFile(h.path("init.sh"), initScript, 0o755)
}

func yes(on bool) string {
	if on {
		return "yes"
	}
	return ""
}

// ubd says that disk i is the file of that name in the kernel's folder. The d
// keeps the kernel from taking a disk's first bytes for a copy-on-write file's.
func ubd(i int, file string) string { return fmt.Sprintf("ubd%dd=%s", i, file) }

func (h *Host) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

// cacheDir is where kernels are kept, and QEMU's capabilities: probing them anew
// takes up to 50 s.
func cacheDir(options Options) (string, error) {
	dir := options.CacheDir
	if dir == "" {
		var err error
		if dir, err = DefaultCacheDir(); err != nil {
			return "", err
		}
	}
	return filepath.Abs(dir)
}

// Build builds one of the repository's commands as a static program, the way
// it ships.
func Build(ctx context.Context, pkg, to string) error {
	root, err := Repository()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", to, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

func linkTo(path, link string) error {
	absolute, err := filepath.Abs(path)
	if err != nil || absolute == link {
		return err
	}
	return os.Symlink(absolute, link)
}

// socketPair returns both ends of the serial line.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a serial line: %w", err)
	}
	mine := os.NewFile(uintptr(fds[0]), "serial line")
	defer mine.Close()
	theirs = os.NewFile(uintptr(fds[1]), "serial line")
	if ours, err = net.FileConn(mine); err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a serial line: %w", err)
	}
	return ours, theirs, nil
}

// consoleLines is how much of the console is shown when something failed.
const consoleLines = 60

// ConsoleTail returns the last lines of what the host's kernel and boot
// script printed. It is empty once the host has been stopped or cut off.
func (h *Host) ConsoleTail() string {
	console, err := os.ReadFile(h.path("console.log"))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(console), "\r\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-consoleLines):], "\n")
}

// BootError says that a host did not come up.
type BootError struct {
	Err     error
	Console string
}

func (e *BootError) Error() string {
	return fmt.Sprintf("the test host did not boot: %v; the last its console said:\n%s", e.Err, e.Console)
}

// Unwrap returns the cause.
func (e *BootError) Unwrap() error { return e.Err }
