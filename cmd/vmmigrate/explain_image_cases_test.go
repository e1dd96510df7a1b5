package main

import (
	"syscall"
	"time"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
)

func imageCases() []explainCase {
	const path = "/srv/images/imap.qcow2"
	refused := func(err error) error {
		return &migrate.StepError{VM: "imap", Step: migrate.Preflight, Aftermath: migrate.Refused, Err: err}
	}
	read := &image.ReadError{Path: path, Cluster: 7, ClusterSize: 65536, Offset: 458752, Said: "qcow2: Image is corrupt: L2 table offset 0x1 unaligned (L1 index: 0)", Err: syscall.EIO}
	return []explainCase{
		{"an image that a guest has open", refused(&image.LockedError{Path: path, Said: `Failed to get shared "write" lock`})},
		{"an image that is damaged", refused(&migrate.BlockedError{VM: "imap", Blockers: []migrate.Finding{{
			Code: migrate.SourceImage, Disk: "vda", Message: "the image of vda can't be moved: " + path + " is damaged: ERROR cluster 5 refcount=0 reference=1",
			Remedy: "qemu-img check -r all " + path,
		}}})},
		{"an image that changed its kind meanwhile", stopped(migrate.Copy, &image.Error{Path: path, Reason: "is no qcow2 image", Remedy: "qemu-img info " + path})},
		{"a damaged place of an image", stopped(migrate.Copy, &blockcopy.ReadError{Name: path, Offset: 458752, Length: 4096, Sector: 896, Attempts: 1, Err: read})},
		{"a qemu-nbd that hangs", stopped(migrate.Copy, &image.HungError{Path: path, After: 2 * time.Minute})},
		{"a qemu-nbd that ends", stopped(migrate.Copy, &image.ServeError{Path: path, Said: "Permission denied", Err: &command.Error{Argv: []string{"qemu-nbd"}, ExitCode: 1}})},
		{"no qemu-nbd", stopped(migrate.Copy, &command.NotFoundError{Name: "qemu-nbd", Package: "qemu-utils"})},
	}
}
