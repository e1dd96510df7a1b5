// Package boot is what the host does with encrypted guests when it boots and
// shuts down, by way of the tools that it has for that: lines in
// /etc/crypttab, of which systemd makes units that unlock, and drop-ins that
// tie a guest's unit to those of its disks.
//
//	crypttab.go  edits the text of a crypttab, all bytes of others kept
//	file.go      replaces a file at once or not at all
//	record.go    what is set up for one guest; it is kept in the guest's drop-in
//	escape.go    names of units
//	host.go      this machine's files and systemctl
//	keyfile.go   where a key file lies, and who can read it
//	tang.go      the keys that a tang server offers
//
// Nothing here knows libvirt, LVM or LUKS.
package boot
