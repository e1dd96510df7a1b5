package lvm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Spec is a volume to make.
type Spec struct {
	VG, Name string
	// Size is in bytes, as Size works it out.
	Size int64
	// Type is the layout; "" is Linear.
	Type Type
	// Stripes and Mirrors mean what they do in a SizeRequest.
	Stripes, Mirrors int
	// ThinPool is the pool of a Thin volume.
	ThinPool string
	// PVs are the only disks to allocate from; none is all.
	PVs []string
	// Tags are set in the same act that makes the volume, so that there is
	// no moment at which it exists and is nobody's.
	Tags []string
}

// Create makes a volume, with old signatures on its place wiped, and returns
// it as it is. It returns a *NameError, *ExistsError, *NoSpaceError or
// *NotFoundError (of group, pool or disk), and nothing was made then.
func (c *Client) Create(ctx context.Context, spec Spec) (LV, error) {
	if err := errors.Join(ValidVGName(spec.VG), ValidName(spec.VG, spec.Name)); err != nil {
		return LV{}, err
	}
	group, shared, err := c.group(ctx, spec.VG)
	if err != nil {
		return LV{}, err
	}
	if why := group.Unfit(); why != "" {
		return LV{}, fmt.Errorf("no volume can be made in volume group %q: %s", spec.VG, why)
	}
	create, err := CreateCommand(spec, group.ExtentSize)
	if err != nil {
		return LV{}, err
	}
	if shared {
		// lvcreate knows groups by name alone; it is shown this one's
		// disks, so that there is no other of the name.
		var disks []string
		for _, disk := range group.PVs {
			disks = append(disks, disk.Name)
		}
		create.Args = append([]string{"--devices=" + strings.Join(disks, ",")}, create.Args...)
	}
	if _, err := c.run.Run(ctx, create); err != nil {
		if full := noSpace(err, group, spec.Size); full != nil {
			return LV{}, full
		}
		return LV{}, recognise(err, spec.VG, spec.Name)
	}
	volume, err := c.LV(ctx, spec.VG, spec.Name)
	if err != nil {
		return LV{}, fmt.Errorf("volume %q was made but can't be looked at: %w", spec.VG+"/"+spec.Name, err)
	}
	if volume.Size != spec.Size {
		return volume, fmt.Errorf("volume %q was made with %d bytes, not %d", spec.VG+"/"+spec.Name, volume.Size, spec.Size)
	}
	return volume, nil
}

// CreateCommand is the lvcreate that Create runs in a group whose extents have
// so many bytes. It returns an error for a size that lvcreate would round.
func CreateCommand(spec Spec, extent int64) (command.Cmd, error) {
	args, err := createArgs(spec, extent)
	if err != nil {
		return command.Cmd{}, err
	}
	return command.Cmd{Name: "lvcreate", Args: args}, nil
}

// createArgs are lvcreate's arguments (lvcreate(8)). What a signature search
// finds is wiped without asking, and names come after "--", where a leading
// dash is part of the name.
func createArgs(spec Spec, extent int64) ([]string, error) {
	shape, err := SizeRequest{Type: spec.Type, Stripes: spec.Stripes, Mirrors: spec.Mirrors}.shape()
	if err != nil {
		return nil, err
	}
	// lvcreate would round it up without a word.
	if unit := extent * shape.stripes; spec.Size <= 0 || spec.Size%unit != 0 {
		return nil, fmt.Errorf("a volume of %d bytes can't be made in volume group %q, where sizes are multiples of %d", spec.Size, spec.VG, unit)
	}
	args := []string{"--yes", "--wipesignatures", "y", "--type", string(spec.Type)}
	if spec.Type == "" {
		args[len(args)-1] = string(Linear)
	}
	size := strconv.FormatInt(spec.Size, 10) + "b"
	stripes := strconv.FormatInt(shape.stripes, 10)
	switch spec.Type {
	case Striped:
		args = append(args, "--stripes", stripes)
	case RAID1:
		args = append(args, "--mirrors", strconv.FormatInt(shape.images-1, 10))
	case RAID10:
		args = append(args, "--stripes", stripes, "--mirrors", strconv.FormatInt(shape.images/shape.stripes-1, 10))
	}
	if spec.Type == Thin {
		if spec.ThinPool == "" {
			return nil, errors.New("a thin volume needs a thin pool")
		}
		args = append(args, "--thinpool="+spec.ThinPool, "--virtualsize", size)
	} else {
		args = append(args, "--size", size)
	}
	for _, tag := range spec.Tags {
		args = append(args, "--addtag="+tag)
	}
	return append(append(args, "--name="+spec.Name, "--", spec.VG), spec.PVs...), nil
}

// Remove removes the volume vg/name if it bears tag, and is content when there
// is no such volume. It returns a *NotOursError when the volume does not bear
// the tag, an *InUseError when it is open, a *MovingError while it is moved, and a
// *SnapshotError when snapshots would go with it; it is still there then. A cache
// in front of it goes with it.
func (c *Client) Remove(ctx context.Context, vg, name, tag string) error {
	volume, volumes, err := c.lookUp(ctx, vg, name)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if tag == "" || !volume.HasTag(tag) {
		return &NotOursError{VG: vg, Name: name, Tag: tag, Tags: volume.Tags}
	}
	return c.remove(ctx, volume, volumes)
}

// remove removes one of the host's volumes, by UUID and not by name: should
// another have taken the name since we looked, it stays.
func (c *Client) remove(ctx context.Context, volume LV, volumes []LV) error {
	// With --yes lvremove takes them along without a word.
	if snapshots := volume.Dependent(volumes); len(snapshots) > 0 {
		return &SnapshotError{VG: volume.VG, Name: volume.Name, Snapshots: snapshots}
	}
	_, err := c.run.Run(ctx, command.Cmd{Name: "lvremove", Args: []string{"--yes", "--select", "lv_uuid=" + volume.UUID}})
	if err = recognise(err, volume.VG, volume.Name); isMissing(err) {
		return nil
	}
	return err
}

// RemoveExactly removes the one volume of that UUID, tag or none, if it still has
// the name and size that the caller knows: what a user has had wiped. It is
// content when there is no volume of that UUID. It returns a *ChangedError when
// it is not that volume any more, an *InUseError when it is open, and a
// *SnapshotError when snapshots would go with it.
func (c *Client) RemoveExactly(ctx context.Context, vg, name, uuid string, size int64) error {
	volumes, err := c.LVs(ctx)
	if err != nil {
		return err
	}
	for _, volume := range volumes {
		if volume.UUID != uuid {
			continue
		}
		if volume.VG != vg || volume.Name != name || volume.Size != size {
			return &ChangedError{VG: vg, Name: name, Size: size, Now: volume}
		}
		if err := c.remove(ctx, volume, volumes); err != nil {
			return err
		}
	}
	return nil
}

// Activate makes the volume's device appear. It returns a *NotFoundError when
// there is no such volume.
func (c *Client) Activate(ctx context.Context, vg, name string) error {
	if err := ValidName(vg, name); err != nil {
		return err
	}
	// -K: a thin snapshot is marked to be skipped (lvchange(8)).
	_, err := c.run.Run(ctx, command.Cmd{Name: "lvchange", Args: []string{"--activate", "y", "--ignoreactivationskip", "--", vg + "/" + name}})
	return recognise(err, vg, name)
}

// Deactivate takes down the volumes that the host's LVM activated from disks
// on device, which must be an opened mapping of ours: they are a guest's. It
// touches no group of the same name or UUID that is active on another device,
// and returns the names of those it deactivated, none when nothing was active.
// It returns an *InUseError when one of their volumes is open.
func (c *Client) Deactivate(ctx context.Context, device string) ([]string, error) {
	groups, err := c.On(ctx, device)
	if err != nil {
		return nil, err
	}
	var done []string
	for _, group := range groups {
		active, err := c.activeOn(device, group.UUID)
		if err != nil {
			return done, err
		}
		if !active {
			continue
		}
		// By UUID: guests are often installed from one image, so the name,
		// "debian-vg" say, may well be that of the host's own group.
		_, err = c.run.Run(ctx, command.Cmd{Name: "vgchange", Args: []string{"--yes", "--activate", "n", "--select", "vg_uuid=" + group.UUID}})
		if err != nil {
			return done, recognise(err, group.Name, "")
		}
		done = append(done, group.Name)
	}
	return done, nil
}
