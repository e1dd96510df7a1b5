// Package domainxml reads a libvirt domain's XML and makes a clone's from it.
//
// Parse tells what a domain has: its disks, each with what can be done with
// it and why, its interfaces, its firmware. Rewrite makes the clone's XML. It
// edits the original text, so that all it does not change stays byte for byte
// as it was, comments, quotes and line ends included; then it reads its own
// result again and compares the two trees (Diff). Any difference that no line
// of code meant is an error that names it, never a surprise at the next boot.
//
// These change, each with a reason in Rewritten.Changes:
//
//   - name and UUID, the UUID in sysinfo too; generation ID and vsock address,
//     which libvirt then chooses anew;
//   - hardware addresses of the interfaces, and their host-side devices;
//   - type, source and driver type of the disks that moved, and what belonged
//     to the old source only; driver discard, as Edit.AllowDiscards says;
//   - fixed VNC, SPICE and RDP ports, which become automatic;
//   - sockets, logs and output files that are called after the original;
//   - the path of the firmware's variables, and of TPM state when the XML has
//     one;
//   - our own element in <metadata> (Origin).
//
// All else is kept, also what libvirtxml, which is used to read, does not
// know. What is kept and yet names the original (in qemu:commandline, a
// security label, blkiotune) is in Rewritten.Warnings.
//
// A per-disk <seclabel> is kept: somebody put it there, and only they know
// whether the new device bears the label it asks for. It is warned about.
//
// Three tiers of tests hold it to this: the usual one; libvirt's own test
// suites, some 4,000 domains, and its RELAX NG schema (tag corpus, fetched by
// corpus/fetch.sh); and virt-clone and libvirt's test driver on the same
// documents (tag virtclone).
//
// Hostile texts are refused within fixed bounds of time and memory: see
// SyntaxError and TooLargeError.
package domainxml
