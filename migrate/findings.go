package migrate

import "fmt"

// Code names a kind of finding, for programs that read a plan.
type Code string

// The kinds of finding that block a migration.
const (
	Active        Code = "running"
	Transient     Code = "transient"
	ManagedSave   Code = "managed-save"
	Snapshots     Code = "snapshots"
	Checkpoints   Code = "checkpoints"
	NoDisk        Code = "no-disk"
	NotMovable    Code = "not-movable"
	AlreadyLUKS   Code = "already-encrypted"
	SourceMissing Code = "source-missing"
	SourceShrunk  Code = "source-shrunk"
	SourceBusy    Code = "source-busy"
	SourceInUse   Code = "source-in-use"
	SourceImage   Code = "source-image"
	VGMissing     Code = "vg-missing"
	VGUnusable    Code = "vg-unusable"
	VGAmbiguous   Code = "vg-ambiguous"
	VGFull        Code = "vg-full"
	PVMissing     Code = "pv-missing"
	PVUnusable    Code = "pv-unusable"
	PoolMissing   Code = "pool-missing"
	TargetMissing Code = "target-missing"
	TargetUnfit   Code = "target-unfit"
	TargetInUse   Code = "target-in-use"
	TargetTaken   Code = "target-taken"
	NotBlank      Code = "target-not-blank"
	TargetSmall   Code = "target-too-small"
	LVTaken       Code = "lv-taken"
	LVName        Code = "lv-name"
	MapperTaken   Code = "mapper-taken"
	CloneTaken    Code = "clone-taken"
	AlreadyDone   Code = "already-migrated"
	JobUnfinished Code = "job-unfinished"
	NVRAMTaken    Code = "nvram-taken"
	XMLRefused    Code = "xml-refused"
	NoCipher      Code = "encryption-refused"
	NoImage       Code = "no-qcow2-disk"
)

// The kinds of finding that only warn.
const (
	WarnMAC         Code = "mac-kept"
	WarnSkipped     Code = "disk-skipped"
	WarnDiscards    Code = "discards"
	WarnSector      Code = "sector-size"
	WarnNoVerify    Code = "no-verify"
	WarnAutostart   Code = "autostart"
	WarnShared      Code = "source-shared"
	WarnXML         Code = "xml"
	WarnPlaintext   Code = "plaintext"
	WarnGuestVG     Code = "guest-vg"
	WarnSourceSmall Code = "payload-rounded"
	WarnFormat      Code = "format-claimed"
	WarnMixed       Code = "mixed-sectors"
	WarnNoName      Code = "target-name"
	WarnNetwork     Code = "target-network"
	WarnHeader      Code = "header-detached"
	WarnHeaderPlace Code = "header-place"
	WarnFills       Code = "filesystem-may-fill"
	WarnLayout      Code = "block-layout"
)

// Finding is one thing a plan has to say: a blocker or a warning.
type Finding struct {
	Code Code `json:"code"`
	// Disk is the target it is about, or empty.
	Disk string `json:"disk,omitempty"`
	// Message is one sentence, without a full stop.
	Message string `json:"message"`
	// Remedy is the command or the act that removes it, or empty.
	Remedy string `json:"remedy,omitempty"`
}

func (f Finding) String() string {
	if f.Remedy == "" {
		return f.Message
	}
	return fmt.Sprintf("%s (%s)", f.Message, f.Remedy)
}

// BlockedError says that a plan has blockers; nothing has been changed.
type BlockedError struct {
	// VM is the domain's name.
	VM string
	// Adopted says that the VM would be made from images.
	Adopted bool
	// Blockers says why, one or more.
	Blockers []Finding
}

// Refused says what can't be done.
func (e *BlockedError) Refused() string {
	if e.Adopted {
		return e.VM + " can't be made"
	}
	return e.VM + " can't be migrated"
}

func (e *BlockedError) Error() string {
	if len(e.Blockers) == 1 {
		return fmt.Sprintf("%s: %s", e.Refused(), e.Blockers[0].Message)
	}
	return fmt.Sprintf("%s, for %d reasons; the first: %s", e.Refused(), len(e.Blockers), e.Blockers[0].Message)
}
