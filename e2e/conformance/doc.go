// Package conformance runs, in test hosts, what each adapter and the copy engine
// claim of the real lvm2, cryptsetup, libvirt and device-mapper: the suites with
// the build tag realhost, which the fakes pass too.
package conformance
