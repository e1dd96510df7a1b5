package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/luks"
)

func TestStartUnlocksAndStartsAndStopShutsDownAndLocks(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		no(t, w.Start(t.Context(), "imap-luks"))
		if state := w.state(cloneUUID); state != hypervisor.Running {
			t.Errorf("it is %s", state)
		}
		w.isOpen("cr_imap_vda cr_imap_vdb")
	}
	for range 2 {
		no(t, w.Stop(t.Context(), "imap-luks", StopOptions{Timeout: time.Minute}))
		if state := w.state(cloneUUID); state != hypervisor.ShutOff {
			t.Errorf("it is %s", state)
		}
		w.isOpen("")
	}
	if told := w.told(Unchanged); !slices.Equal(told, []string{"is running already", "is off and locked already"}) {
		t.Errorf("told %q", told)
	}
}

func TestACloneIsNotStartedBesideItsOriginal(t *testing.T) {
	w := newWorld(t)
	w.virt.SetState(imapUUID, hypervisor.Paused)
	if err := wrong[*ConflictError](t, w.Start(t.Context(), "imap-luks")); !err.Original || err.Other != "imap" || w.keys.asked != 0 {
		t.Errorf("%+v", err)
	}
	w.isOpen("")
}

func TestAnOriginalThatIsStartedWhileThePassphraseIsTypedIsSeen(t *testing.T) {
	w := newWorld(t)
	w.vault.Before = func(op string) error {
		if op == "open" {
			w.virt.SetState(imapUUID, hypervisor.Running)
		}
		return nil
	}
	wrong[*ConflictError](t, w.Start(t.Context(), "imap-luks"))
	w.isOpen("")
}

func TestACloneIsNotStartedBesideAVMWithItsHardwareAddress(t *testing.T) {
	w := newWorld(t)
	w.define(domain("web", webUUID, "52:54:00:44:55:66", "", ""))
	no(t, w.Start(t.Context(), "imap-luks")) // off, it does not matter
	no(t, w.Stop(t.Context(), "imap-luks", StopOptions{Timeout: time.Minute}))
	w.virt.SetState(webUUID, hypervisor.Running)
	if err := wrong[*ConflictError](t, w.Start(t.Context(), "imap-luks")); err.Other != "web" || !slices.Equal(err.MACs, []string{"52:54:00:44:55:66"}) {
		t.Errorf("%+v", err)
	}
}

func TestACloneIsNotStartedBesideAVMThatHasItsDisk(t *testing.T) {
	w := newWorld(t)
	w.define(domain("web", webUUID, "52:54:00:00:00:01", "", disk("vda", "/dev/mapper/cr_imap_vdb", "")))
	w.virt.SetState(webUUID, hypervisor.Running)
	if err := wrong[*ConflictError](t, w.Start(t.Context(), "imap-luks")); err.Device != "/dev/mapper/cr_imap_vdb" {
		t.Errorf("%+v", err)
	}
}

func TestACloneIsNotStartedOnADiskThatTheHostUses(t *testing.T) {
	w := newWorld(t)
	w.open("imap-vdb-luks", "cr_imap_vdb", luks.OpenOptions{})
	w.vault.Hold("cr_imap_vdb", "a mount at /mnt")
	if err := wrong[*InUseError](t, w.Start(t.Context(), "imap-luks")); err.Disk != "vdb" {
		t.Errorf("%+v", err)
	}
	if state := w.state(cloneUUID); state != hypervisor.ShutOff {
		t.Errorf("it is %s", state)
	}
	w.isOpen("cr_imap_vdb") // as it was
}

func TestAGuestsVolumeGroupThatTheHostActivatedIsNoObstacle(t *testing.T) {
	w := newWorld(t)
	no(t, w.Unlock(t.Context(), "imap-luks"))
	w.volumes.AddGuest("/dev/mapper/cr_imap_vda", "debian-vg", true)
	no(t, w.Start(t.Context(), "imap-luks"))
	if on := w.volumes.ActiveOn("/dev/mapper/cr_imap_vda"); len(on) > 0 {
		t.Errorf("active beside the guest: %v", on)
	}
}

func TestACloneThatDoesNotStartIsLockedAgain(t *testing.T) {
	refused := &hypervisor.RefusedError{Call: "start", Message: "no bridge br0"}
	w := newWorld(t)
	w.virt.start = refused
	if err := wrong[*StartError](t, w.Start(t.Context(), "imap-luks")); !err.LockedAgain || !errors.Is(err, refused) {
		t.Errorf("%+v", err)
	}
	w.isOpen("")

	// What was open before stays so.
	w = newWorld(t)
	w.virt.start = refused
	no(t, w.Unlock(t.Context(), "imap-luks"))
	if err := wrong[*StartError](t, w.Start(t.Context(), "imap-luks")); err.LockedAgain {
		t.Errorf("%+v", err)
	}
	w.isOpen("cr_imap_vda cr_imap_vdb")
}

func TestACloneThatSomebodyElseStartedMeanwhileIsStarted(t *testing.T) {
	w := newWorld(t)
	w.virt.start = &hypervisor.RefusedError{Call: "start", Message: "domain is already running"}
	w.virt.Before = func(call string) error {
		if call == "DomainByUUID" {
			w.virt.SetState(cloneUUID, hypervisor.Running)
		}
		return nil
	}
	no(t, w.Start(t.Context(), "imap-luks"))
	w.isOpen("cr_imap_vda cr_imap_vdb")
}

func TestAStartThatTimedOutAndYetHappenedKeepsItsDisks(t *testing.T) {
	w := newWorld(t)
	w.virt.start = &hypervisor.TimeoutError{Call: "start", After: time.Minute}
	w.virt.Before = func(call string) error {
		if call == "DomainByUUID" {
			w.virt.SetState(cloneUUID, hypervisor.Running)
		}
		return nil
	}
	wrong[*StartError](t, w.Start(t.Context(), "imap-luks"))
	w.isOpen("cr_imap_vda cr_imap_vdb")
}

func TestAGuestThatDoesNotHearIsAskedAgainAndWaitedFor(t *testing.T) {
	w := newWorld(t)
	no(t, w.Start(t.Context(), "imap-luks"))
	w.virt.deaf = 2
	no(t, w.Stop(t.Context(), "imap-luks", StopOptions{Timeout: time.Minute}))
	if w.virt.asked != 3 {
		t.Errorf("asked %d times", w.virt.asked)
	}
	if told := w.told(Stopping); len(told) < 5 {
		t.Errorf("told of the wait %d times", len(told))
	}
	w.isOpen("")
}

func TestAGuestThatNeverStopsRunsOnUnlocked(t *testing.T) {
	w := newWorld(t)
	no(t, w.Start(t.Context(), "imap-luks"))
	w.virt.deaf = 1000
	began := w.clock
	err := wrong[*StillRunningError](t, w.Stop(t.Context(), "imap-luks", StopOptions{Timeout: 90 * time.Second}))
	if err.After != 90*time.Second || w.clock.Sub(began) != 90*time.Second {
		t.Errorf("%+v after %s", err, w.clock.Sub(began))
	}
	w.isOpen("cr_imap_vda cr_imap_vdb")

	no(t, w.Stop(t.Context(), "imap-luks", StopOptions{Timeout: time.Second, Force: true}))
	if told := w.told(Stopped); !slices.Equal(told, []string{"its plug was pulled"}) {
		t.Errorf("told %q", told)
	}
	w.isOpen("")
}

func TestAPausedGuestIsNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	no(t, w.Start(t.Context(), "imap-luks"))
	w.virt.SetState(cloneUUID, hypervisor.Paused)
	if err := wrong[*StillRunningError](t, w.Stop(t.Context(), "imap-luks", StopOptions{Timeout: time.Minute})); err.State != hypervisor.Paused || w.virt.asked != 0 {
		t.Errorf("%+v", err)
	}
	no(t, w.Stop(t.Context(), "imap-luks", StopOptions{Timeout: time.Minute, Force: true}))
	w.isOpen("")
}

func TestAWaitForAGuestThatIsInterruptedSaysThatItRuns(t *testing.T) {
	w := newWorld(t)
	no(t, w.Start(t.Context(), "imap-luks"))
	w.virt.deaf = 1000
	ctx, cancel := context.WithCancelCause(t.Context())
	signal := errors.New("interrupted: SIGINT")
	wait := w.Wait
	w.Wait = func(ctx context.Context, d time.Duration) error {
		cancel(signal)
		return wait(ctx, d)
	}
	if err := wrong[*StillRunningError](t, w.Stop(ctx, "imap-luks", StopOptions{Timeout: time.Minute})); !errors.Is(err, signal) {
		t.Errorf("%+v", err)
	}
	w.isOpen("cr_imap_vda cr_imap_vdb")
}

func TestAGuestThatGoesOffInTheMomentOfTheRequestIsOff(t *testing.T) {
	w := newWorld(t)
	no(t, w.Start(t.Context(), "imap-luks"))
	w.virt.Before = func(call string) error {
		if call == "Shutdown" {
			w.virt.SetState(cloneUUID, hypervisor.ShutOff)
		}
		return nil
	}
	no(t, w.Stop(t.Context(), "imap-luks", StopOptions{Timeout: time.Minute}))
	w.isOpen("")
}

func TestStatusTellsOfDisksOriginalAndWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.open("imap-vda-luks", "cr_imap_vda", luks.OpenOptions{AllowDiscards: true})
	w.vault.damage("/dev/vg0/imap-vdb-luks")
	w.volume("lost-vda-luks", otherLUKS, "20260101-000000-dead")
	report, err := w.Look(t.Context())
	no(t, err)
	if len(report.Clones) != 1 || len(report.Orphans) != 1 || report.Orphans[0].LV != "lost-vda-luks" {
		t.Fatalf("%+v", report)
	}
	s := report.Clones[0]
	if s.Name != "imap-luks" || s.Access != "partly unlocked" || s.Original.State != "there" || !slices.Equal(s.Original.Disks, []string{"/dev/vg0/imap"}) {
		t.Errorf("%+v", s)
	}
	vda, vdb := s.Disks[0], s.Disks[1]
	if !vda.Open || vda.Cipher != "aes-xts-plain64" || vda.KeySize != 512 || len(vda.KeySlots) != 1 || vda.Discard != (DiscardStatus{true, true}) || vda.Err != nil || vda.Backup != nil {
		t.Errorf("%+v", vda)
	}
	wrong[*HeaderLostError](t, vdb.Err)

	no(t, w.virt.Undefine(t.Context(), imapUUID))
	if report, err = w.Look(t.Context(), "imap-luks"); err != nil || report.Clones[0].Original.State != "undefined" || len(report.Orphans) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	w.devices.there = nil
	if report, err = w.Look(t.Context(), "imap-luks"); err != nil || report.Clones[0].Original.State != "gone" {
		t.Errorf("%+v, %v", report, err)
	}
	_, err = w.Look(t.Context(), "imap-luks", "nobody")
	wrong[*UnknownCloneError](t, err)
}

func TestStatusChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.volumes.inactive["imap-vda-luks"] = true
	report, err := w.Look(t.Context())
	no(t, err)
	if !w.volumes.inactive["imap-vda-luks"] || report.Clones[0].Disks[0].Err != nil || report.Clones[0].Access != "locked" {
		t.Errorf("%+v", report)
	}
	if strings.Contains(w.mappings(), "cr_") || w.keys.asked > 0 {
		t.Error("it unlocked something")
	}
}

func TestThatACloneHasRunIsNotedOnceInItsMetadata(t *testing.T) {
	w := newWorld(t)
	noted := func() string {
		clone, err := w.Find(t.Context(), "imap-luks")
		no(t, err)
		if clone.Origin.Job != job || len(clone.Disks) != 2 || clone.Origin.Disks[1].Source != "/srv/imap.raw" {
			t.Errorf("its metadata tell %+v", clone.Origin)
		}
		return clone.Origin.Started
	}
	if noted() != "" {
		t.Error("it never ran")
	}
	no(t, w.Start(t.Context(), "imap-luks"))
	first := noted()
	if first != "2026-11-22T09:30:12Z" {
		t.Errorf("noted %q", first)
	}
	w.virt.SetState(cloneUUID, hypervisor.ShutOff)
	w.clock = w.clock.Add(time.Hour)
	no(t, w.Start(t.Context(), "imap-luks"))
	if noted() != first {
		t.Errorf("noted %q", noted())
	}
}

func TestAStartThatCantBeNotedIsAStart(t *testing.T) {
	w := newWorld(t)
	w.virt.Before = func(call string) error {
		if call == "SetMetadata" {
			return errors.New("no")
		}
		return nil
	}
	no(t, w.Start(t.Context(), "imap-luks"))
	if told := w.told(Warning); len(told) != 1 || !strings.Contains(told[0], "can't be noted") {
		t.Errorf("told %q", told)
	}
}

func TestAnOriginalThatWasRetiredIsInNobodysWay(t *testing.T) {
	w := newWorld(t)
	w.virt.SetState(imapUUID, hypervisor.Running)
	clone, err := w.Find(t.Context(), "imap-luks")
	no(t, err)
	origin := clone.Origin
	origin.Retired = &domainxml.Retired{Time: "2026-11-22T09:30:12Z", Method: "zero"}
	no(t, w.SetOrigin(t.Context(), cloneUUID, origin))
	no(t, w.Start(t.Context(), "imap-luks"))
	report, err := w.Look(t.Context(), "imap-luks")
	no(t, err)
	if o := report.Clones[0].Original; o.State != OriginalRetired || o.RetiredBy != "zero" {
		t.Errorf("%+v", o)
	}
}
