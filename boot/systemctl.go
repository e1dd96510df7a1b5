package boot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// systemctl is run with --no-ask-password: nobody is to be asked behind the
// back of a command that was given --yes.
func (h *Host) systemctl(ctx context.Context, readOnly bool, args ...string) (string, error) {
	result, err := h.Run.Run(ctx, command.Cmd{Name: "systemctl", Args: append([]string{"--no-pager", "--no-ask-password"}, args...), ReadOnly: readOnly})
	return string(result.Stdout), err
}

// Reload has systemd read its units again, and make those of the crypttab. A
// host without systemd has nothing to reload.
func (h *Host) Reload(ctx context.Context) error {
	if !h.booted() {
		return nil
	}
	_, err := h.systemctl(ctx, false, "daemon-reload")
	return err
}

// Enable has a unit started at boot.
func (h *Host) Enable(ctx context.Context, unit string) error {
	_, err := h.systemctl(ctx, false, "enable", "--quiet", "--", unit)
	return err
}

// Disable takes that back. It is content where the unit is not enabled, and
// where its template is not installed any more.
func (h *Host) Disable(ctx context.Context, unit string) error {
	if !h.enabled(unit) {
		return nil
	}
	_, err := h.systemctl(ctx, false, "disable", "--quiet", "--", unit)
	if !h.enabled(unit) {
		return nil
	}
	// Once the template is gone systemctl knows no such unit, and the link is
	// what is left.
	if removed := os.Remove(h.path(wants, unit)); removed != nil {
		return errors.Join(err, &FileError{Path: h.path(wants, unit), Err: reason(removed)})
	}
	return syncFolder(h.path(wants))
}

// wants is where `systemctl enable` puts the link, as the template's section
// [Install] says.
const wants = written + "/multi-user.target.wants"

func (h *Host) enabled(unit string) bool {
	_, err := os.Lstat(h.path(wants, unit))
	return err == nil
}

// Start starts a unit and waits until it has.
func (h *Host) Start(ctx context.Context, unit string) error {
	_, err := h.systemctl(ctx, false, "start", "--", unit)
	return err
}

// Stop stops a unit and waits until it has. One that runs is all that is
// stopped: on a host without systemd there is none.
func (h *Host) Stop(ctx context.Context, unit string) error {
	if !h.booted() {
		return nil
	}
	_, err := h.systemctl(ctx, false, "stop", "--", unit)
	return err
}

// UnitState is how a unit stands.
type UnitState struct {
	// Enabled is whether it is started at boot, and Masked whether it can't
	// be started at all.
	Enabled, Masked bool
	// Loaded is whether systemd knows it, Active is its state in systemd's
	// words (such as active, inactive or failed), and Result why it failed.
	Loaded         bool
	Active, Result string
}

// State says how a unit stands.
func (h *Host) State(ctx context.Context, unit string) (UnitState, error) {
	state := UnitState{Enabled: h.enabled(unit)}
	if !h.booted() {
		return state, nil
	}
	text, err := h.systemctl(ctx, true, "show", "--property=LoadState,ActiveState,Result", "--", unit)
	if err != nil {
		return state, err
	}
	for line := range bytes.Lines([]byte(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		switch name {
		case "LoadState":
			state.Masked, state.Loaded = value == "masked", value == "loaded"
		case "ActiveState":
			state.Active = value
		case "Result":
			state.Result = value
		}
	}
	return state, nil
}
