package planfile

import (
	"fmt"
	"strings"
	"time"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// Version is the version of the file's format.
const Version = 1

// File is a plan file.
type File struct {
	// Host is where it was made, and Made when.
	Host string
	Made time.Time
	// Defaults are the choices for all VMs.
	Defaults Choices
	// Keys say where the keys are.
	Keys Keys
	// VMs are in the order in which they are to be migrated.
	VMs []VM
}

// Choices are what can be chosen for all VMs, and for each again. What is empty
// or nil is chosen elsewhere.
type Choices struct {
	VG, LVMType, ThinPool string
	// TargetDir is the folder for files, instead of volumes.
	TargetDir string
	// Layout and FS are those of --layout, --fs-type, --fs-size and --fs-dir.
	Layout migrate.Layout
	FS     migrate.FSOptions
	// PVs are the disks of --pv.
	PVs []string
	// BackingDirs are the folders of --backing-dir.
	BackingDirs []string
	// KeepMAC, AllowDiscards and EncryptAgain are the flags of those names.
	KeepMAC, AllowDiscards, EncryptAgain *bool
	// Autostart has the clones start with the host, if the originals do.
	Autostart *bool
	Verify    migrate.VerifyMode
	LUKS      LUKS
	Copy      Copy
}

// LUKS are cryptsetup's options. What is empty or 0 is chosen elsewhere.
type LUKS struct {
	Type, Cipher, Hash, PBKDF string
	// KeySize is in bits, PBKDFMemory in KiB, IterTime in milliseconds.
	KeySize, PBKDFMemory, PBKDFForceIterations, IterTime, SectorSize int
}

// Keys say where the keys of the VMs are.
type Keys struct {
	// Default is for all VMs that are not among VMs; nil leaves it to the
	// command line.
	Default *KeySource
	VMs     map[string]KeySource
}

// KeySource says where a key is; only one of its fields is set.
type KeySource struct {
	// File is an absolute path.
	File string
	// Credential is the name of a systemd credential.
	Credential string
	// Command is a program and its arguments; it prints the key.
	Command []string
	// Prompt asks on the terminal.
	Prompt Prompt
}

// Prompt says how often the terminal asks in a batch.
type Prompt string

// The ways to ask.
const (
	// PromptEach asks for each VM's passphrase.
	PromptEach Prompt = "each"
	// PromptOnce asks once, for all of them.
	PromptOnce Prompt = "once"
)

// VM is one VM of the batch.
type VM struct {
	Name, UUID string
	// State is what it was when the plan was made, or "".
	State string
	// Clone is the new domain's name.
	Clone string
	// Skip leaves it alone.
	Skip bool
	// Choices are those that differ from the file's defaults.
	Choices Choices
	Disks   []Disk
	// Comment is written above the VM, a line each; it is not read back.
	Comment []string
	at      position
}

// Disk is one disk that moves.
type Disk struct {
	// Target is its name in the VM, such as vda.
	Target string
	// Source is its path and Size its bytes, when the plan was made.
	Source string
	Size   int64
	// VG and LV name the new volume; empty is the default.
	VG, LV string
	// Device is an existing blank device, instead of a new volume.
	Device string
	// Header is the file to be made for its LUKS header.
	Header string
	// Skip leaves the disk as it is, shared with the original.
	Skip bool
	at   position
}

type position struct{ line, column int }

// Error says what is wrong with a plan file, and where.
type Error struct {
	// File is its name, or "".
	File string
	// Line and Column count from 1; 0 where it is about the whole file.
	Line, Column int
	// Reason is what is wrong.
	Reason string
}

func (e *Error) Error() string {
	var where strings.Builder
	if e.File != "" {
		where.WriteString(e.File + ": ")
	}
	if e.Line > 0 {
		fmt.Fprintf(&where, "line %d, column %d: ", e.Line, e.Column)
	}
	return where.String() + e.Reason
}
