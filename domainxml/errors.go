package domainxml

import (
	"fmt"
	"strings"
)

// SyntaxError says that a text is not XML that libvirt would read, or is XML
// of a kind that no domain needs and only an attack has (a DOCTYPE).
type SyntaxError struct {
	// Line is where, from 1; 0 when the whole text is meant.
	Line int
	// Reason says what is wrong, in lower case.
	Reason string
	// Err is the XML reader's own error, or nil.
	Err error
}

func (e *SyntaxError) Error() string {
	where := "the domain XML"
	if e.Line > 0 {
		where = fmt.Sprintf("the domain XML, line %d", e.Line)
	}
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", where, e.Reason, e.Err)
	}
	return fmt.Sprintf("%s: %s", where, e.Reason)
}

// Unwrap returns the XML reader's own error.
func (e *SyntaxError) Unwrap() error { return e.Err }

// TooLargeError says that a text passes one of the limits that keep reading
// it quick and its memory bounded.
type TooLargeError struct {
	// What is counted: "bytes", "levels" or "nodes".
	What string
	// Limit is the largest count that is read.
	Limit int64
	// Size is the text's own count; reading may have stopped just past Limit.
	Size int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the domain XML has %d %s or more, and at most %d are read", e.Size, e.What, e.Limit)
}

// NotDomainError says that a document's root is no <domain>.
type NotDomainError struct {
	// Root is the root element's name.
	Root string
}

func (e *NotDomainError) Error() string {
	return fmt.Sprintf("the document is a <%s>, not a <domain>", e.Root)
}

// HypervisorError says that a domain is not one of QEMU's.
type HypervisorError struct {
	// Type is the domain's type attribute, such as "xen".
	Type string
}

func (e *HypervisorError) Error() string {
	return fmt.Sprintf("the domain is of type %q; only %s can be moved", e.Type, strings.Join(hypervisors, ", "))
}

// InvalidError says that a domain lacks something libvirt demands, or holds
// it twice, so that no change to it could be trusted.
type InvalidError struct {
	// Path is the element or attribute, such as /domain/devices/disk[2].
	Path string
	// Reason says what is wrong with it.
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s: %s", e.Path, e.Reason) }

// EditError says that an Edit can't be carried out as it stands.
type EditError struct {
	// Field is the Edit's field, such as "MACs" or "Disks[vda].Device".
	Field string
	// Value is what it holds.
	Value string
	// Reason says what is wrong with it.
	Reason string
}

func (e *EditError) Error() string { return fmt.Sprintf("%s %q: %s", e.Field, e.Value, e.Reason) }

// NoDiskError says that a domain has no disk of the wanted target.
type NoDiskError struct {
	// Target is the wanted target, such as "vdb".
	Target string
	// Have lists the targets the domain has.
	Have []string
}

func (e *NoDiskError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("no disk has the target %q: the domain has no disks", e.Target)
	}
	return fmt.Sprintf("no disk has the target %q: the domain has %s", e.Target, strings.Join(e.Have, ", "))
}

// NotMovableError says that a disk can't be moved.
type NotMovableError struct {
	// Target is the disk's target, such as "vdb".
	Target string
	// Path is its element.
	Path string
	// Kind is Keep or Refuse.
	Kind Kind
	// Reason says why in a sentence.
	Reason string
}

func (e *NotMovableError) Error() string {
	return fmt.Sprintf("disk %s (%s) can't be moved: %s", e.Target, e.Path, e.Reason)
}

// FirmwareError says that a domain's firmware state is of a form that can't
// be given to a clone.
type FirmwareError struct {
	// Path is the element.
	Path string
	// Reason says why in a sentence.
	Reason string
}

func (e *FirmwareError) Error() string { return fmt.Sprintf("%s: %s", e.Path, e.Reason) }

// UnintendedChangeError says that the rewritten text would differ from the
// original where nothing was meant to change, or would not where it was. The
// rewritten text is not handed out.
type UnintendedChangeError struct {
	// Change is the difference.
	Change Change
	// Missing is set when the change was intended and did not come about.
	Missing bool
}

func (e *UnintendedChangeError) Error() string {
	if e.Missing {
		return fmt.Sprintf("%s: the intended change to %q did not come about", e.Change.Path, e.Change.New)
	}
	return fmt.Sprintf("%s: would change from %q to %q, which is not intended", e.Change.Path, e.Change.Old, e.Change.New)
}

// LostError says that the rewritten text would lose an element, attribute or
// text. The rewritten text is not handed out.
type LostError struct {
	// Path is what would be lost, and Old what it holds.
	Path, Old string
}

func (e *LostError) Error() string { return fmt.Sprintf("%s: would be lost (%s)", e.Path, e.Old) }
