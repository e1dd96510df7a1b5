// Package nbd reads and writes a disk image that a server shows over the NBD protocol, as
// qemu-nbd does on a unix socket: the transmission phase with structured
// replies, block status of the context base:allocation, and as many requests in
// flight as there are callers.
//
// Client is for reading alone: there is no request in it that could change what
// is read, and it refuses a server that would take one. Writer is the other one. The protocol is NetworkBlockDevice/nbd, doc/proto.md; section
// names in comments are that document's.
package nbd
