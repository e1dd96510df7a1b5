package domainxml

import (
	"strings"

	"github.com/beevik/etree"
)

// Firmware is what a domain keeps outside its disks: UEFI variables and TPM
// state. A clone needs copies of its own.
type Firmware struct {
	// Auto is the os element's firmware attribute ("efi", "bios" or "").
	Auto string `json:"auto,omitempty"`
	// Loader is the path of the firmware image, which is shared, or "".
	Loader string `json:"loader,omitempty"`
	// NVRAM is the variable store, nil when the XML has none.
	NVRAM *NVRAM `json:"nvram,omitempty"`
	// TPMs are the TPMs in the order of the document.
	TPMs []TPM `json:"tpms,omitempty"`
}

// NVRAM is a domain's store of UEFI variables.
type NVRAM struct {
	// Type is "file", "block" or "network".
	Type string `json:"type"`
	// Path is the host's file, or "" when libvirt makes one named after the
	// domain at its first start.
	Path string `json:"path,omitempty"`
	// Format is "raw" or "qcow2".
	Format string `json:"format"`
	// Template is the file libvirt makes a new store from, or "". It is shared
	// and never written.
	Template string `json:"template,omitempty"`
	// Element is its path in the XML.
	Element string `json:"element"`
	// Refusal says in a sentence why it can't be copied, or is "".
	Refusal string `json:"refusal,omitempty"`
}

// TPM is a TPM of a domain.
type TPM struct {
	// Backend is "emulator", "passthrough" or "external".
	Backend string `json:"backend"`
	// Version is "1.2", "2.0" or "" for libvirt's default.
	Version string `json:"version,omitempty"`
	// State is where an emulator keeps its state when the XML says so; ""
	// means /var/lib/libvirt/swtpm/UUID.
	State string `json:"state,omitempty"`
	// StateType is State's kind, "file" or "dir", or "".
	StateType string `json:"state_type,omitempty"`
	// Secret is the UUID of the libvirt secret that encrypts the state; "" for
	// state that lies on the host in plain text.
	Secret string `json:"secret,omitempty"`
	// Element is its path in the XML.
	Element string `json:"element"`
}

// Firmware lists what the domain keeps outside its disks.
func (d *Domain) Firmware() Firmware {
	var f Firmware
	for _, os := range kids(d.document.root(), "os") {
		f.Auto = attrValue(os, "firmware")
		if loader := kid(os, "loader"); loader != nil {
			f.Loader = strings.TrimSpace(loader.Text())
		}
		if nvram := kid(os, "nvram"); nvram != nil {
			f.NVRAM = d.nvram(nvram)
		} else if store := kid(os, "varstore"); store != nil {
			f.NVRAM = &NVRAM{Type: "file", Path: attrValue(store, "path"), Format: "raw", Template: attrValue(store, "template"), Element: d.path(store)}
		}
	}
	for _, tpm := range d.document.devices("tpm") {
		backend := kid(tpm, "backend")
		if backend == nil {
			continue
		}
		t := TPM{Backend: attrValue(backend, "type"), Version: attrValue(backend, "version"), Element: d.path(tpm)}
		if t.Backend == "emulator" {
			if source := kid(backend, "source"); source != nil {
				t.State, t.StateType = attrValue(source, "path"), attrValue(source, "type")
			}
			if encryption := kid(backend, "encryption"); encryption != nil {
				t.Secret = attrValue(encryption, "secret")
			}
		}
		f.TPMs = append(f.TPMs, t)
	}
	return f
}

func (d *Domain) nvram(e *etree.Element) *NVRAM {
	n := &NVRAM{Type: "file", Format: "raw", Template: attrValue(e, "template"), Element: d.path(e), Path: strings.TrimSpace(e.Text())}
	if f := attrValue(e, "format"); f != "" {
		n.Format = f
	}
	if t := attrValue(e, "type"); t != "" {
		n.Type = t
	}
	if source := kid(e, "source"); source != nil {
		n.Path = attrValue(source, "file") + attrValue(source, "dev")
	}
	switch n.Type {
	case "file":
	case "block":
		n.Refusal = "the firmware's variables are on a block device, and a clone can only be given a file of its own"
	case "network":
		n.Refusal = "the firmware's variables are on another machine, reached over the network; a clone can only be given a file of its own"
	default:
		n.Refusal = "the firmware's variables are kept in a way that is not known, type " + n.Type
	}
	return n
}

// firmware gives the clone variables and TPM state of its own.
func (e *editor) firmware() error {
	known := e.before.Firmware()
	if known.NVRAM == nil && e.edit.NVRAM != "" {
		return &EditError{Field: "NVRAM", Value: e.edit.NVRAM, Reason: "the domain has no <nvram>"}
	}
	if known.NVRAM != nil && (e.clone || e.edit.NVRAM != "") {
		if known.NVRAM.Refusal != "" {
			return &FirmwareError{Path: known.NVRAM.Element, Reason: known.NVRAM.Refusal}
		}
		e.nvram(*known.NVRAM)
	}
	return e.tpm(known.TPMs)
}

func (e *editor) nvram(n NVRAM) {
	path := e.edit.NVRAM
	if path == "" {
		if n.Path == "" {
			return // libvirt makes one named after the clone
		}
		path = renamed(n.Path, e.before.Name, e.edit.Name)
		if path == n.Path {
			e.warn("the clone uses the original's firmware variables, %s; give it a copy of its own", n.Path)
			return
		}
	}
	const why = "each domain writes firmware variables of its own"
	for _, os := range kids(e.root(), "os") {
		if store := kid(os, "varstore"); store != nil {
			e.set(store, "path", path, why)
		}
		nvram := kid(os, "nvram")
		if nvram == nil {
			continue
		}
		if source := kid(nvram, "source"); source != nil {
			e.set(source, "file", path, why)
		} else {
			e.setText(nvram, path, why)
		}
	}
}

func (e *editor) tpm(tpms []TPM) error {
	elements := e.devices("tpm")
	placed := false
	for _, element := range elements {
		backend := kid(element, "backend")
		if backend == nil || attrValue(backend, "type") != "emulator" {
			continue
		}
		source := kid(backend, "source")
		if source == nil || attrValue(source, "path") == "" {
			continue // it goes by the UUID
		}
		const why = "each domain's TPM writes state of its own"
		state := attrValue(source, "path")
		switch next := renamed(state, e.before.Name, e.edit.Name); {
		case e.edit.TPMState != "":
			e.set(source, "path", e.edit.TPMState, why)
			placed = true
		case !e.clone:
		case next != state:
			e.set(source, "path", next, why)
		default:
			e.warn("the clone uses the original's TPM state, %s; give it a copy of its own", state)
		}
	}
	if e.edit.TPMState != "" && !placed {
		return &EditError{Field: "TPMState", Value: e.edit.TPMState, Reason: "the domain has no TPM whose XML names its state"}
	}
	if e.clone {
		for _, t := range tpms {
			if t.Backend == "passthrough" {
				e.warn("the TPM is the host's own (%s); what the guest sealed to it stays there, and only one domain can use it", t.Element)
			}
		}
	}
	return nil
}
