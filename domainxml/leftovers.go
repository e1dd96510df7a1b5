package domainxml

import (
	"strings"

	"github.com/beevik/etree"
)

// leftovers warns of what was kept although it names the original's disks,
// addresses or name: only the user knows what an argument of
// qemu:commandline or a label is for.
func (e *editor) leftovers() {
	if !e.clone && len(e.edit.Disks) == 0 {
		return
	}
	l := leftovers{editor: e}
	for _, de := range e.edit.Disks {
		if disk, err := e.before.Disk(de.Target); err == nil && disk.Path != "" {
			l.names = append(l.names, [2]string{disk.Path, "disk " + de.Target + " as it was before it moved"})
		}
	}
	for i, mac := range e.edit.MACs {
		if old := strings.ToLower(e.before.interfaces[i].MAC); mac != "" && old != "" && !strings.EqualFold(mac, old) {
			l.names = append(l.names, [2]string{old, "the original's hardware address"})
		}
	}
	if e.edit.UUID != "" && e.clone && e.before.UUID != "" {
		l.names = append(l.names, [2]string{strings.ToLower(strings.TrimSpace(e.before.UUID)), "the original's UUID"})
	}
	for _, token := range e.root().Child {
		element, ok := token.(*etree.Element)
		if !ok || element.Space == "" && (element.Tag == "title" || element.Tag == "description" || element.Tag == "metadata" || element.Tag == "name") {
			continue
		}
		walk(element, func(at *etree.Element) bool {
			if at.Tag == "seclabel" && attrValue(at, "type") == "dynamic" {
				return false // libvirt makes its labels anew at each start
			}
			for _, a := range at.Attr {
				l.look(at, a.Value, a.FullKey())
			}
			for _, child := range at.Child {
				if text, ok := child.(*etree.CharData); ok {
					l.look(at, text.Data)
				}
			}
			return true
		})
	}
}

type leftovers struct {
	*editor
	// names are what to look for, in lower case where it is hexadecimal, each
	// with what it is.
	names [][2]string
}

func (l *leftovers) look(at *etree.Element, value string, attribute ...string) {
	twin := l.twins[at]
	if twin == nil || blank(value) {
		return // put in by us
	}
	where := l.path(at, attribute...)
	for _, name := range l.names {
		if holdsWord(value, name[0]) || holdsWord(strings.ToLower(value), name[0]) {
			l.warn("%s is kept and names %s: %s", where, name[1], strings.TrimSpace(value))
			return
		}
	}
	if old := l.before.Name; l.edit.Name != "" && l.edit.Name != old && l.named(at) && holdsWord(value, old) {
		l.warn("%s is kept and names the original, %s: %s", where, old, strings.TrimSpace(value))
	}
}

// named reports whether a word in an element is likely to mean the domain. In
// others a domain called "disk" or "console" would warn of every line.
func (l *leftovers) named(at *etree.Element) bool {
	for e := at; e != nil; e = e.Parent() {
		if e.Space != "" || e.Tag == "seclabel" || e.Tag == "filterref" || e.Tag == "blkiotune" || e.Tag == "resource" {
			return true
		}
	}
	return false
}
