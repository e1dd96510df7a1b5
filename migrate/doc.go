// Package migrate moves a virtual machine from plain disks onto LUKS-encrypted
// logical volumes.
//
// The journey of one VM, a job, is an ordered list of steps; steps.go is that
// list. Each step can say whether its effect stands (Check), bring it about
// (Do) and take it back (Undo), and each is in a file of its own, step_*.go.
//
//	facts.go    looks at the host: domains, disks, volume groups, mappings
//	plan.go     decides, from facts and options alone, what would be done
//	engine.go   goes forward through the steps: run and resume
//	rollback.go goes backward through them
//	batch.go    runs the jobs of several VMs
//	adopt.go    makes a VM of disk images that belong to none
//	ports.go    the small interfaces through which steps touch the world
//
// Three rules carry everything. What a job is about to do is on disk before it
// does it (package journal), so a crash at any instant leaves a job that can be
// finished or undone. A record is a hint and the world is the truth: every
// step looks before it acts, forward and backward. And a job removes only what
// bears its mark: the logical volume's tag, the LUKS header's UUID, the
// clone's metadata; all three are chosen before anything is made.
//
// The words: the source is the plain disk, which is never written; the target
// volume is the new logical volume; the payload is the decrypted device on it,
// and holds the disk itself or a file system with an image of it (layout.go);
// the clone is the new domain.
package migrate
