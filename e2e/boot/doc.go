// Package boot holds the scenario of a host that boots and shuts down, with
// systemd as its process 1, a real crypttab, libvirtd and a guest: disks are
// unlocked before their guest starts, and locked after it has shut down.
//
// It bears the build tag e2e, for it takes minutes:
//
//	go test -tags e2e ./e2e/boot
package boot
