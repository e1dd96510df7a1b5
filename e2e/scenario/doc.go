// Package scenario holds the tests that drive the built vmmigrate on a real
// host: LVM, dm-crypt, libvirtd and QEMU in a test host (package testhost),
// with a guest that boots (package guest).
//
// They bear the build tag e2e, for they take minutes:
//
//	go test -tags e2e ./e2e/...
package scenario
