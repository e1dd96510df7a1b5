// Package filesystem makes file systems on block devices and mounts them: the
// place inside an encrypted volume where a guest's image file lies.
//
// mkfs and blkid are run; mounting is a system call (mount(2)), so that the
// folder that was looked at is the one that is mounted on, whatever its name
// leads to by then. What is mounted is read from /proc/self/mountinfo.
//
// A mount is known by the device under it. Nothing here unmounts a file system of
// another device, or removes a folder that has something in it.
package filesystem
