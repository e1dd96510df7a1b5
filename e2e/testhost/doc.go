// Package testhost boots a whole Linux host as an ordinary process: Debian's
// user-mode Linux (the package user-mode-linux), a kernel with device-mapper,
// dm-crypt and LVM's targets that needs no rights over devices, no KVM and no
// image. Its root is the machine's own files, read-only, under an overlay
// that is forgotten at the end; its disks are files. So lvm2, cryptsetup,
// libvirtd and QEMU are the real ones, and nothing of the machine is touched.
//
//	h, err := testhost.Start(ctx, testhost.Options{
//		Disks:   []testhost.Disk{{Size: 1 << 30, Noise: true}},
//		Libvirt: true,
//	})
//	...
//	defer h.Stop()
//	out, err := h.Output(ctx, "pvcreate", "--yes", h.Device(0))
//
// How it works, in the order of a boot: Start (host.go) lays out a folder and
// the kernel's command line (boot.go) and starts linux.uml (kernel.go).
// boot/init.sh is the first program inside; it builds the root, loads
// modules, starts udevd, and hands over to the agent (e2e/agent). The agent
// runs what it is asked to over a serial line, whose other end the harness
// holds (command.go, package wire).
//
// Stop halts the host. PowerCut ends it as a power cut does: what was not
// flushed is lost. A harness that dies takes its hosts along.
package testhost
