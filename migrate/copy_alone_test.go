package migrate

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

// heldPayload is a payload that the host's LVM activates a guest's volume group
// on, so often.
type heldPayload struct {
	Copier
	Volumes
	times, deactivated int
	path               string
}

func (h *heldPayload) Copy(context.Context, CopyRequest) (CopyResult, error) {
	if h.deactivated < h.times {
		return CopyResult{}, &blockcopy.OpenError{Path: h.path, Busy: true, Err: syscall.EBUSY}
	}
	return CopyResult{}, nil
}

func (h *heldPayload) Deactivate(context.Context, string) ([]string, error) {
	h.deactivated++
	return nil, nil
}

func TestAGuestsVolumeGroupDoesNotKeepAResumedCopyFromItsPayload(t *testing.T) {
	for _, c := range []struct {
		name, path         string
		times, deactivated int
		busy               bool
	}{
		{"it is activated twice", "/dev/mapper/cr", 2, 2, false},
		{"it is held by something that can't be deactivated", "/dev/mapper/cr", 1000, aloneTries - 1, true},
		{"it is the source that is held", "/dev/vg0/imap", 1000, 0, true},
	} {
		held := &heldPayload{times: c.times, path: c.path}
		job := &Job{Env: &Env{Copier: held, Volumes: held}}
		_, err := job.copyAlone(t.Context(), &DiskPlan{Device: "/dev/mapper/cr"}, CopyRequest{})
		if held.deactivated != c.deactivated || errors.Is(err, syscall.EBUSY) != c.busy {
			t.Errorf("%s: deactivated %d times, %v", c.name, held.deactivated, err)
		}
	}
}
