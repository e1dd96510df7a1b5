package guest

import (
	_ "embed" // for domain.xml
	"fmt"
	"strings"
	"text/template"
)

// Name is the domain's, unless Spec says otherwise.
const Name = "imap"

// The guest's memory is small for more than speed: on a test host each page of
// it can become a mapping of the machine's process, which may have 65530 of
// them (vm.max_map_count), and 256 MiB are 65536 pages. Past that, QEMU dies.
//
//go:embed domain.xml
var domainText string

// Spec is a domain that Install defines.
type Spec struct {
	// Name may hold anything that libvirt takes.
	Name string
	// Root is the block device of the first disk, Data the raw file of the
	// second; "" leaves that one out.
	Root, Data string
	// ISO is the file in the cdrom.
	ISO string
	// MAC is the network interface's.
	MAC string
}

// SerialLog is where the domain's serial console is written on the host.
func (s Spec) SerialLog() string { return serialLog(s.Name) }

func serialLog(name string) string { return "/var/log/libvirt/qemu/" + name + "-serial.log" }

// XML returns the domain as libvirt takes it.
func (s Spec) XML() (string, error) {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&apos;", `"`, "&quot;").Replace
	parsed, err := template.New("domain").Funcs(template.FuncMap{"xml": escape}).Parse(domainText)
	if err != nil {
		return "", fmt.Errorf("domain.xml: %w", err)
	}
	var text strings.Builder
	if err := parsed.Execute(&text, s); err != nil {
		return "", fmt.Errorf("domain.xml: %w", err)
	}
	return text.String(), nil
}
