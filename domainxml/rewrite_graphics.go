package domainxml

import (
	"strconv"

	"github.com/beevik/etree"
)

// graphics frees fixed ports that two consoles can't both listen on. Who may
// connect stays as it is: listen addresses, passwords (passwd=” too, which
// means that nobody may), TLS settings and modes are not touched.
func (e *editor) graphics() error {
	if !e.clone {
		return nil
	}
	for _, element := range e.devices("graphics") {
		switch attrValue(element, "type") {
		case "vnc":
			e.vnc(element)
		case "spice":
			e.spice(element)
		case "rdp":
			if fixed(element, "port") && attrValue(element, "autoport") != "yes" {
				e.auto(element, "port")
				e.set(element, "autoport", "yes", portWhy(element, "port"))
			}
		}
	}
	return nil
}

// fixed reports whether an attribute holds a port number. -1 and 0 are not
// numbers but ask libvirt for one, or for none.
func fixed(element *etree.Element, key string) bool {
	n, err := strconv.Atoi(attrValue(element, key))
	return err == nil && n > 0
}

func portWhy(element *etree.Element, key string) string {
	return "the original listens on " + attrValue(element, "type") + " " + key + "; libvirt chooses a free one"
}

func (e *editor) auto(element *etree.Element, key string) {
	e.set(element, key, "-1", portWhy(element, key))
}

func (e *editor) vnc(element *etree.Element) {
	// With autoport='yes' libvirt takes no notice of a port that stands there.
	if fixed(element, "port") && attrValue(element, "autoport") != "yes" {
		e.auto(element, "port")
		e.set(element, "autoport", "yes", portWhy(element, "port"))
	}
	if fixed(element, "websocket") {
		e.auto(element, "websocket")
	}
}

// spice asks for a port where there was one, and for none where there was
// none: autoport='yes' would open a port without TLS beside a console that has
// only a TLS port (qemuProcessSPICEAllocatePorts). -1 for both is autoport.
func (e *editor) spice(element *etree.Element) {
	if attrValue(element, "autoport") == "yes" {
		return
	}
	plain, secure := fixed(element, "port"), fixed(element, "tlsPort")
	if plain {
		e.auto(element, "port")
	}
	if secure {
		e.auto(element, "tlsPort")
	}
	if plain && secure {
		e.set(element, "autoport", "yes", portWhy(element, "port"))
	}
}
