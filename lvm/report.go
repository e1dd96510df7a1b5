package lvm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// VG is a volume group. Sizes are bytes.
type VG struct {
	Name, UUID string
	// Size and Free are whole extents.
	Size, Free int64
	// ExtentSize is the unit of allocation.
	ExtentSize               int64
	FreeExtents, ExtentCount int64
	PVCount                  int
	// Exported, Partial (a disk is missing), Clustered (or shared by a lock
	// manager) and ReadOnly groups take no new volume; see Unfit.
	Exported, Partial, Clustered, ReadOnly bool
	// Guest is whether the group lies on a logical volume, through a
	// mapping: it is inside a guest's disk and none of this host's.
	Guest bool
	// PVs are its disks.
	PVs []PV
}

// Unfit is why no volume can be made in the group, or "" when one can.
func (v VG) Unfit() string {
	switch {
	case v.Guest:
		return "it lies inside a guest's disk"
	case v.Exported:
		return "it is exported (vgimport brings it back)"
	case v.Partial:
		return "one of its disks is missing"
	case v.Clustered:
		return "it is shared between hosts, and vmmigrate moves guests on one host only"
	case v.ReadOnly:
		return "it is read-only"
	}
	return ""
}

// Sectors are the sizes of its disks' sectors, in bytes and each once, the
// smallest first.
func (v VG) Sectors() []int64 {
	var sizes []int64
	for _, disk := range v.PVs {
		if disk.Sector > 0 {
			sizes = append(sizes, disk.Sector)
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// PV is a disk of a volume group. Sizes are bytes.
type PV struct {
	// Name is its device's path.
	Name        string
	Size, Free  int64
	FreeExtents int64
	Allocatable bool
	Missing     bool
	// Sector is the smallest unit that it is addressed in, in bytes; 0 where
	// that can't be told.
	Sector int64
	// Major and Minor are its device's numbers, or -1 when it is missing.
	Major, Minor      int
	extents, allotted int64
}

// LV is a logical volume.
type LV struct {
	VG, Name, UUID string
	// VGUUID is its group's, since two groups may have one name.
	VGUUID string
	// Path is /dev/VG/LV, and DMPath the same device as /dev/mapper/VG-LV
	// with the names' own dashes doubled. A thin pool has no Path.
	Path, DMPath string
	// Size is in bytes.
	Size int64
	// Type is the segment type: linear, striped, raid1, thin, thin-pool and
	// so on. A volume of several kinds of segments has that of its first.
	Type string
	Tags []string
	// Active says that there is a device, Open that something holds it.
	Active, Open, ReadOnly bool
	// Attr is lvs's ten characters (lvs(8), NOTES).
	Attr string
	// Pool is the thin pool it is in, Origin what it is a snapshot of.
	Pool, Origin string
	// DataPercent and MetadataPercent tell how full a thin pool is, of 100.
	DataPercent, MetadataPercent float64
	// Major and Minor are its device's numbers, or -1 when it is not active.
	Major, Minor int
}

// HasTag says whether the volume itself bears tag.
func (l LV) HasTag(tag string) bool { return slices.Contains(l.Tags, tag) }

// IsSnapshot says whether the volume is a snapshot of another. A volume with a
// cache in front of it has its own hidden part for an origin, whose name lvs puts
// in brackets.
func (l LV) IsSnapshot() bool { return l.Origin != "" && !strings.HasPrefix(l.Origin, "[") }

// Cached says whether the volume has a cache in front of it (lvmcache(7)).
func (l LV) Cached() bool { return l.Type == "cache" || l.Type == "writecache" }

// Dependent are the names of those of volumes that would go with this one: its
// snapshots. One in a thin pool stands for itself.
func (l LV) Dependent(volumes []LV) []string {
	var names []string
	for _, other := range volumes {
		if other.IsSnapshot() && other.VGUUID == l.VGUUID && other.Origin == l.Name && other.Pool == "" {
			names = append(names, other.Name)
		}
	}
	return names
}

// vgFields, lvFields and pvFields are the columns we ask for.
const (
	vgFields = "vg_name,vg_uuid,vg_size,vg_free,vg_extent_size,vg_free_count,vg_extent_count,pv_count,vg_exported,vg_partial,vg_clustered,vg_shared,vg_permissions," +
		"pv_name,pv_size,pv_free,pv_pe_count,pv_pe_alloc_count,pv_allocatable,pv_missing,pv_major,pv_minor"
	lvFields = "vg_name,vg_uuid,lv_name,lv_uuid,lv_path,lv_dm_path,lv_size,segtype,lv_tags,lv_active,lv_device_open,lv_attr,lv_permissions,pool_lv,origin," +
		"data_percent,metadata_percent,lv_kernel_major,lv_kernel_minor"
	pvFields = "pv_name,vg_name,vg_uuid,pv_major,pv_minor"
)

// row is one row of a report: every value is a string (lvmreport(7)).
type row map[string]string

// rows are those of one kind ("vg", "lv", "pv") in a report.
func rows(report []byte, kind string) ([]row, error) {
	var document struct {
		Report []map[string]json.RawMessage `json:"report"`
	}
	decoder := json.NewDecoder(bytes.NewReader(report))
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("lvm2 printed a report that is no JSON: %w", err)
	}
	if len(document.Report) == 0 {
		return nil, errors.New("lvm2 printed an empty report")
	}
	var all []row
	for _, part := range document.Report {
		text, ok := part[kind]
		if !ok {
			continue
		}
		var some []row
		if err := json.Unmarshal(text, &some); err != nil {
			return nil, fmt.Errorf("lvm2 printed a report of an unknown form: %w", err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// reader reads a row's values and keeps the first thing that was wrong.
type reader struct {
	row row
	err error
}

func (r *reader) fail(field string) {
	if r.err == nil {
		r.err = fmt.Errorf("lvm2 reported %s as %q", field, r.row[field])
	}
}

func (r *reader) text(field string) string {
	value, ok := r.row[field]
	if !ok {
		r.fail(field)
	}
	return value
}

// number is a count or a size in bytes, never negative.
func (r *reader) number(field string) int64 {
	n, err := strconv.ParseInt(r.row[field], 10, 64)
	if err != nil || n < 0 {
		r.fail(field)
	}
	return n
}

// flag is a yes or no under --binary: "1", "0", or "-1" for not known.
func (r *reader) flag(field string) bool {
	value := r.row[field]
	if value != "0" && value != "1" && value != "-1" && value != "" {
		r.fail(field)
	}
	return value == "1"
}

// device is a device number, -1 where there is none.
func (r *reader) device(field string) int {
	n, err := strconv.Atoi(r.row[field])
	if err != nil || n < -1 {
		r.fail(field)
	}
	return n
}

// percent is of 100, and empty where it does not apply.
func (r *reader) percent(field string) float64 {
	if r.row[field] == "" {
		return 0
	}
	n, err := strconv.ParseFloat(r.row[field], 64)
	if err != nil || !(n >= 0 && n <= 100) {
		r.fail(field)
	}
	return n
}

// parseVGs reads a report with a row for every disk of every group.
func parseVGs(report []byte) ([]VG, error) {
	all, err := rows(report, "vg")
	if err != nil {
		return nil, err
	}
	var groups []VG
	for _, one := range all {
		r := reader{row: one}
		group := VG{
			Name: r.text("vg_name"), UUID: r.text("vg_uuid"),
			Size: r.number("vg_size"), Free: r.number("vg_free"), ExtentSize: r.number("vg_extent_size"),
			FreeExtents: r.number("vg_free_count"), ExtentCount: r.number("vg_extent_count"), PVCount: int(r.number("pv_count")),
			Exported: r.flag("vg_exported"), Partial: r.flag("vg_partial"),
			Clustered: r.flag("vg_clustered") || r.flag("vg_shared"), ReadOnly: r.text("vg_permissions") == "read-only",
		}
		disk := PV{
			Name: r.text("pv_name"), Size: r.number("pv_size"), Free: r.number("pv_free"),
			extents: r.number("pv_pe_count"), allotted: r.number("pv_pe_alloc_count"),
			Allocatable: r.flag("pv_allocatable"), Missing: r.flag("pv_missing"), Major: r.device("pv_major"), Minor: r.device("pv_minor"),
		}
		if r.err != nil {
			return nil, r.err
		}
		disk.FreeExtents = disk.extents - disk.allotted
		i := slices.IndexFunc(groups, func(g VG) bool { return g.UUID == group.UUID })
		if i < 0 {
			groups = append(groups, group)
			i = len(groups) - 1
		}
		groups[i].PVs = append(groups[i].PVs, disk)
	}
	return groups, nil
}

// parseLVs reads a report with a row for every segment of every volume.
func parseLVs(report []byte) ([]LV, error) {
	all, err := rows(report, "lv")
	if err != nil {
		return nil, err
	}
	var volumes []LV
	seen := map[string]bool{}
	for _, one := range all {
		r := reader{row: one}
		volume := LV{
			VG: r.text("vg_name"), VGUUID: r.text("vg_uuid"), Name: r.text("lv_name"), UUID: r.text("lv_uuid"), Path: r.text("lv_path"), DMPath: r.text("lv_dm_path"),
			Size: r.number("lv_size"), Type: r.text("segtype"), Active: r.text("lv_active") == "active", Open: r.flag("lv_device_open"),
			Attr: r.text("lv_attr"), ReadOnly: strings.HasPrefix(r.text("lv_permissions"), "read-only"), Pool: r.text("pool_lv"), Origin: r.text("origin"),
			DataPercent: r.percent("data_percent"), MetadataPercent: r.percent("metadata_percent"),
			Major: r.device("lv_kernel_major"), Minor: r.device("lv_kernel_minor"),
		}
		if tags := r.text("lv_tags"); tags != "" {
			volume.Tags = strings.Split(tags, ",")
		}
		if r.err != nil {
			return nil, r.err
		}
		if !seen[volume.UUID] {
			seen[volume.UUID] = true
			volumes = append(volumes, volume)
		}
	}
	return volumes, nil
}
