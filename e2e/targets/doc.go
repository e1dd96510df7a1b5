// Package targets holds the scenarios of where the encrypted volumes lie, on a
// real host: on chosen disks of a group, on a device that was there before, or in
// files.
//
// They bear the build tag e2e and share one host, for which each makes a VM of
// its own.
package targets
