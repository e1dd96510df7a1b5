package main

import (
	"errors"
	"strconv"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lifecycle"
)

// explainBoot tells of what keeps a clone from being unlocked and started at
// boot.
func explainBoot(err error) (advice, bool) {
	var partly *lifecycle.AutostartPartlyError
	var failed *lifecycle.AutostartError
	var join *lifecycle.AutostartJoinError
	var locked *lifecycle.NotUnlockedError
	var otherwise *lifecycle.AutostartOtherwiseError
	a := advice{what: err.Error(), exit: exitFailed}
	switch {
	case errors.As(err, &partly):
		a.exit, a.state = exitResumable, "what is set up is kept; the same command goes on, and autostart disable takes all of it away"
		a.details = explainCause(partly.Err).details
		a.next = append(bootNext(partly.Err), "vmmigrate autostart disable "+named(partly.Clone), "vmmigrate status "+named(partly.Clone))
	case errors.As(err, &failed):
		a.state = "what had been set up was taken back; " + unchanged + " otherwise"
		a.details, a.next = explainCause(failed.Err).details, bootNext(failed.Err)
	case errors.As(err, &join):
		a.state = "the guest runs on; until its unit is started, a shutdown of the host does not stop it in order"
		a.next = []string{command.Quote([]string{"systemctl", "status", join.Unit})}
	case errors.As(err, &locked):
		a.state = "nothing was started"
		a.next = []string{command.Quote([]string{"journalctl", "--boot", "--unit", "systemd-cryptsetup@*"}), "vmmigrate start " + named(locked.Clone) + "   # asks for the passphrase"}
	case errors.As(err, &otherwise):
		a.exit, a.state = exitRefused, unchanged
		a.next = []string{"vmmigrate autostart disable " + named(otherwise.Clone), "vmmigrate autostart enable " + named(otherwise.Clone) + " --unlock " + command.Quote([]string{otherwise.Wanted.String()})}
	default:
		return explainBootRefusal(err)
	}
	return a, true
}

// explainBootRefusal tells of what was found before anything was changed.
func explainBootRefusal(err error) (advice, bool) {
	var booted *boot.NotBootedError
	var unit *boot.NoUnitError
	var word *boot.WordError
	var clash *boot.ClashError
	var file *boot.KeyFileError
	var record *boot.RecordError
	var two *lifecycle.TwoClonesError
	var luks1 *lifecycle.NeedsLUKS2Error
	var apart *lifecycle.HeaderApartError
	var tang *boot.TangError
	var trust *boot.TangTrustError
	var enroll *lifecycle.EnrollError
	a := advice{what: err.Error(), exit: exitRefused, state: unchanged}
	switch {
	case errors.As(err, &booted):
		a.details = []string{"by hand it goes with vmmigrate start, on every host"}
	case errors.As(err, &unit):
		a.details = []string{"it comes with vmmigrate's package, or by make install; by itself it is packaging/systemd/" + unit.Unit}
		a.next = []string{"systemctl daemon-reload   # once it is in /etc/systemd/system"}
	case errors.As(err, &word):
	case errors.As(err, &clash):
		a.details = []string{"a line of another's is not changed: take it out, or leave that volume to it"}
		a.next = []string{command.Quote([]string{"sed", "--quiet", "--expression=" + strconv.Itoa(clash.Line.Number) + "p", clash.Path})}
	case errors.As(err, &file):
		switch {
		case file.Fix != nil:
			a.next = []string{command.Quote(file.Fix)}
		case file.Forced:
			a.details = []string{"better places: a file system on LUKS, or a stick that is taken out; --force takes it as it is"}
		}
	case errors.As(err, &record):
		a.details = []string{"it was written by vmmigrate and changed since; once it is moved away the guest counts as not set up"}
	case errors.As(err, &two):
		a.details = []string{"a copy of a clone's definition has its metadata too; take them out of all but one"}
		for _, name := range two.Clones {
			a.next = append(a.next, virsh("edit", name))
		}
	case errors.As(err, &trust):
		a.details = []string{"it is another server, somebody stands in between, or its keys were rotated; it signs with"}
		for _, key := range trust.Offered {
			a.details = append(a.details, "    "+key)
		}
	case errors.As(err, &tang):
		a.next = []string{command.Quote([]string{"curl", "--fail", tang.URL + "/adv"})}
	case errors.As(err, &enroll) && enroll.Missing && enroll.Method == boot.TPM2:
		a.next = []string{"systemd-cryptenroll --tpm2-device=list"}
	case errors.As(err, &enroll) && enroll.Missing:
		a.next = []string{"systemd-cryptenroll --fido2-device=list"}
	case errors.As(err, &apart):
		a.details = []string{"prompt, key-file, tpm2 and fido2 work with it: systemd reads that file itself"}
	case errors.As(err, &luks1):
		a.details = []string{"prompt and key-file work with it; cryptsetup convert makes LUKS2 of it, while it is locked and backed up"}
	default:
		return advice{}, false
	}
	return a, true
}

// bootNext is what helps against the cause of an autostart that failed.
func bootNext(err error) []string {
	if a, ok := explainBootRefusal(err); ok {
		return a.next
	}
	return explainCause(err).next
}
