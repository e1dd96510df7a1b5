package testhost

import (
	"context"
	_ "embed" // for what is preloaded
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// kernel is the user-mode Linux process that is a host.
type kernel struct {
	cmd   *exec.Cmd
	ended chan struct{}
	// alive is held open; its end tells keeper that the harness has died.
	alive io.Closer
}

// keeper runs the program that it is given as its $0, a linux.uml, with the words
// after it as its arguments, and ends all of its processes when it ends or when
// keeper's file 4 does, which it does when the harness dies in whatever way. A
// parent-death signal would not do: it would reach linux.uml, but not the helper
// processes that it leaves behind and that hold on to its memory and its disks.
// Those are in keeper's own process group, or with a newer kernel in one that
// linux.uml leads. Keeper itself ends when they have.
const keeper = `"$0" "$@" 4<&- & uml=$!
{ read -r _ <&4; kill -KILL "-$uml" "$uml"; } 2>/dev/null &
wait "$uml"
tries=500
while kill -KILL "-$uml" 2>/dev/null && [ $((tries -= 1)) -gt 0 ]; do sleep 0.01; done
kill -KILL 0`

// startKernel starts k in the folder dir. Its console (fd:0 and fd:1
// of the command line) reads nothing and writes console.log; its serial line
// (fd:3, the first file after standard error) is line.
func startKernel(k uml, dir string, cmdline []string, line *os.File) (*kernel, error) {
	console, err := os.Create(filepath.Join(dir, "console.log"))
	if err != nil {
		return nil, err
	}
	defer console.Close()
	watched, alive, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer watched.Close()

	cmd := exec.Command("sh", slices.Concat([]string{"-c", keeper, k.program}, cmdline, k.args)...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{line, watched}
	// A group of its own, so that kill reaches all of the kernel's processes
	// and a Ctrl-C on the harness's terminal none of them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env, err = kernelEnv(k, dir)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		alive.Close()
		return nil, fmt.Errorf("start linux.uml: %w", err)
	}
	started := &kernel{cmd: cmd, ended: make(chan struct{}), alive: alive}
	go started.wait()
	return started, nil
}

// wait closes ended when the last process of the kernel is gone, for until
// then it may still write to a disk.
func (k *kernel) wait() {
	// How it ended says nothing: keeper always kills itself.
	_ = k.cmd.Wait()
	for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(5 * time.Millisecond) {
		if errors.Is(syscall.Kill(-k.cmd.Process.Pid, 0), syscall.ESRCH) {
			break
		}
	}
	k.alive.Close()
	close(k.ended)
}

func (k *kernel) running() bool {
	select {
	case <-k.ended:
		return false
	default:
		return true
	}
}

// kill ends the kernel and the programs inside it, at once: see keeper.
func (k *kernel) kill() {
	_ = k.alive.Close() // it may have been closed already
}

//go:embed boot/xstate.c
var xstateSource []byte

//go:embed boot/isoc23.c
var isoc23Source []byte

var hasAMX = regexp.MustCompile(`(?m)^flags\s*:.*\bamx_tile\b`)

// kernelEnv returns the environment for a linux.uml. On a CPU with AMX it
// preloads boot/xstate.c, and for one that was not made for this machine's C
// library boot/isoc23.c; they tell why.
func kernelEnv(k uml, dir string) ([]string, error) {
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	var preload []string
	for _, one := range []struct {
		name   string
		source []byte
		needed bool
	}{
		{"xstate", xstateSource, hasAMX.Match(cpu)},
		{"isoc23", isoc23Source, k.name != installedUML.name},
	} {
		if !one.needed {
			continue
		}
		source, library := filepath.Join(dir, one.name+".c"), filepath.Join(dir, one.name+".so")
		if err := os.WriteFile(source, one.source, 0o644); err != nil {
			return nil, err
		}
		out, err := exec.CommandContext(context.Background(), "gcc", "-std=gnu17", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", source, err, out)
		}
		preload = append(preload, library)
	}
	env := os.Environ()
	if len(preload) > 0 {
		env = append(env, "LD_PRELOAD="+strings.Join(preload, ":"))
	}
	return env, nil
}
