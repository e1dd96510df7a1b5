package main

import (
	"errors"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
)

// successionCases are the errors of cutover.
func successionCases() []explainCase {
	const clone, uuid = "imap-luks", "6c1b5a5e-5a0e-4d2c-8a34-0d3c6d1d1a01"
	party := func(vm string, problem succession.Problem) error {
		return before(&succession.PartyError{VM: vm, Clone: clone, Problem: problem, State: hypervisor.Running})
	}
	step := func(aftermath migrate.Aftermath, back bool, err, undo error) error {
		return &succession.StepError{Job: testJob, VM: clone, Step: migrate.TakePlace, Aftermath: aftermath, Back: back, Err: err, UndoErr: undo}
	}
	hangs := &hypervisor.TimeoutError{Call: `define the domain "imap" anew`, After: 30e9}
	return []explainCase{
		{"a cutover under a running original", party("imap", succession.Active)},
		{"a cutover under a running clone", party(clone, succession.Active)},
		{"a cutover of a transient VM", party(clone, succession.Transient)},
		{"a cutover with a managed save image", party("imap", succession.ManagedSave)},
		{"a cutover with snapshots", party("imap", succession.Snapshots)},
		{"a cutover with checkpoints", party(clone, succession.Checkpoints)},
		{"a cutover whose original is not defined", &succession.NoOriginalError{Clone: clone, Original: "imap", UUID: uuid}},
		{"a cutover whose original's name is another's", &succession.NoOriginalError{Clone: clone, Original: "imap", UUID: uuid, Taken: true}},
		{"a cutover whose original was retired", &succession.NoOriginalError{Clone: clone, Original: "imap", UUID: uuid, Retired: true}},
		{"a cutover whose new name is taken", &succession.NameTakenError{Name: "imap-plain", By: "imap-plain"}},
		{"the undo of a cutover whose old UUID is taken", &succession.NameTakenError{Name: uuid, By: "web"}},
		{"a cutover of one clone of two", &succession.SiblingError{Clone: clone, Other: "imap-2", Original: "imap"}},
		{"a VM whose cutover is not finished", &succession.HalfError{VM: "imap", Job: testJob}},
		{"a VM whose cutover is half taken back", &succession.HalfError{VM: "imap", Job: testJob, Undo: true, Back: true}},
		{"a VM whose cutover is under way", &succession.HalfError{VM: "imap", Job: testJob, Running: true}},
		{"resume of a cutover that is done", &succession.EndedError{Job: testJob, Clone: "imap"}},
		{"resume of an undo that is done", &succession.EndedError{Job: testJob, Clone: clone, Undo: true}},
		{"a cutover that libvirt refused", step(migrate.TakenBack, false, &hypervisor.RefusedError{Call: "define the domain", Message: "no"}, nil)},
		{"a cutover whose VM was edited meanwhile", step(migrate.TakenBack, false, &succession.ChangedError{VM: "imap", UUID: uuid, Reason: "its definition was edited"}, nil)},
		{"a cutover that Ctrl-C ended", step(migrate.Kept, false, &migrate.InterruptedError{Why: "SIGINT"}, nil)},
		{"a cutover under a libvirt that hangs", step(migrate.UndoFailed, false, hangs, hangs)},
		{"a rollback of a cutover that failed", step(migrate.Kept, true, errors.New("input/output error"), nil)},
		{"rollback of a job whose original was retired", &migrate.OriginalRetiredError{Clone: "imap"}},
		{"rollback of a job whose clone was cut over", &migrate.CloneRenamedError{Clone: clone, Now: "imap"}},
	}
}
