// Package succession has a clone take its original's place, and has the original
// go.
//
// A cutover exchanges identities: the clone takes the original's name, UUID and
// hardware addresses; the original steps aside as NAME-plain, with a new UUID
// and the addresses that the clone had. To take it back is the same exchange the
// other way round, so both are one thing here:
//
//	exchange.go  what is to change: the plan that is journaled
//	decide.go    makes that plan, from the two definitions
//	steps.go     the ordered list of steps
//	step_*.go    each with its Check, Do and Undo
//	engine.go    goes forward and backward through them
//
// The rules are those of package migrate: intent is on disk before an act, a
// step looks at the world before it touches it, and whatever a crash leaves is
// finished by resume, or by the same command again, or taken back by rollback.
//
// At no instant is either guest without a definition. libvirt changes no
// UUID, so the party that steps aside is first defined a second time under its
// new identity; then its old definition is replaced, in one act of libvirt's, by
// that of the party that comes; then the latter's old one goes. Until the end
// a definition may be there twice, but neither runs, and start refuses both.
//
// A retirement wipes the original's plain disks, reads them back and removes
// them. It is the one exception to the rule that vmmigrate removes only what it
// has made, and so the one that is surest of what it has before it:
//
//	retirement.go       the plan that is journaled
//	retire_judge.go     everything that speaks against it, and retire_users.go
//	                    who else uses the disks
//	retire_facts.go     looks at disks, and says what a method can't do on them
//	retire_engine.go    the ordered list of steps, forward only
//	retire_steps.go     the steps; retire_record.go what they leave
//	wipe.go             writes and reads back, with package blockcopy
//
// It looks at everything again right before a disk is touched. Once one is being
// wiped there is only forward.
package succession
