package domainxml

import (
	"maps"
	"math/big"
	"strconv"
	"strings"
)

// harmless says why a difference between what was defined and what libvirt
// dumps is no loss, or "". n is the wanted element, attribute the name of the
// attribute, "text()" or "" for the element itself.
func harmless(c Change, n *node, attribute string) string {
	if c.Op == Changed {
		return rewritten(c, n, attribute)
	}
	switch attribute {
	case "":
		return droppedElement(n)
	case "text()":
		if under(n, "seclabel") && (n.key == "label" || n.key == "imagelabel") {
			return "libvirt makes a label at each start"
		}
		return ""
	}
	switch parent := n.parent; {
	case n.key == "domain" && attribute == "id",
		(n.key == "source" || n.key == "backingStore") && attribute == "index",
		n.key == "source" && attribute == "portid",
		n.key == "target" && (attribute == "state" && parent.key == "channel" || attribute == "tray" && c.Old == "closed"),
		n.key == "cid" && attribute == "address" && n.value("auto") == "yes",
		n.key == "console" && attribute == "tty",
		n.key == "source" && attribute == "path" && strings.HasPrefix(c.Old, "/dev/pts/"):
		return "it belongs to one run of the domain"
	case n.key == "graphics" && (attribute == "port" || attribute == "tlsPort") && (c.Old == "-1" || n.value("autoport") == "yes"):
		return "the port is chosen at each start"
	case n.key == "graphics" && attribute == "autoport" && c.Old == "no",
		n.key == "driver" && attribute == "cache" && c.Old == "default",
		n.key == "model" && attribute == "primary" && parent.key == "video":
		return "it is the default"
	case n.key == "target" && attribute == "dev" && parent.key == "interface" && madeUp(c.Old):
		return "libvirt makes the host-side device up at each start"
	case n.key == "source" && attribute == "path" && channelDefault(c.Old):
		return "libvirt makes its own channel's socket up at each start"
	}
	return ""
}

// rewritten tells a value that is only spelled differently.
func rewritten(c Change, n *node, attribute string) string {
	switch {
	case sameNumber(c.Old, c.New):
		return "it is the same number"
	case sameSet(c.Old, c.New):
		return "it is the same set of numbers"
	case strings.EqualFold(c.Old, c.New) && (n.key == "uuid" || n.key == "mac" || n.key == "entry" || attribute == "wwn"):
		return "it is the same in lower case"
	case n.key == "target" && attribute == "port" && n.parent.key == "console":
		return "libvirt numbers consoles itself"
	case n.key == "uuid" && sameUUID(c.Old, c.New), n.key == "entry" && sameUUID(c.Old, c.New):
		return "it is the same UUID"
	case n.key == "type" && attribute == "machine" && (strings.HasPrefix(c.New, c.Old+"-") || strings.HasPrefix(c.New, "pc-"+c.Old+"-")):
		return "libvirt resolves the machine type's alias"
	case n.key == "graphics" && attribute == "port" && n.value("autoport") == "yes":
		return "the port is chosen at each start"
	}
	return ""
}

func droppedElement(n *node) string {
	switch {
	case n.key == "alias" && !strings.HasPrefix(n.value("name"), "ua-"):
		return "libvirt keeps only the user's own aliases (ua-…) of a domain that is off"
	case n.key == "backingStore" && len(n.kids) == 0 && len(n.attrs) == 0:
		return "it says that there is no further image, which libvirt finds out at each start"
	case n.key == "target" && n.parent.key == "interface" && len(n.attrs) == 1 && madeUp(n.value("dev")):
		return "libvirt makes the host-side device up at each start"
	case n.key == "source" && strings.HasPrefix(n.value("path"), "/dev/pts/"):
		return "it belongs to one run of the domain"
	case n.key == "protocol" && n.value("type") == "raw":
		return "it is the default"
	case n.key == "source" && n.parent.key == "channel" && (channelDefault(n.value("path")) || len(n.attrs) == 1 && n.value("mode") == "bind"):
		return "libvirt makes its own channel's socket up at each start"
	case (n.key == "label" || n.key == "imagelabel") && n.parent.key == "seclabel" && n.parent.value("type") == "dynamic":
		return "libvirt makes a label at each start"
	}
	return ""
}

func (n *node) value(key string) string {
	for _, a := range n.attrs {
		if a.key == key {
			return a.value
		}
	}
	return ""
}

func under(n *node, key string) bool {
	for at := n.parent; at != nil; at = at.parent {
		if at.key == key {
			return true
		}
	}
	return false
}

func madeUp(dev string) bool {
	for _, p := range generated {
		if strings.HasPrefix(dev, p) {
			return true
		}
	}
	return false
}

// channelDefault tells a path that libvirt itself gives a guest agent's
// channel (qemuDomainChrMatchDefaultPath in its src/qemu/qemu_domain.c).
func channelDefault(path string) bool {
	return strings.Contains(path, "/qemu/channel/")
}

// sameNumber reports whether two values are one number: libvirt writes PCI
// addresses in hexadecimal, however they were given.
func sameNumber(a, b string) bool {
	x, errX := strconv.ParseUint(strings.TrimSpace(a), 0, 64)
	y, errY := strconv.ParseUint(strings.TrimSpace(b), 0, 64)
	return errX == nil && errY == nil && x == y
}

// maxSet bounds the sets that sameSet counts out; libvirt's own largest is
// VIR_DOMAIN_CPUMASK_LEN, 16384 CPUs.
const maxSet = 1 << 16

// sameSet reports whether two lists such as 0-2,^1 and 0,2 are one set.
func sameSet(a, b string) bool {
	x, y := set(a), set(b)
	return x != nil && y != nil && maps.Equal(x, y)
}

func set(list string) map[uint64]bool {
	if !strings.ContainsAny(list, "-,^") {
		return nil
	}
	members, counted := make(map[uint64]bool), uint64(0)
	for item := range strings.SplitSeq(list, ",") {
		item, without := strings.CutPrefix(strings.TrimSpace(item), "^")
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		from, errFrom := strconv.ParseUint(first, 10, 32)
		to, errTo := strconv.ParseUint(last, 10, 32)
		if errFrom != nil || errTo != nil || to < from || to > maxSet {
			return nil
		}
		if counted += to - from; counted > maxSet {
			return nil
		}
		for n := from; n <= to; n++ {
			if without {
				delete(members, n)
			} else {
				members[n] = true
			}
		}
	}
	return members
}

// units are those of libvirt's virScaleInteger.
var units = map[string]int64{
	"b": 1, "byte": 1, "bytes": 1,
	"k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30,
	"t": 1 << 40, "tib": 1 << 40, "p": 1 << 50, "pib": 1 << 50, "e": 1 << 60, "eib": 1 << 60,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15, "eb": 1e18,
}

// sameSize reports whether two elements give one size in two units, such as
// <memory unit='MiB'>1</memory> and <memory unit='KiB'>1024</memory>. key is
// the attribute in question, "" for the text.
func sameSize(a, b *node, key string) bool {
	if key != "" && key != "unit" {
		return false
	}
	x, y := a.size(), b.size()
	return x != nil && y != nil && x.Cmp(y) == 0
}

// size is an element's text in bytes; libvirt takes KiB when no unit is given.
func (n *node) size() *big.Int {
	number, ok := new(big.Int).SetString(n.flat(), 10)
	if !ok {
		return nil
	}
	unit := n.value("unit")
	if unit == "" {
		unit = "KiB"
	}
	factor, known := units[strings.ToLower(unit)]
	if !known {
		return nil
	}
	return number.Mul(number, big.NewInt(factor))
}
