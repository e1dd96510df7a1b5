// Package lifecycle is what comes after the move: it unlocks a clone's disks
// and starts it, stops and locks it, keeps and restores its LUKS headers,
// changes its keys and says what state it all is in.
//
// It needs no state file. A clone tells by its own metadata
// (domainxml.Origin) from which domain it came and which volumes lie under its
// disks; each volume is known by the UUID in its LUKS header, whatever it and
// its mapping are called by now. So everything here works on clones whose job
// is long gone, and on volumes that were renamed since.
//
//	clone.go    finds clones by their metadata
//	volume.go   finds the volume and the mapping of each disk
//	unlock.go   unlock and lock
//	mount.go    what images lie on is mounted and unmounted
//	start.go    start and stop
//	guard.go    what must not run beside a clone
//	status.go   how it all stands
//	header.go   header backups: make, check, restore
//	keys.go     keys: add, change, remove, test
//	autostart.go unlocked and started at boot; autostart_acts.go does it act by act
//	enroll.go   key slots of TPMs, tang servers and tokens
//	follow.go   systemd is told what is done by hand
//	trim.go     how far discards reach
//	ports.go    the small interfaces to the world
//
// Every act is idempotent and looks at the world before it touches it; what an
// act had made when it failed half-way it takes back.
package lifecycle
