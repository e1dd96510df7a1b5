package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
)

// script answers commands as cryptsetup 2.6.1 did.
type script struct {
	t       *testing.T
	answers map[string]command.Result // by the first word of the arguments
	fail    *command.Error
	ran     []command.Cmd
}

func (s *script) Run(_ context.Context, cmd command.Cmd) (command.Result, error) {
	s.ran = append(s.ran, cmd)
	if s.fail != nil {
		return command.Result{}, s.fail
	}
	return s.answers[cmd.Args[0]], nil
}

func TestTheSlotOfAKeyIsReadFromWhatCryptsetupSays(t *testing.T) {
	s := &script{t: t, answers: map[string]command.Result{"open": {Stdout: []byte("No usable token is available.\nKey slot 12 unlocked.\nCommand successful.\n")}}}
	slot, err := NewCryptsetup(s).KeySlot(t.Context(), "-odd device", key(t, "s3cret"))
	if err != nil || slot != 12 {
		t.Errorf("slot %d, %v", slot, err)
	}
	cmd := s.ran[0]
	if !cmd.ReadOnly || string(cmd.Stdin) != "s3cret" || strings.Contains(cmd.String(), "s3cret") || !slices.Equal(cmd.Args[len(cmd.Args)-2:], []string{"--", "-odd device"}) {
		t.Errorf("ran %s", cmd)
	}
	s.answers["open"] = command.Result{Stdout: []byte("Command successful.\n")}
	if _, err := NewCryptsetup(s).KeySlot(t.Context(), "/dev/vg0/a", key(t, "s3cret")); err == nil {
		t.Error("took silence for a slot")
	}
	s.fail = &command.Error{ExitCode: 2, Stderr: "No key available with this passphrase."}
	_, err = NewCryptsetup(s).KeySlot(t.Context(), "/dev/vg0/a", key(t, "s3cret"))
	wrong[*luks.WrongKeyError](t, err)
	s.fail = &command.Error{ExitCode: 4, Stderr: "Device /dev/vg0/a does not exist or access denied."}
	_, err = NewCryptsetup(s).KeySlot(t.Context(), "/dev/vg0/a", key(t, "s3cret"))
	if !errors.Is(err, error(s.fail)) {
		t.Error(err)
	}
	_, err = NewCryptsetup(s).KeySlot(t.Context(), "/dev/vg0/a", luks.Key{})
	wrong[*luks.KeyError](t, err)
}

func TestALargeKeysSizeIsTold(t *testing.T) {
	s := &script{t: t, answers: map[string]command.Result{"open": {Stderr: []byte("Key slot 0 unlocked.\n")}}}
	if _, err := NewCryptsetup(s).KeySlot(t.Context(), "/dev/vg0/a", key(t, strings.Repeat("k", 1<<16))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.ran[0].String(), "--keyfile-size 65536") {
		t.Errorf("ran %s", s.ran[0])
	}
}

func TestARestoreIsNeverRunByACommandThatOnlyLooks(t *testing.T) {
	s := &script{t: t}
	err := NewCryptsetup(command.ReadOnly{Runner: s}).HeaderRestore(t.Context(), "/dev/vg0/a", "/root/header")
	wrong[*command.RefusedError](t, err)
	no(t, NewCryptsetup(s).HeaderRestore(t.Context(), "/dev/vg0/a", "/root/my header"))
	if got := s.ran[0].String(); got != "cryptsetup luksHeaderRestore --batch-mode '--header-backup-file=/root/my header' -- /dev/vg0/a" {
		t.Errorf("ran %s", got)
	}
}
