package main

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lifecycle"
)

// bootCases are the errors of autostart.
func bootCases() []explainCase {
	const clone, unit = "imap-luks", "vmmigrate-guest@imap.service"
	readOnly := &boot.FileError{Path: "/etc/crypttab", Err: unix.EROFS}
	entry := boot.Entry{Mapper: "cr_imap_vda", Source: "/dev/sdb1", Key: "none", Options: "luks"}
	mail := entry
	mail.Mapper = "mail"
	key := boot.Unlock{Method: boot.KeyFile, KeyFile: "/etc/keys/my imap"}
	return []explainCase{
		{"a host that systemd did not boot", &boot.NotBootedError{}},
		{"a guest's unit that is not installed", &boot.NoUnitError{Unit: boot.Template}},
		{"a key file with a space in its path", &boot.WordError{What: "key file", Word: "/etc/my key", Reason: "it has white space, and there is no way to quote that"}},
		{"a line of the crypttab for the same mapping", &boot.ClashError{Path: boot.Crypttab, Line: boot.Line{Number: 7, Entry: entry}, Mapper: "cr_imap_vda"}},
		{"a line of the crypttab for the same volume", &boot.ClashError{Path: boot.Crypttab, Line: boot.Line{Number: 7, Entry: mail}, Mapper: "cr_imap_vda"}},
		{"a key file that others can read", &boot.KeyFileError{Path: "/etc/keys/imap", Reason: "others than root may read or change it (mode 0644)", Fix: []string{"chmod", "600", "/etc/keys/imap"}}},
		{"a key file on a plain disk", &boot.KeyFileError{Path: "/etc/keys/imap", Reason: "it lies unencrypted on /dev/sda (/): whoever has that disk has the key of the guest's disks as well", Forced: true}},
		{"a key file that does not fit", &lifecycle.KeyError{Clone: clone, Disk: "vda", Volume: "vg0/imap-vda-luks", Tries: 1, File: "/etc/keys/imap"}},
		{"a drop-in of ours that was changed", &boot.RecordError{Path: "/etc/systemd/system/" + unit + ".d/vmmigrate.conf", Reason: "it names no job"}},
		{"a crypttab on a file system that is read-only", &lifecycle.AutostartError{Clone: clone, Err: readOnly}},
		{"a systemctl that fails", &lifecycle.AutostartError{Clone: clone, Err: &command.Error{Argv: []string{"systemctl", "enable", unit}, ExitCode: 1, Stderr: "Access denied", Err: errors.New("exit status 1")}}},
		{"an autostart that could not be taken back", &lifecycle.AutostartPartlyError{Clone: clone, Err: errors.Join(readOnly, readOnly)}},
		{"an autostart that is taken away in part", &lifecycle.AutostartPartlyError{Clone: clone, Disabling: true, Err: readOnly}},
		{"a running guest that systemd does not take over", &lifecycle.AutostartJoinError{Clone: clone, Unit: unit, Err: &command.Error{Argv: []string{"systemctl", "start", unit}, ExitCode: 1, Err: errors.New("exit status 1")}}},
		{"a disk that was not unlocked at boot", &lifecycle.NotUnlockedError{Clone: clone}},
		{"another way to unlock than the one that is set up", &lifecycle.AutostartOtherwiseError{Clone: clone, Now: boot.Unlock{Method: boot.Prompt}, Wanted: key}},
		{"two VMs that bear the mark of one job", &lifecycle.TwoClonesError{Job: testJob, Clones: []string{clone, "copy of imap"}}},
		{"a job whose clone is gone", before(&lifecycle.UnknownCloneError{Job: testJob})},
		{"a LUKS1 header and a TPM", &lifecycle.NeedsLUKS2Error{Clone: clone, Disk: "vda", Volume: "vg0/imap-vda-luks", Method: boot.TPM2}},
		{"a header in a file and a tang server", &lifecycle.HeaderApartError{Clone: clone, Disk: "vda", File: "/media/stick/imap.header"}},
		{"a tang server that does not answer", before(&boot.TangError{URL: "http://tang", Err: errors.New("connection refused")})},
		{"a tang server with another key", before(&boot.TangTrustError{URL: "http://tang", Wanted: "x", Offered: []string{"y"}})},
		{"clevis that is not installed", before(&command.NotFoundError{Name: "clevis-luks-bind", Package: "clevis-luks"})},
		{"a token that is not there", &lifecycle.AutostartError{Clone: clone, Err: &lifecycle.EnrollError{Method: boot.FIDO2, Device: "/dev/vg0/imap-vda-luks", Missing: true}}},
		{"a TPM that is not there", &lifecycle.AutostartError{Clone: clone, Err: &lifecycle.EnrollError{Method: boot.TPM2, Device: "/dev/vg0/imap-vda-luks", Missing: true}}},
	}
}
