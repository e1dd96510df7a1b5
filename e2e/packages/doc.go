// Package packages holds what is promised of the .deb and the .rpm: that two
// builds give the same bytes, that lintian finds no error, and that on a host the
// package is installed, works, is upgraded, removed and purged, after which
// nothing is left of it but the state that somebody may need to get at a disk.
//
//	go test -tags e2e -count=1 -v ./e2e/packages
package packages
