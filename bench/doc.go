// Command bench measures blockcopy against qemu-img, nbdcopy and dd, and
// against what the devices can do at all. `make bench` runs it;
// docs/PERFORMANCE.md tells how to read what it prints.
//
// It makes its own devices: files in a tmpfs of its own, on loop devices that
// losetup chose for it, and with -crypt a dm-crypt mapping on the target. It
// takes no device by name, so it can't overwrite one, and removes exactly what
// it made.
//
// Each contender is a process of its own, this program's too, so that wall
// time, processor time and memory are taken the same way of all. Contenders
// run in turn, in another order each round, and ratios are taken within a
// round: what else the machine does hits both sides alike.
//
// main.go says what is run, contenders.go who competes, devices.go makes the
// devices, run.go measures one process, child.go is our side in that process,
// report.go prints, promises.go judges.
package main
