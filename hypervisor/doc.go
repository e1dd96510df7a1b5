// Package hypervisor talks to the libvirt daemon of this host.
//
// Dial gives a Conn, through which domains are listed, looked at, defined,
// started and undefined. It speaks libvirt's RPC protocol on the daemon's unix
// socket by github.com/digitalocean/go-libvirt, which knows no context and no
// time limit; Conn adds both. A call that the daemon does not answer in time
// returns a *TimeoutError and cuts the connection, so a daemon that hangs
// costs its time limit and nothing else. The next call connects anew, so one
// Conn serves a whole job, daemon restarts included.
//
// Everything here is about one host: a URI that leads to another is refused.
//
// Domains are known by UUID wherever something is done to them, for a name may
// come to mean another domain between two calls.
package hypervisor
