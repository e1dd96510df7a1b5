// Package image reads disk images that are not raw: what the guest sees of a
// qcow2, vmdk, vdi or vhdx file and of the chain of images behind it. It also
// makes and writes qcow2 images, for a copy that is to stay one.
//
// # What a host is asked to trust
//
// An image can name other files: a backing file, a data file, extents. Whoever
// may write the name may read the file through the guest. Two rules keep that
// from being the guest:
//
// The format is given, never looked for. A guest owns every byte of a raw disk
// and can write a qcow2 header with a backing file /etc/shadow into it; whoever
// probes it then reads that file into the copy. Inspect takes the format from
// its caller, who has it from the domain, and that of a backing file from the
// header that names it; a header that names none is refused.
//
// QEMU resolves nothing. Inspect reads the headers itself, follows the names by
// its own rules (no URL, no protocol, no json:, no ring), and Serve hands QEMU a
// graph in which every node has its driver and its file. What a header says is
// not asked again.
//
// # How it is read
//
// Inspect reads headers alone and changes nothing. Tools.Open starts a read-only
// qemu-nbd on a socket that nobody else can reach, and reads from that through
// several connections; QEMU's locks keep a guest from being started on the image
// meanwhile. What the guest wrote lies in most images as it is, and is read from
// there (plain.go): qemu-img map says where, in windows, and a map that leaves a
// place out, leads outside of a file or to one place twice is an error. It is
// read only while qemu-nbd has its lock, and what is compressed or scattered,
// and all where there is no map, comes from qemu-nbd. Tools.Check has qemu-img look for damage that reading would not
// show: QEMU reads what lies beyond a truncated file's end as zeros.
//
// # How a copy is written
//
// Tools.Create makes an empty image, and Tools.OpenTarget has a qemu-nbd of its
// own write it. Clusters of zeros are zeroed and not written, so that the copy is
// as thin as its source or thinner. A flush reaches QEMU's tables too; after a
// power cut Tools.Mend takes back what was allocated and never used, and says
// whether the tables can be trusted.
package image
