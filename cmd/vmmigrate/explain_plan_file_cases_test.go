package main

import (
	"errors"
	"syscall"

	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/planfile"
)

func planFileCases() []explainCase {
	return []explainCase{
		{"a plan file with a mistyped line", &planfile.Error{File: "batch.yaml", Line: 7, Column: 5, Reason: `a VM does not know "clon"; it knows name, clone`}},
		{"a plan file that is not there", &planfile.Error{File: "batch.yaml", Reason: "no such file or directory"}},
		{"a plan that would replace a file", &saveError{name: "batch.yaml", again: "vmmigrate plan --all --save batch.yaml --force", err: &planfile.ExistsError{File: "batch.yaml"}}},
		{"a plan that can't be saved", &saveError{name: "/mnt/batch.yaml", err: syscall.ENOSPC}},
		{"a state directory of another user", &migrate.StateDirError{Dir: "/var/lib/vmmigrate", Owner: 1000, Mode: 0o700}},
		{"a state directory that all may write into", &migrate.StateDirError{Dir: "/tmp", Mode: 0o777}},
		{"a recovery key's file that is there", before(&recoveryFileError{"/root/imap.recovery-key", errors.New("it exists already, and no recovery key is ever overwritten")})},
		{"a recovery key's file that can't be written", &recoveryFileError{"/mnt/imap.recovery-key", syscall.EROFS}},
	}
}
