//go:build linux && amd64

// Command inside is the part of the crash tests that runs on the test host,
// beside the program it torments. It makes a small world (a volume group, a VM
// with two disks, another with a qcow2 image), runs the vmmigrate that ships under ptrace(2), and stops it
// at an instant that a system call marks: right before a file is made, written,
// renamed or removed, before a request goes to libvirtd, before a block goes to
// the payload, and before or while another program runs. At that instant it
// kills vmmigrate with SIGKILL, or does something else to the world.
//
// So faults are injected from outside, the binary needs no hooks, and the
// instants are the same ones in every run. They have names that outlive ids
// and temporary files: the step and disk that the journal was last told of,
// and what the system call is about.
//
//	world.go     the world: made, looked at, compared
//	layout.go    the VM whose disk stays an image, on a file system in its volume
//	trace.go     ptrace: one process and its threads, and each program it starts
//	filter.go    seccomp: which system calls ptrace is to stop at
//	instant.go   what a system call is about
//	job.go       vmmigrate's commands, and what has to hold after them
//	kill.go      killing at each instant: one by one, or one job at many
//	main.go      the commands, which print one JSON document or one a line
package main
