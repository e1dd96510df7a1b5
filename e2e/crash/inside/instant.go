//go:build linux && amd64

package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// instant is right before something happens that others can see.
type instant struct {
	// Step and Disk are what the journal was last told of; before it was told
	// of anything, Step is preflight.
	Step string `json:"step"`
	Disk string `json:"disk,omitempty"`
	// What is about to happen: "run lvcreate", "write journal: done open".
	What string `json:"what"`
	// N counts the instants of a program's run that are alike so far, from 1.
	N int `json:"n"`
	// Changes is true if more than the program itself is about to change.
	Changes bool `json:"changes"`
	// Lasting is true for what goes on by itself once it has been started: a
	// program, a request to a daemon.
	Lasting bool `json:"lasting,omitempty"`

	next *record
	pid  int
}

func (i instant) String() string {
	disk := ""
	if i.Disk != "" {
		disk = " " + i.Disk
	}
	return fmt.Sprintf("%s%s: %s #%d", i.Step, disk, i.What, i.N)
}

func (i instant) key() string { return i.String() }

// record is what matters here of a journal's record.
type record struct {
	Kind string `json:"kind"`
	Step string `json:"step"`
	Disk string `json:"disk"`
}

// position follows a job through the processes that work on it.
type position struct {
	step, disk string
	pid        int
	seen       map[string]int
}

func newPosition() *position { return &position{step: "preflight", seen: map[string]int{}} }

// process begins another process of the same job.
func (p *position) process() { p.seen = map[string]int{} }

func (p *position) name(what string, changes, lasting bool) instant {
	now := instant{pid: p.pid, Step: p.step, Disk: p.disk, What: what, Changes: changes, Lasting: lasting, N: 1}
	key := now.key()
	p.seen[key]++
	now.N = p.seen[key]
	return now
}

// passed takes note of an instant that was let go by.
func (p *position) passed(now instant) {
	if now.next == nil {
		return
	}
	switch now.next.Kind {
	case "intent", "undoing":
		p.step, p.disk = now.next.Step, now.next.Disk
	case "end":
		p.step, p.disk = "end", ""
	}
}

// readsOnly are the programs, or subcommands, that change nothing. Any other
// is taken to.
var readsOnly = regexp.MustCompile(`^(lvs|vgs|pvs|lsblk|blkid|udevadm settle|dmsetup (info|table)|cryptsetup (isLuks|luksDump)|qemu-img (info|check|map|measure))( |$)`)

// program is the instant before a program runs.
func (p *position) program(argv []string) instant {
	words := []string{filepath.Base(argv[0])}
	for i, arg := range argv[1:] {
		// The subcommand, if the program has any, and the operands; all else
		// would only make it long.
		subcommand := i == 0 && !strings.HasPrefix(words[0], "lv") && !strings.HasPrefix(words[0], "vg") && !strings.HasPrefix(words[0], "pv")
		operand := strings.ContainsAny(arg, "/_") && !strings.ContainsAny(arg, ",=")
		if !strings.HasPrefix(arg, "-") && (subcommand || operand) {
			words = append(words, arg)
		}
	}
	what := plain(strings.Join(words, " "))
	changes := !readsOnly.MatchString(what) || slices.Contains(argv, "leaks") // qemu-img check -r leaks
	return p.name("run "+what, changes, changes)
}

// instantOf says what the system call at whose entry pid stands is about; ok
// is false if nobody but pid can notice it.
func (p *position) instantOf(pid int, regs *unix.PtraceRegsAmd64) (now instant, ok bool) {
	switch regs.Orig_rax {
	case unix.SYS_OPENAT:
		if regs.Rdx&(unix.O_CREAT|unix.O_TRUNC) == 0 {
			return instant{}, false
		}
		return p.file("create", text(pid, regs.Rsi))
	case unix.SYS_MKDIRAT:
		return p.file("make folder", text(pid, regs.Rsi))
	case unix.SYS_UNLINKAT:
		return p.file("remove", text(pid, regs.Rsi))
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return p.file("rename", text(pid, regs.R10))
	case unix.SYS_RENAME:
		return p.file("rename", text(pid, regs.Rsi))
	case unix.SYS_MOUNT:
		return p.name("mount "+plain(text(pid, regs.Rdi)), true, false), true
	case unix.SYS_UMOUNT2:
		return p.name("unmount "+plain(text(pid, regs.Rdi)), true, false), true
	case unix.SYS_FALLOCATE:
		return p.file("allocate", target(pid, regs.Rdi))
	case unix.SYS_FCHMOD:
		return p.file("change the mode of", target(pid, regs.Rdi))
	case unix.SYS_FTRUNCATE:
		return p.file("truncate", target(pid, regs.Rdi))
	case unix.SYS_COPY_FILE_RANGE:
		return p.file("write", target(pid, regs.Rdx))
	case unix.SYS_SENDFILE:
		return p.file("write", target(pid, regs.Rdi))
	case unix.SYS_WRITEV:
		// A request to qemu-nbd; its header is the first of the buffers.
		if first := memory(pid, regs.Rsi, 16); len(first) == 16 && strings.HasPrefix(target(pid, regs.Rdi), "socket:") {
			at, size := binary.NativeEndian.Uint64(first), binary.NativeEndian.Uint64(first[8:])
			return p.request(memory(pid, at, min(size, 28)))
		}
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		if regs.Rdi <= 2 {
			return instant{}, false
		}
		path := target(pid, regs.Rdi)
		switch {
		case strings.HasPrefix(path, "socket:"):
			return p.request(memory(pid, regs.Rsi, min(regs.Rdx, 28)))
		case strings.HasPrefix(path, "/dev/mapper/") || strings.HasPrefix(path, "/dev/dm-"):
			return p.name("write payload", true, false), true
		case filepath.Base(path) == "journal":
			return p.journal(memory(pid, regs.Rsi, min(regs.Rdx, 1<<20)))
		}
		return p.file("write", path)
	}
	return instant{}, false
}

func (p *position) file(does, path string) (instant, bool) {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/sys/") {
		return instant{}, false
	}
	return p.name(does+" "+plain(path), true, false), true
}

// journal is the instant before a record is written.
func (p *position) journal(line []byte) (instant, bool) {
	const prefix = len("00000000 00000000 ") // see package migrate/journal
	next := new(record)
	if len(line) < prefix || json.Unmarshal(line[prefix:], next) != nil {
		return p.file("write", "/journal")
	}
	now := p.name(strings.TrimSpace("write journal: "+next.Kind+" "+strings.TrimSpace(next.Step+" "+next.Disk)), true, false)
	now.next = next
	return now, true
}

// remote are libvirt's procedures that matter here, by their number in
// src/remote/remote_protocol.x.
var remote = map[uint32]string{11: "define", 350: "define", 35: "undefine", 231: "undefine", 9: "create", 196: "create"}

// nbd are the requests to qemu-nbd that change an image, by their number (NBD's
// doc/proto.md, request types).
var nbd = map[uint16]string{1: "write", 3: "flush", 6: "write zeros"}

// request is the instant before a request to libvirtd or qemu-nbd. The header of
// a packet of libvirt's is length, program, version, procedure, type, serial and
// status, each 32 bits (docs/kbase/internals/rpc.rst); NBD's is a magic number of
// 32 bits, and flags and type of 16.
func (p *position) request(header []byte) (instant, bool) {
	const remoteProgram, nbdRequest = 0x20008086, 0x25609513
	if len(header) < 28 {
		return instant{}, false
	}
	if binary.BigEndian.Uint32(header) == nbdRequest {
		name, changes := nbd[binary.BigEndian.Uint16(header[6:])]
		if !changes {
			return instant{}, false
		}
		return p.name("ask qemu-nbd: "+name, true, true), true
	}
	if binary.BigEndian.Uint32(header[4:]) != remoteProgram {
		return instant{}, false
	}
	procedure := binary.BigEndian.Uint32(header[12:])
	name, changes := remote[procedure]
	if !changes {
		// A question changes nothing, so the instants before and after it are
		// the same to everybody else.
		return instant{}, false
	}
	return p.name("ask libvirt: "+name, true, true), true
}

var (
	jobID  = regexp.MustCompile(`[0-9]{8}-[0-9]{6}-[0-9a-f]{4}`)
	uuid   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	hash   = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	random = regexp.MustCompile(`[0-9]{6,}`)
)

// plain takes out of a text what is another in each run.
func plain(s string) string {
	s = jobID.ReplaceAllString(s, "JOB")
	s = uuid.ReplaceAllString(s, "UUID")
	s = hash.ReplaceAllString(s, "HASH")
	return random.ReplaceAllString(s, "N")
}

// target is what a file descriptor of a process refers to.
func target(pid int, fd uint64) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err != nil {
		return ""
	}
	return path
}

// memory reads from a process.
func memory(pid int, at, size uint64) []byte {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil
	}
	defer mem.Close()
	data := make([]byte, size)
	n, _ := mem.ReadAt(data, int64(at)) // what could be read is what there is
	return data[:n]
}

// text reads a path from a process.
func text(pid int, at uint64) string {
	// A page at a time: the next one may not be there.
	size := 4096 - at%4096
	data := memory(pid, at, size)
	if !strings.ContainsRune(string(data), 0) {
		data = append(data, memory(pid, at+size, 4096)...)
	}
	path, _, _ := strings.Cut(string(data), "\x00")
	return path
}
