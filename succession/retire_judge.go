package succession

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// RetireOptions say how an original is retired.
type RetireOptions struct {
	Method Method
	// Keep keeps the wiped disks.
	Keep bool
	Pace migrate.Pace
}

// judge collects what is against a retirement.
type judge struct {
	*Env
	plan     *Retirement
	clone    *lifecycle.Clone
	original *party // nil where it is not defined
	host     []lvm.LV
	reasons  []Reason
	warnings []string
}

func (j *judge) against(code Code, disk, remedy, format string, args ...any) {
	j.reasons = append(j.reasons, Reason{Code: code, Disk: disk, Text: fmt.Sprintf(format, args...), Remedy: remedy})
}

// Judge looks whether the original of the clone of that name can be retired, and
// makes the plan. It changes nothing but that it may activate the original's
// volumes, and asks for the clone's key at the end, to prove that it opens. The
// plan is nil when it is retired already.
//
// It returns an *lifecycle.UnknownCloneError, what is wrong with one of the
// clone's disks, a *RetireBlockedError with all the reasons, or a
// *lifecycle.KeyError.
func (e *Env) Judge(ctx context.Context, name string, o RetireOptions) (plan *Retirement, warnings []string, err error) {
	clone, err := e.Clones.Find(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	origin := clone.Origin
	if origin.Retired != nil && origin.Retired.Time != "" {
		return nil, nil, nil
	}
	if err := Ready(e.Store, name); err != nil {
		return nil, nil, err
	}
	j := &judge{Env: e, clone: clone, plan: &Retirement{
		Clone: clone.Name, CloneUUID: clone.UUID, Original: origin.Name, OriginalUUID: origin.UUID,
		Method: o.Method, Keep: o.Keep, Pace: o.Pace, Began: e.Now().UTC(), Job: e.Store.NewID(clone.UUID), Move: origin.Job,
	}}
	if err := e.Clones.Examine(ctx, clone); err != nil {
		return nil, nil, err
	}
	for _, disk := range clone.Disks {
		if disk.Problem != nil {
			return nil, nil, disk.Problem
		}
	}
	for _, look := range []func(context.Context) error{j.judgeOriginal, j.judgeDisks, j.judgeUsers, j.judgeBackups, j.judgeEvidence} {
		if err := look(ctx); err != nil {
			return nil, nil, err
		}
	}
	if len(j.reasons) > 0 {
		return nil, nil, &RetireBlockedError{Clone: clone.Name, Original: j.plan.Original, Reasons: j.reasons}
	}
	// Last, so that nobody types a passphrase for nothing.
	if _, err := e.Clones.TestKey(ctx, clone.Name); err != nil {
		return nil, nil, err
	}
	return j.plan, j.warnings, nil
}

func (j *judge) judgeOriginal(ctx context.Context) error {
	if j.clone.Origin.Adopted() {
		j.warnings = append(j.warnings, fmt.Sprintf("%q was made of disk images that no VM had: they go, and there is no definition to remove", j.clone.Name))
		return nil
	}
	domain, err := j.Hypervisor.DomainByUUID(ctx, j.clone.Origin.UUID)
	if isGone(err) {
		j.warnings = append(j.warnings, fmt.Sprintf("the original %q is not defined; its disks are known from the clone's metadata", j.plan.Original))
		return nil
	}
	if err != nil {
		return err
	}
	if j.original, err = j.read(ctx, domain); err != nil {
		return err
	}
	p := j.plan
	p.Original, p.Defined, p.Autostart, p.definition = domain.Name, true, domain.Autostart, j.original.text
	p.Sum = sum(p.definition)
	if domain.State.Active() {
		j.against(OriginalActive, "", command.Quote([]string{"virsh", "shutdown", "--", domain.Name}), "%q is %s", domain.Name, domain.State)
	}
	if domain.Snapshots > 0 || domain.Checkpoints > 0 {
		j.against(OriginalSnapshots, "", command.Quote([]string{"virsh", "snapshot-list", "--", domain.Name}), "%q has snapshots or checkpoints, which may lie in other files", domain.Name)
	}
	firmware := j.original.xml.Firmware()
	if n := firmware.NVRAM; n != nil && n.Path != "" && n.Type == "file" && n.Path != n.Template && n.Path != firmware.Loader {
		p.Files = append(p.Files, StateFile{What: "UEFI variables", Path: n.Path})
	}
	for _, tpm := range firmware.TPMs {
		switch {
		case tpm.Backend != "emulator":
		case tpm.State != "":
			p.Files = append(p.Files, StateFile{What: "TPM state", Path: tpm.State})
		default:
			p.Files = append(p.Files, StateFile{What: "TPM state", Path: filepath.Join(j.tpmDir(), domain.UUID), Own: true})
		}
	}
	moved := make(map[string]bool)
	for _, disk := range j.clone.Disks {
		moved[disk.Target] = true
	}
	for _, disk := range j.original.xml.Disks() {
		path, err := j.pathOf(ctx, disk)
		switch {
		case err != nil || path == "": // what did not move; judgeDisks tells of what did
		case !moved[disk.Target]:
			j.warnings = append(j.warnings, fmt.Sprintf("its disk %s, %s, did not move and stays as it is", disk.Target, path))
		case disk.Format != "raw":
			j.judgeImage(ctx, disk, path)
		}
	}
	return nil
}

// judgeDisks holds each plain disk against what the clone's metadata say of it:
// never is anything wiped that was not copied.
func (j *judge) judgeDisks(ctx context.Context) error {
	var err error
	if j.host, err = j.Volumes.LVs(ctx); err != nil {
		return err
	}
	for _, disk := range j.clone.Disks {
		if err := j.judgeDisk(ctx, disk.OriginDisk); err != nil {
			return err
		}
	}
	return nil
}

func (j *judge) judgeDisk(ctx context.Context, disk domainxml.OriginDisk) error {
	kind, id, known := strings.Cut(disk.SourceID, " ")
	if !known || disk.SourceSize == 0 || disk.Source == "" {
		j.against(Unknown, disk.Target, "", "nothing tells for certain whether %s is the disk that was copied: it is neither a logical volume nor a file, or an older vmmigrate moved it", disk.Source)
		return nil
	}
	d := Retiree{Target: disk.Target, Path: disk.Source, ID: disk.SourceID, Size: disk.SourceSize}
	segments, thin := "", false
	if kind == "lv" {
		volume := j.volume(id)
		if volume == nil {
			j.against(Gone, d.Target, "", "the volume of %s, %s with the UUID %s, is not there: it was removed, or its volume group is exported or away", d.Target, d.Path, id)
			return nil
		}
		if d.Path != volume.Path && d.Path != volume.DMPath && !j.sameDisk(ctx, d.Path, volume.Path) {
			j.against(Other, d.Target, command.Quote([]string{"lvs", volume.VG}), "the volume of %s was %s and is called %s/%s now; rename it back if it is to be wiped", d.Target, d.Path, volume.VG, volume.Name)
			return nil
		}
		if !volume.Active {
			if err := j.Volumes.Activate(ctx, volume.VG, volume.Name); err != nil {
				return err
			}
		}
		d.VG, d.LV = volume.VG, volume.Name
		segments, thin = volume.Type, volume.Pool != ""
		j.judgeSnapshots(d, volume)
	}
	facts, err := j.Plain.Look(ctx, d.Path)
	switch {
	case isMissing(err):
		j.against(Gone, d.Target, "", "%s, the disk %s, is not there", d.Path, d.Target)
		return nil
	case err != nil:
		return err
	case facts.Block != (kind == "lv"):
		j.against(Other, d.Target, "", "%s was a %s and is none now", d.Path, map[string]string{"lv": "logical volume", "file": "file"}[kind])
		return nil
	case kind == "file" && fmt.Sprint(facts.Inode) != id:
		j.against(Other, d.Target, "", "%s is another file than the one that was copied (inode %d, not %s)", d.Path, facts.Inode, id)
		return nil
	case facts.Size != d.Size:
		j.against(Other, d.Target, "", "%s has %d bytes now, and had %d when it was copied", d.Path, facts.Size, d.Size)
		return nil
	}
	d.Block, d.Resolved = facts.Block, facts.Resolved
	d.Kind = d.describe(facts, segments, thin)
	for _, word := range limits(j.plan.Method, d.Kind, facts) {
		if text := d.Target + ": " + word; !containsText(j.plan.Words, text) {
			j.plan.Words = append(j.plan.Words, text)
		}
	}
	j.judgeMethod(d, facts)
	if err := j.judgeHolders(ctx, d, facts); err != nil {
		return err
	}
	j.plan.Disks = append(j.plan.Disks, d)
	return nil
}

// sameDisk says that two paths lead to one disk.
func (j *judge) sameDisk(ctx context.Context, a, b string) bool {
	x, errX := j.Plain.Look(ctx, a)
	y, errY := j.Plain.Look(ctx, b)
	return errX == nil && errY == nil && x.Key == y.Key
}

func containsText(all []string, text string) bool {
	for _, one := range all {
		if one == text {
			return true
		}
	}
	return false
}

func (j *judge) volume(uuid string) *lvm.LV {
	for i := range j.host {
		if j.host[i].UUID == uuid {
			return &j.host[i]
		}
	}
	return nil
}

// judgeSnapshots refuses a volume that shares blocks with others.
func (j *judge) judgeSnapshots(d Retiree, volume *lvm.LV) {
	for _, other := range j.host {
		if other.VGUUID == volume.VGUUID && other.Origin == volume.Name {
			j.against(Used, d.Target, command.Quote([]string{"lvs", "-o", "+origin", other.VG}), "%s/%s is a snapshot of %s, and keeps what is wiped in it", other.VG, other.Name, d.Path)
		}
	}
	if volume.Cached() {
		// A part of the disk may be in the cache alone, and what is wiped is not
		// wiped there. Only lvm2 can write the one back and let go of the other.
		j.against(Used, d.Target, command.Quote([]string{"lvconvert", "--splitcache", volume.VG + "/" + volume.Name})+"   # then overwrite what was the cache, too", "%s has a cache in front of it, which holds parts of what is to be wiped", d.Path)
	} else if volume.IsSnapshot() {
		j.against(Used, d.Target, command.Quote([]string{"lvs", "-o", "+origin", volume.VG}), "%s is a snapshot of %s/%s, which keeps what is wiped in it", d.Path, volume.VG, volume.Origin)
	}
}

func (j *judge) judgeMethod(d Retiree, facts PlainFacts) {
	switch {
	case j.plan.Method == Discard && !facts.Discards:
		j.against(NoDiscards, d.Target, "", "%s takes no discards; --method zero or random overwrites it", d.Path)
	case j.plan.Method != Discard && !facts.Block && facts.Holes > facts.Free:
		j.against(NoRoom, d.Target, "", "%s is sparse, and its filesystem has no room for the %d bytes that it lacks; --method discard needs none", d.Path, facts.Holes)
	}
	if facts.Links > 1 {
		j.against(Used, d.Target, command.Quote([]string{"find", filepath.Dir(d.Path), "-samefile", d.Path}), "%s has %d names: the file is somebody else's too", d.Path, facts.Links)
	}
}

// judgeBackups demands a good header backup of each of the clone's disks: from now
// on its volumes are all there is.
func (j *judge) judgeBackups(ctx context.Context) error {
	checks, err := j.Clones.CheckHeaders(ctx, j.clone.Name, "")
	if err != nil {
		return err
	}
	for _, check := range checks {
		if check.Verdict != lifecycle.Current && check.Verdict != lifecycle.SameKeys {
			why := string(check.Verdict)
			if len(check.Notes) > 0 {
				why += ": " + check.Notes[0]
			}
			j.against(NoBackup, check.Disk, command.Quote([]string{"vmmigrate", "header", "backup", j.clone.Name}), "the header backup of %s is %s", check.Volume, why)
		}
	}
	return nil
}

// judgeEvidence demands that the clone has run: that vmmigrate has started it, that
// it runs now, or that its guest has written to its disk.
func (j *judge) judgeEvidence(ctx context.Context) error {
	switch {
	case j.clone.Origin.Started != "":
		j.plan.Evidence = "vmmigrate started it, at " + j.clone.Origin.Started + " for the first time"
		return nil
	case j.clone.State.Active():
		j.plan.Evidence = "it is " + string(j.clone.State)
		return nil
	}
	if j.original != nil {
		for _, disk := range j.clone.Disks {
			plain, err := j.original.xml.Disk(disk.Target)
			if err != nil || plain.Format != "raw" || !disk.Open() {
				continue
			}
			differs, err := j.differs(ctx, disk.Source, disk.Device(), disk.SourceSize)
			if err != nil {
				return err
			}
			if differs {
				j.plan.Evidence = fmt.Sprintf("its disk %s is no longer what was copied", disk.Target)
				return nil
			}
		}
	}
	j.against(NotRun, "", command.Quote([]string{"vmmigrate", "start", j.clone.Name}), "nothing shows that %q has ever run: vmmigrate has not started it, it does not run now, and no disk of it is open and differs from the plain one", j.clone.Name)
	return nil
}

// differs compares a plain disk with the open encrypted one, up to the first
// difference.
func (j *judge) differs(ctx context.Context, path, device string, size int64) (bool, error) {
	plain, err := blockcopy.OpenSource(path)
	if err != nil {
		return false, nil //nolint:nilerr // what is wrong with it is told elsewhere
	}
	defer plain.Close() // it was only read
	payload, err := blockcopy.OpenSource(device)
	if err != nil {
		return false, err
	}
	defer payload.Close() // it was only read
	_, err = blockcopy.Verify(ctx, blockcopy.VerifyJob{Payload: payload, Source: plain, Size: size, PayloadSize: min(payload.Size(), size)})
	var mismatch *blockcopy.MismatchError
	if errors.As(err, &mismatch) {
		return true, nil
	}
	var resized *blockcopy.SizeError
	if errors.As(err, &resized) {
		return false, nil
	}
	return false, err
}

// isOff says of a domain that may be gone that it does not run.
func (e *Env) isOff(ctx context.Context, uuid string) (bool, hypervisor.Domain, error) {
	domain, err := e.Hypervisor.DomainByUUID(ctx, uuid)
	if isGone(err) {
		return true, domain, nil
	}
	return err == nil && !domain.State.Active(), domain, err
}
