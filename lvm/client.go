package lvm

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Client looks at volumes and makes and removes them, with lvm2's commands.
type Client struct {
	run command.Runner
	// numbers are a device's major and minor; ok is false where the path is
	// no block device.
	numbers func(path string) (major, minor int, ok bool)
	// sys is where sysfs is mounted.
	sys string
}

// New is a Client that runs lvm2 through runner.
func New(runner command.Runner) *Client {
	return &Client{run: runner, numbers: deviceNumbers, sys: "/sys"}
}

func deviceNumbers(path string) (major, minor int, ok bool) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, false
	}
	return int(unix.Major(stat.Rdev)), int(unix.Minor(stat.Rdev)), true
}

// report runs one of lvm2's reporting commands. Its flags are those of
// lvmreport(7): JSON, bytes without a unit, and 0 or 1 for yes and no.
func (c *Client) report(ctx context.Context, name, fields string, args ...string) ([]byte, error) {
	args = append([]string{"--reportformat", "json", "--units", "b", "--nosuffix", "--binary", "-o", fields}, args...)
	result, err := c.run.Run(ctx, command.Cmd{Name: name, Args: args, ReadOnly: true})
	return result.Stdout, err
}

// VGs are all volume groups that the host's LVM sees, also those inside an
// opened guest's disk; they are marked as Guest.
func (c *Client) VGs(ctx context.Context) ([]VG, error) {
	report, err := c.report(ctx, "vgs", vgFields)
	if err != nil {
		return nil, err
	}
	groups, err := parseVGs(report)
	for i := range groups {
		for k, disk := range groups[i].PVs {
			groups[i].PVs[k].Sector = c.sector(disk.Major, disk.Minor)
		}
		groups[i].Guest = slices.ContainsFunc(groups[i].PVs, func(disk PV) bool { return c.nested(disk.Major, disk.Minor) })
	}
	return groups, err
}

// VG is the volume group of that name. Of several it is this host's own, not
// one inside a guest's disk. It returns a *NotFoundError when there is none,
// and an *AmbiguousError when it can't tell them apart.
func (c *Client) VG(ctx context.Context, name string) (VG, error) {
	group, _, err := c.group(ctx, name)
	return group, err
}

// group is VG, and whether the name alone would mean another group as well.
// lvm2 does nothing by a name that two groups have ("Multiple VGs found with
// the same name: skipping vg0"), so nothing here is asked for by name.
func (c *Client) group(ctx context.Context, name string) (group VG, shared bool, err error) {
	if ValidVGName(name) != nil {
		return VG{}, false, &NotFoundError{Kind: "volume group", Name: name}
	}
	groups, err := c.VGs(ctx)
	if err != nil {
		return VG{}, false, err
	}
	groups = slices.DeleteFunc(groups, func(g VG) bool { return g.Name != name })
	own := slices.DeleteFunc(slices.Clone(groups), func(g VG) bool { return g.Guest })
	switch {
	case len(groups) == 0:
		return VG{}, false, &NotFoundError{Kind: "volume group", Name: name}
	case len(groups) == 1:
		return groups[0], false, nil
	case len(own) == 1:
		return own[0], true, nil
	}
	ambiguous := &AmbiguousError{Name: name}
	for _, g := range groups {
		ambiguous.UUIDs = append(ambiguous.UUIDs, g.UUID)
	}
	return VG{}, true, ambiguous
}

// LVs are all logical volumes, without those that are parts of others.
func (c *Client) LVs(ctx context.Context) ([]LV, error) {
	report, err := c.report(ctx, "lvs", lvFields)
	if err != nil {
		return nil, err
	}
	return parseLVs(report)
}

// LV is the logical volume vg/name, of this host's own group where one inside
// a guest's disk has the name too. It returns a *NotFoundError when there is
// none, or no such group, and an *AmbiguousError when it can't tell.
func (c *Client) LV(ctx context.Context, vg, name string) (LV, error) {
	volume, _, err := c.lookUp(ctx, vg, name)
	return volume, err
}

// lookUp is LV, with all of the host's volumes beside it.
func (c *Client) lookUp(ctx context.Context, vg, name string) (volume LV, all []LV, err error) {
	missing := &NotFoundError{Kind: "logical volume", Name: vg + "/" + name}
	if ValidVGName(vg) != nil || invalid(name) != "" {
		return LV{}, nil, missing
	}
	if all, err = c.LVs(ctx); err != nil {
		return LV{}, nil, err
	}
	volumes := slices.DeleteFunc(slices.Clone(all), func(v LV) bool { return v.VG != vg || v.Name != name })
	if len(volumes) > 1 {
		group, _, err := c.group(ctx, vg)
		if err != nil {
			return LV{}, nil, err
		}
		volumes = slices.DeleteFunc(volumes, func(v LV) bool { return v.VGUUID != group.UUID })
	}
	if len(volumes) == 0 {
		return LV{}, nil, missing
	}
	return volumes[0], all, nil
}

// ByTag are the volumes that bear tag themselves.
func (c *Client) ByTag(ctx context.Context, tag string) ([]LV, error) {
	volumes, err := c.LVs(ctx)
	if err != nil {
		return nil, err
	}
	// Not `lvs @tag`: that also lists the volumes of a group which bears it.
	var tagged []LV
	for _, volume := range volumes {
		if volume.HasTag(tag) {
			tagged = append(tagged, volume)
		}
	}
	return tagged, nil
}

// LVByPath is the volume behind a path: its own (/dev/VG/LV or
// /dev/mapper/VG-LV, also when it is not active), or any other name of its
// device, such as /dev/dm-3 or a link. It returns a *NotFoundError when the
// path is no volume.
func (c *Client) LVByPath(ctx context.Context, path string) (LV, error) {
	volumes, err := c.LVs(ctx)
	if err != nil {
		return LV{}, err
	}
	major, minor, ok := c.numbers(path)
	for _, volume := range volumes {
		if path != "" && (path == volume.Path || path == volume.DMPath) || ok && volume.Major == major && volume.Minor == minor {
			return volume, nil
		}
	}
	return LV{}, &NotFoundError{Kind: "logical volume", Name: path}
}

// On are the volume groups with a disk on device: when that is an opened
// payload, groups that a guest made inside its disk and that the host's LVM
// sees as well. Of each only Name and UUID are known.
func (c *Client) On(ctx context.Context, device string) ([]VG, error) {
	major, minor, ok := c.numbers(device)
	if !ok {
		return nil, &NotFoundError{Kind: "block device", Name: device}
	}
	// --all also shows a disk whose UUID another disk bears too, as that of
	// a copied guest does; without it lvm2 shows one of the two.
	report, err := c.report(ctx, "pvs", pvFields, "--all")
	if err != nil {
		return nil, err
	}
	all, err := rows(report, "pv")
	if err != nil {
		return nil, err
	}
	var groups []VG
	for _, one := range all {
		r := reader{row: one}
		group := VG{Name: r.text("vg_name"), UUID: r.text("vg_uuid")}
		at := [2]int{r.device("pv_major"), r.device("pv_minor")}
		if r.err != nil {
			return nil, r.err
		}
		if group.UUID != "" && at == [2]int{major, minor} {
			groups = append(groups, group)
		}
	}
	return groups, nil
}

// isMissing says that err stands for something that is not there.
func isMissing(err error) bool {
	var missing *NotFoundError
	return errors.As(err, &missing)
}
