package main

import (
	"os"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// machine is what a command line goes by besides its arguments, so that a test
// can say that it runs as another user, or wait for a hung daemon in less time.
type machine struct {
	// root says whether this process may read disks and volume groups.
	root bool
	// installed returns a *command.NotFoundError for a program that is not there.
	installed func(program string) error
	// libvirtTime is how long one call to libvirt may take.
	libvirtTime time.Duration
	// keyTime bounds a passphrase command.
	keyTime time.Duration
}

// thisMachine is the real one. What makes libvirt probe QEMU, which takes most of
// a minute on a slow host, may take longer than libvirtTime: package hypervisor
// waits for that as long as the daemon answers pings. A passphrase command may
// have a person touch a token, but nobody waits for a hung one all night.
func thisMachine() machine {
	return machine{root: os.Geteuid() == 0, installed: command.Installed, libvirtTime: 30 * time.Second, keyTime: 2 * time.Minute}
}
