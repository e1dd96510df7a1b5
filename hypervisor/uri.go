package hypervisor

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// defaultURI is libvirt's own for root on a KVM host.
const defaultURI = "qemu:///system"

// target is where a URI leads.
type target struct {
	uri string // as given
	// name is what the daemon is asked to open: the URI without what only
	// tells how to reach the daemon.
	name string
	// sockets are tried in this order.
	sockets []string
}

// resolve reads a connection URI (libvirt.org/uri.html). It returns a
// *URIError for one that leads to another host, or to no QEMU.
func resolve(uri string, getenv func(string) string) (target, error) {
	if uri == "" {
		uri = defaultURI
	}
	refuse := func(reason string) (target, error) { return target{}, &URIError{URI: uri, Reason: reason} }
	u, err := url.Parse(uri)
	if err != nil {
		return refuse("it is no URI, such as " + defaultURI)
	}
	driver, transport, _ := strings.Cut(u.Scheme, "+")
	if u.Host != "" || transport != "" && transport != "unix" {
		return refuse("it leads to another host; run vmmigrate on the host that runs the guests")
	}
	if driver != "qemu" && driver != "test" {
		return refuse("vmmigrate moves QEMU and KVM guests only, so it must begin with qemu:///")
	}
	if driver == "qemu" && u.Path != "/system" && u.Path != "/session" {
		return refuse("it is neither qemu:///system nor qemu:///session")
	}

	result := target{uri: uri, name: driver + "://" + u.Path}
	if socket := u.Query().Get("socket"); socket != "" {
		result.sockets = []string{socket}
		return result, nil
	}
	folders := []string{"/run/libvirt", "/var/run/libvirt"}
	if u.Path == "/session" {
		// As libvirt's own client finds it (virGetUserRuntimeDirectory).
		folder := getenv("XDG_RUNTIME_DIR")
		if folder == "" {
			folder = filepath.Join(getenv("HOME"), ".cache")
		}
		folders = []string{filepath.Join(folder, "libvirt")}
	} else if sameFolder(folders[0], folders[1]) {
		folders = folders[:1]
	}
	// First the daemon of the split libvirt that has QEMU alone, as libvirt's
	// client does (libvirt.org/daemons.html), then the one that has it all.
	sockets := []string{"virtqemud-sock", "libvirt-sock"}
	if driver == "test" {
		sockets = sockets[1:]
	}
	for _, folder := range folders {
		for _, socket := range sockets {
			result.sockets = append(result.sockets, filepath.Join(folder, socket))
		}
	}
	return result, nil
}

// sameFolder says that two paths are one folder, as /var/run and /run are
// nearly everywhere, or that the second is not there to be tried.
func sameFolder(a, b string) bool {
	other, err := os.Stat(b)
	if err != nil {
		return true
	}
	one, err := os.Stat(a)
	return err == nil && os.SameFile(one, other)
}
