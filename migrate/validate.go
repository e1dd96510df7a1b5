package migrate

import (
	"fmt"

	"github.com/beevik/etree"
)

// forValidation takes the network interfaces out of a definition. libvirt
// judges a definition without defining it by building QEMU's command line, and
// for that it makes a tap device for each interface: a change to the host, and a
// failure where there is no /dev/net/tun. What the clone's interfaces differ in
// is their MAC addresses alone, which are known to be good.
func forValidation(definition []byte) ([]byte, error) {
	document := etree.NewDocument()
	if err := document.ReadFromBytes(definition); err != nil {
		return nil, fmt.Errorf("read the clone's definition: %w", err)
	}
	for _, nic := range document.FindElements("/domain/devices/interface") {
		nic.Parent().RemoveChild(nic)
	}
	return document.WriteToBytes()
}
