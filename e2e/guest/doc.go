// Package guest builds a virtual machine that boots by itself and tells on its
// serial console what it reads from its disks, and puts it on a test host.
//
// Its first disk has a GPT, GRUB, an ext4 root and Debian's cloud kernel; the
// init in its initramfs (init.sh) mounts the root, reads every byte of each
// disk, prints sizes and SHA-256 sums and powers off. Nothing on the disks is
// written at any time, so what two boots print is equal if and only if the
// disks are. Its second disk is a raw file whose size suits nobody: no
// multiple of 4 MiB, nor of 4096. A cdrom holds an ISO.
//
// All of it is made from files, with no loop device, no mount and no rights:
// Build makes the images (kernel.go, initramfs.go, root.go, bootloader.go),
// Install puts them on a host and defines the domain (install.go, domain.go),
// Boot runs it and reads its console (boot.go).
package guest
