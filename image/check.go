package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// The exit codes of qemu-img check (qemu-img(1)): damage, and space that is
// only lost.
const (
	checkDamaged = 2
	checkLeaks   = 3
)

// Check has qemu-img look through the metadata of every image of a chain for
// what a copy would not notice: tables that point nowhere, and clusters beyond
// the end of a file that was cut short, which QEMU reads as zeros. It changes
// nothing; space that is only lost is no damage. It returns an *Error for the
// first damaged image, with the clusters that qemu-img names, a *LockedError
// for one that is in use, or what qemu-img says.
func (t Tools) Check(ctx context.Context, chain Chain) error {
	for i, layer := range chain {
		if layer.Format == Raw {
			continue
		}
		if err := t.check(ctx, chain[i:]); err != nil {
			return err
		}
		if layer.Format == QCOW2 && len(layer.Data) > 0 {
			if err := t.checkData(ctx, chain[i:]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t Tools) check(ctx context.Context, chain Chain) error {
	_, err := t.runner().Run(ctx, command.Cmd{Name: "qemu-img", Args: []string{"check", "-q", chain.alone()}, ReadOnly: true})
	var failed *command.Error
	if err == nil || !errors.As(err, &failed) || ctx.Err() != nil {
		return err
	}
	path := chain[0].Path
	switch failed.ExitCode {
	case checkLeaks:
		return nil
	case checkDamaged:
		remedy := "restore it from a backup; qemu-img check shows all of the damage"
		if chain[0].Format == QCOW2 {
			remedy = command.Quote([]string{"qemu-img", "check", "-r", "all", path}) + " mends its tables, and what they lost stays lost; or restore it from a backup"
		}
		return &Error{Path: path, Reason: "is damaged: " + first(clean(failed.Stderr)), Remedy: remedy, Err: err}
	}
	var locked *LockedError
	if said := refusal(chain, failed.Stderr, err); errors.As(said, &locked) {
		return locked
	}
	return &Error{Path: path, Reason: "can't be checked: " + first(clean(failed.Stderr)), Err: err}
}

// first are the first few of what a check found, which may be thousands.
func first(said string) string {
	const most = 3
	found := strings.Split(said, "; ")
	if len(found) <= most {
		return said
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(found[:most], "; "), len(found)-most)
}

// checkData looks whether an external data file still has all that the image
// says is in it: qemu-img check does not, and QEMU reads what is missing as
// zeros.
func (t Tools) checkData(ctx context.Context, chain Chain) error {
	layer := chain[0]
	data := layer.Data[0]
	info, err := os.Stat(data.Path)
	if err != nil {
		return &Error{Path: data.Path, Reason: "can't be looked at: " + bare(err), Err: err}
	}
	if data.Block {
		return nil // a device does not shrink unseen: what is beyond its end can't be read
	}
	result, err := t.runner().Run(ctx, command.Cmd{Name: "qemu-img", Args: []string{"map", "--output=json", chain.alone()}, ReadOnly: true})
	if err != nil {
		return err
	}
	var extents []struct {
		Length int64
		Data   bool
		Offset *int64
	}
	if err := json.Unmarshal(result.Stdout, &extents); err != nil {
		return fmt.Errorf("read qemu-img's map of %s: %w", layer.Path, err)
	}
	for _, e := range extents {
		// A file may end within its last cluster.
		if e.Data && e.Offset != nil && *e.Offset+e.Length-layer.Cluster >= info.Size() {
			return &Error{
				Path: data.Path, Reason: fmt.Sprintf("has been cut short: it has %d bytes, and %s keeps data at byte %d of it", info.Size(), layer.Path, *e.Offset),
				Remedy: "restore it from a backup",
			}
		}
	}
	return nil
}
