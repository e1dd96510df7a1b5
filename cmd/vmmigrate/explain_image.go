package main

import (
	"errors"

	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/internal/command"
)

// imageCause tells of what went wrong with an image that is read.
func imageCause(err error) (a advice, ok bool) {
	var locked *image.LockedError
	var bad *image.Error
	var read *image.ReadError
	var hung *image.HungError
	var serve *image.ServeError
	switch {
	case errors.As(err, &locked):
		a.details = []string{"QEMU said: " + locked.Said}
		a.next = []string{command.Quote([]string{"fuser", "-v", locked.Path})}
	case errors.As(err, &bad):
		if bad.Remedy != "" {
			a.details = []string{bad.Remedy}
		}
	case errors.As(err, &read):
		a.details = []string{"the image could not be read there: see what is damaged, and dmesg for the disk below it"}
		a.next = []string{command.Quote([]string{"qemu-img", "check", read.Path})}
	case errors.As(err, &hung):
		a.details = []string{"the storage below the image does not answer, or qemu-nbd was stopped: see dmesg"}
	case errors.As(err, &serve):
		a.details = []string{"qemu-nbd shows images to vmmigrate; what it says is QEMU's own error"}
	default:
		return a, false
	}
	return a, true
}
