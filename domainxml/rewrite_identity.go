package domainxml

import (
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// identity changes what tells one domain from another.
func (e *editor) identity() error {
	root := e.root()
	name := kid(root, "name")
	if e.edit.Name != "" {
		why := "the clone has a name of its own"
		if e.edit.Same {
			why = "the guest takes that name"
		}
		e.setText(name, e.edit.Name, why)
	}
	if e.edit.UUID != "" && !sameUUID(e.edit.UUID, e.before.UUID) {
		const why = "the clone has a UUID of its own"
		if id := kid(root, "uuid"); id != nil {
			e.setText(id, e.edit.UUID, why)
		} else {
			id := etree.NewElement("uuid")
			id.SetText(e.edit.UUID)
			e.addAfter(name, id, why)
		}
		e.sysinfo()
	}
	if !e.clone {
		return nil
	}
	e.drop(root, "id", "it numbered the running original")
	if e.edit.UUID == "" && e.before.UUID != "" {
		e.warn("the UUID is the original's, so libvirt will not define the clone beside it")
	}
	if genid := kid(root, "genid"); genid != nil && !blank(genid.Text()) {
		// An empty one has libvirt choose another when it defines the clone.
		e.setText(genid, "", "the generation ID tells the guest whether it is a copy; libvirt makes a new one")
	}
	for _, vsock := range e.devices("vsock") {
		if cid := kid(vsock, "cid"); cid != nil && attrValue(cid, "auto") != "yes" {
			const why = "a vsock address is unique on a host; libvirt chooses another"
			e.set(cid, "auto", "yes", why)
			e.drop(cid, "address", why)
		}
	}
	return nil
}

// sysinfo keeps SMBIOS in step: libvirt refuses a domain whose system UUID
// there differs from its own (virDomainDefParseXML: "UUID mismatch").
func (e *editor) sysinfo() {
	for _, info := range kids(e.root(), "sysinfo") {
		for _, system := range kids(info, "system") {
			for _, entry := range kids(system, "entry") {
				if attrValue(entry, "name") == "uuid" {
					e.setText(entry, e.edit.UUID, "libvirt demands the domain's own UUID here")
				}
			}
		}
	}
}

// generated are the beginnings of the device names that libvirt makes up at
// each start and drops again from an inactive domain
// (VIR_NET_GENERATED_*_PREFIX in its src/util/virnetdev*.h).
var generated = []string{"vnet", "macvtap", "macvlan"}

// interfaces gives each interface its address and frees the host-side names.
func (e *editor) interfaces() error {
	elements := e.devices("interface")
	for i, element := range elements {
		if i < len(e.edit.MACs) && e.edit.MACs[i] != "" {
			e.setMAC(element, e.edit.MACs[i])
		}
		if e.clone {
			e.targetDevice(element)
			e.forwards(element)
		}
	}
	if e.clone {
		e.keptMACs()
	}
	return nil
}

func (e *editor) setMAC(element *etree.Element, address string) {
	const why = "two domains with one hardware address disturb each other on the network"
	mac := kid(element, "mac")
	if mac == nil {
		mac = etree.NewElement("mac")
		mac.CreateAttr("address", address)
		e.addFirst(element, mac, why)
		return
	}
	if !strings.EqualFold(attrValue(mac, "address"), address) {
		e.set(mac, "address", address, why)
	}
}

// keptMACs warns once of all addresses that the clone shares.
func (e *editor) keptMACs() {
	var kept []string
	for i, known := range e.before.interfaces {
		given := ""
		if i < len(e.edit.MACs) {
			given = e.edit.MACs[i]
		}
		if known.MAC != "" && (given == "" || strings.EqualFold(given, known.MAC)) {
			kept = append(kept, known.MAC)
		}
	}
	if len(kept) > 0 {
		e.warnOf(KeptMAC, "", "the clone keeps the original's hardware address (%s): the two must never run at the same time", strings.Join(kept, ", "))
	}
}

func (e *editor) targetDevice(element *etree.Element) {
	target := kid(element, "target")
	if target == nil || attrValue(target, "dev") == "" {
		return
	}
	dev := attrValue(target, "dev")
	if attrValue(target, "managed") == "no" {
		// Without a name libvirt would have to make the device, which this
		// says it must not.
		e.warn("interface %s: the host device %s is not libvirt's to make, so the clone uses the original's; the two can't run at the same time", e.path(element), dev)
		return
	}
	why := "the host-side device " + dev + " belongs to the original; libvirt makes another"
	if slices.ContainsFunc(generated, func(p string) bool { return strings.HasPrefix(dev, p) }) {
		why = "libvirt made the name " + dev + " up for one run of the original"
	}
	if len(target.Attr) == 1 && len(target.ChildElements()) == 0 {
		e.remove(target, why)
		return
	}
	e.drop(target, "dev", why)
}

// forwards warns of ports of the host that both domains would forward.
func (e *editor) forwards(element *etree.Element) {
	for _, forward := range kids(element, "portForward") {
		for _, r := range kids(forward, "range") {
			if attrValue(r, "exclude") != "yes" {
				e.warn("interface %s forwards the host's port %s as the original does; the two can't run at the same time", e.path(element), attrValue(r, "start"))
			}
		}
	}
}
