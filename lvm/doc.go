// Package lvm looks at volume groups and logical volumes and makes and
// removes those that belong to a job.
//
// It speaks to lvm2 through its command line, in JSON and bytes
// (lvmreport(7)), and knows no format of LVM's own. Start with Client; Size
// is the arithmetic of how large a volume must be and what it takes from its
// group, and is pure so that a plan can be made without a host.
//
// Three rules hold throughout. Whatever only looks is marked ReadOnly for the
// runner, so a plan can be held to its promise of changing nothing. A volume
// is removed only when it bears the tag that it was made with. And what lies
// inside a guest's disk is the guest's: when the host's LVM finds a guest's
// volume group on an opened mapping, Deactivate takes down that one, by UUID,
// and nothing of the same name beside it.
//
// Reports are made without --readonly: with it lvs can't tell whether a volume
// is active (it prints "unknown", lvm2 2.03.16).
package lvm
