package domainxml

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/beevik/etree"
)

// renamed is a path with the old name replaced by the new in its last component
// that holds it as a word: with no letter or digit right before or after it,
// so that "imap" is found in imap.sock, imap_VARS.fd and domain-3-imap but not
// in imap2.log. One component makes the path the clone's own; folders above it
// stay, since they exist (and a domain may be called "log" or "srv").
func renamed(where, old, name string) string {
	if old == "" || name == "" || old == name {
		return where
	}
	for end := len(where); end > 0; {
		begin := strings.LastIndexByte(where[:end], '/') + 1
		if next := replaceWord(where[begin:end], old, name); next != where[begin:end] {
			return where[:begin] + next + where[end:]
		}
		end = begin - 1
	}
	return where
}

func replaceWord(s, old, name string) string {
	var b strings.Builder
	for at := 0; ; {
		found := strings.Index(s[at:], old)
		if found < 0 {
			b.WriteString(s[at:])
			return b.String()
		}
		from, to := at+found, at+found+len(old)
		before, _ := utf8.DecodeLastRuneInString(s[:from])
		after, _ := utf8.DecodeRuneInString(s[to:])
		if wordy(before, from > 0) || wordy(after, to < len(s)) {
			_, width := utf8.DecodeRuneInString(s[from:])
			b.WriteString(s[at : from+width])
			at = from + width
			continue
		}
		b.WriteString(s[at:from] + name)
		at = to
	}
}

func wordy(r rune, there bool) bool {
	return there && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// holdsWord reports whether a text names old as a word.
func holdsWord(s, old string) bool { return old != "" && replaceWord(s, old, old+old) != s }

// maxSocket is the longest path of a unix socket, in bytes: sun_path holds 108
// with the closing NUL (unix(7)).
const maxSocket = 107

// hostPaths renames sockets, logs and output files that are called after the
// original, and warns of those that both domains would write or listen on.
func (e *editor) hostPaths() error {
	if !e.clone {
		return nil
	}
	for _, devices := range kids(e.root(), "devices") {
		walk(devices, func(element *etree.Element) bool {
			switch element.Tag {
			// Their sources are data, not files named after the domain.
			case "disk", "hostdev", "memory", "shmem", "emulator", "iommu":
				return false
			case "filesystem":
				e.folder(element)
				return false
			case "tpm":
				if backend := kid(element, "backend"); backend == nil || attrValue(backend, "type") != "external" {
					return false
				}
			case "source":
				e.characterSource(element)
			case "log":
				e.hostPath(element, "file", "log", true)
			case "graphics", "listen":
				e.hostPath(element, "socket", "socket", true)
			case "audio":
				e.hostPath(element, "path", "file", true)
			case "backend":
				e.hostPath(element, "logFile", "log", true)
			case "path":
				e.textPath(element)
			}
			return true
		})
		e.memory(devices)
	}
	return nil
}

// characterSource is where a serial port, console, channel and the like, or a
// vhost-user interface, reads and writes on the host.
func (e *editor) characterSource(element *etree.Element) {
	owner := element.Parent()
	kind := attrValue(element, "type")
	if kind == "" {
		kind = attrValue(owner, "type")
	}
	mode := attrValue(element, "mode")
	switch kind {
	case "file":
		e.hostPath(element, "path", "file", true)
	case "pipe", "pty":
		e.hostPath(element, "path", kind, false)
	case "unix":
		serves := mode == "bind" || mode == "server"
		if e.hostPath(element, "path", "socket", serves) && !serves {
			e.warn("%s: the clone connects to %s, so another program must listen there before it starts", e.path(element), attrValue(element, "path"))
		}
	case "tcp", "udp", "telnet", "tls":
		if service := attrValue(element, "service"); mode == "bind" && service != "" && service != "0" {
			e.warn("%s: both domains listen on port %s; the two can't run at the same time", e.path(element), service)
		}
	}
}

// hostPath renames a path that is called after the original. shared says that
// two domains must not both use it. It reports whether it renamed.
func (e *editor) hostPath(element *etree.Element, key, what string, shared bool) bool {
	was := attrValue(element, key)
	if !path.IsAbs(was) || strings.HasPrefix(was, "/dev/") {
		return false
	}
	next := renamed(was, e.before.Name, e.edit.Name)
	if next == was {
		if shared && !ownSocket(was) {
			e.warn("%s: the clone uses the original's %s %s; the two should not run at the same time", e.path(element), what, was)
		}
		return false
	}
	e.set(element, key, next, "the "+what+" is called after the original")
	e.renamedFolder(element, was, next)
	if what == "socket" && len(next) > maxSocket {
		e.warn("%s: %s is longer than the %d bytes of a socket's path, so the clone will not start; choose a shorter name or path", e.path(element), next, maxSocket)
	}
	return true
}

// ownSocket tells a path that libvirt made up itself, in a folder named after
// the domain or the beginning of its name, and makes up again for the clone.
func ownSocket(path string) bool {
	return channelDefault(path) || strings.Contains(path, "/libvirt/qemu/domain-")
}

// renamedFolder warns of a folder that nothing makes. libvirt makes the ones
// of its own channels (src/qemu/qemu_domain.c, qemuDomainChrMatchDefaultPath).
func (e *editor) renamedFolder(element *etree.Element, was, next string) {
	if folder := path.Dir(next); folder != path.Dir(was) && !strings.Contains(folder, "/libvirt/qemu/") {
		e.warn("%s: the folder %s must exist before the clone starts", e.path(element), folder)
	}
}

// textPath renames <pstore><path>, where a crashing guest leaves its messages.
func (e *editor) textPath(element *etree.Element) {
	if element.Parent().Tag != "pstore" {
		return
	}
	was := element.Text()
	if next := renamed(was, e.before.Name, e.edit.Name); next != was {
		e.setText(element, next, "the file is called after the original")
		e.renamedFolder(element, was, next)
	}
}

// folder tells of a host folder in the guest: it is no disk and does not move.
func (e *editor) folder(element *etree.Element) {
	if source := kid(element, "source"); source != nil && kid(element, "readonly") == nil {
		if dir := attrValue(source, "dir"); dir != "" {
			e.warn("%s: the guest's files in the host's folder %s are not moved; they stay as unencrypted as they were, shared by both domains", e.path(element), dir)
		}
		if socket := attrValue(source, "socket"); socket != "" {
			e.warn("%s: the guest's files come from the program behind %s and are not moved; they stay as unencrypted as they were, shared by both domains", e.path(element), socket)
		}
	}
}

// memory tells of guest memory that lasts in a file of the host (NVDIMM).
func (e *editor) memory(devices *etree.Element) {
	for _, element := range kids(devices, "memory") {
		if source := kid(element, "source"); source != nil && attrValue(element, "model") != "sgx-epc" {
			if file := kid(source, "path"); file != nil {
				e.warn("%s: the guest's memory in %s is not moved; it stays as unencrypted as it was, shared by both domains", e.path(element), file.Text())
			}
		}
	}
}
