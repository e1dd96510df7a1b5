package luks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Mapping is a device-mapper device, as a rule an opened volume.
type Mapping struct {
	// Name is its own, and Path its device, /dev/mapper/NAME.
	Name, Path string
	// DMUUID is device-mapper's UUID, CRYPT-LUKS2-0123…-NAME.
	DMUUID string
	// Type and UUID are those of the LUKS header it was opened from, or ""
	// when it was not opened from one.
	Type Type
	UUID string
	// Target is the kind of its (first) table entry. It is "crypt" for an
	// opened volume; what follows is filled in for that alone.
	Target string
	// Device is the device below, as /dev/mapper/NAME or /dev/sda1, and
	// Major and Minor are its numbers.
	Device       string
	Major, Minor int
	// File is what lies below Device where that is a loop device, or "".
	File string
	// Size is the payload's and Offset where it begins on Device, in bytes.
	Size, Offset int64
	// SectorSize is the unit of encryption in bytes.
	SectorSize int64
	Cipher     string
	// OpenCount is how many times it is open: by mounts, guests, programs
	// and mappings on top.
	OpenCount          int
	ReadOnly, Discards bool

	number string // its own device number, as "254:3"
}

// infoLine is a line of `dmsetup info -c --noheadings --nameprefixes` with its
// default columns (dmsetup(8)). A name may hold anything, so the greedy first
// group leaves the rest to be matched from the end.
var infoLine = regexp.MustCompile(`^DM_NAME='(.*)':DM_MAJOR='(\d+)':DM_MINOR='(\d+)':DM_ATTR='([^']*)':DM_OPEN='(\d+)':DM_SEGMENTS='\d+':DM_EVENTS='\d+':DM_UUID='(.*)'$`)

// cryptUUID is the device-mapper UUID that cryptsetup gives an opened volume.
var cryptUUID = regexp.MustCompile(`^CRYPT-(LUKS[12])-([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})-`)

// Mapping is the device-mapper device of that name. It returns a
// *NotFoundError of the kind "mapping" when there is none. Another's device
// has a Target other than "crypt", or another UUID.
func (c *Client) Mapping(ctx context.Context, mapper string) (Mapping, error) {
	missing := &NotFoundError{Kind: "mapping", Name: mapper}
	if mapper == "" || mapper[0] == '-' || strings.ContainsAny(mapper, "/\n") {
		return Mapping{}, missing
	}
	info, err := c.dmsetup(ctx, "info", "-c", "--noheadings", "--nameprefixes", "--", mapper)
	if gone(err) {
		return Mapping{}, missing
	}
	if err != nil {
		return Mapping{}, err
	}
	mappings, err := parseInfo(info)
	if err != nil {
		return Mapping{}, err
	}
	if len(mappings) != 1 {
		return Mapping{}, fmt.Errorf("dmsetup tells of %d devices %q", len(mappings), mapper)
	}
	mapping := mappings[0]
	mapping.Name, mapping.Path = mapper, "/dev/mapper/"+mapper
	table, err := c.dmsetup(ctx, "table", "--", mapper)
	if gone(err) {
		return Mapping{}, missing
	}
	if err != nil {
		return Mapping{}, err
	}
	if err := mapping.table(string(table)); err != nil {
		return Mapping{}, err
	}
	mapping.Device, mapping.File = c.deviceOf(mapping.Major, mapping.Minor)
	return mapping, nil
}

// Mappings are all devices with a crypt target, opened from LUKS or not.
func (c *Client) Mappings(ctx context.Context) ([]Mapping, error) {
	info, err := c.dmsetup(ctx, "info", "-c", "--noheadings", "--nameprefixes")
	if err != nil {
		return nil, err
	}
	all, err := parseInfo(info)
	if err != nil {
		return nil, err
	}
	tables, err := c.dmsetup(ctx, "table", "--target", "crypt")
	if err != nil {
		return nil, err
	}
	var crypt []Mapping
	for line := range strings.Lines(string(tables)) {
		for _, mapping := range all {
			table, ok := strings.CutPrefix(strings.TrimSpace(line), mapping.Name+": ")
			if !ok || !strings.HasPrefix(table, "0 ") {
				continue
			}
			if err := mapping.table(table); err != nil {
				return nil, err
			}
			mapping.Device, mapping.File = c.deviceOf(mapping.Major, mapping.Minor)
			crypt = append(crypt, mapping)
			break
		}
	}
	return crypt, nil
}

// MappingsOf are the opened mappings of one device, whatever they are called:
// also one that was opened by hand.
func (c *Client) MappingsOf(ctx context.Context, device string) ([]Mapping, error) {
	number, ok := c.number(device)
	if !ok {
		return nil, &NotFoundError{Kind: "device", Name: device}
	}
	all, err := c.Mappings(ctx)
	if err != nil {
		return nil, err
	}
	var over []Mapping
	for _, mapping := range all {
		if number == fmt.Sprintf("%d:%d", mapping.Major, mapping.Minor) {
			over = append(over, mapping)
		}
	}
	return over, nil
}

// dmsetup only looks. It is never given --showkeys.
func (c *Client) dmsetup(ctx context.Context, args ...string) ([]byte, error) {
	result, err := c.run.Run(ctx, command.Cmd{Name: "dmsetup", Args: args, ReadOnly: true})
	return result.Stdout, err
}

// gone says that dmsetup failed because there is no such device.
func gone(err error) bool {
	var said *command.Error
	return errors.As(err, &said) && said.ExitCode == 1 &&
		(strings.Contains(said.Stderr, "Device does not exist") || strings.Contains(said.Stderr, "No such device or address"))
}

// parseInfo reads dmsetup's list of devices.
func parseInfo(info []byte) ([]Mapping, error) {
	var mappings []Mapping
	for line := range strings.Lines(string(info)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line == "No devices found" {
			continue
		}
		m := infoLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("dmsetup printed a line of an unknown form: %q", line)
		}
		open, err := strconv.Atoi(m[5])
		if err != nil {
			return nil, fmt.Errorf("dmsetup printed an open count of %q", m[5])
		}
		// The attributes are LIsw: live table, inactive table, suspended,
		// and r or w at last.
		mapping := Mapping{
			Name: m[1], Path: "/dev/mapper/" + m[1], DMUUID: m[6], OpenCount: open,
			ReadOnly: strings.HasSuffix(m[4], "r"), number: m[2] + ":" + m[3],
		}
		if u := cryptUUID.FindStringSubmatch(mapping.DMUUID); u != nil {
			mapping.Type = Type(strings.ToLower(u[1]))
			mapping.UUID = strings.Join(u[2:], "-")
		}
		mappings = append(mappings, mapping)
	}
	return mappings, nil
}

// table reads a device-mapper table. That of a crypt target is
// <start> <sectors> crypt <cipher> <key> <iv offset> <device> <offset>
// [<number of options> <option>…] (Documentation/admin-guide/device-mapper/
// dm-crypt.rst); the key is a reference or hidden, and passed over.
func (m *Mapping) table(text string) error {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 3 {
		// A device without a table is one that is just being made.
		m.Target = ""
		return nil
	}
	if m.Target = fields[2]; m.Target != "crypt" {
		return nil
	}
	bad := fmt.Errorf("the table of %q has an unknown form", m.Name)
	if len(fields) < 8 {
		return bad
	}
	size, errSize := strconv.ParseInt(fields[1], 10, 64)
	offset, errOffset := strconv.ParseInt(fields[7], 10, 64)
	major, minor, ok := strings.Cut(fields[6], ":")
	var errMajor, errMinor error
	m.Major, errMajor = strconv.Atoi(major)
	m.Minor, errMinor = strconv.Atoi(minor)
	const most = 1 << 53 // sectors of 512 bytes, that bytes fit in an int64
	if !ok || errors.Join(errSize, errOffset, errMajor, errMinor) != nil || size < 0 || offset < 0 || size > most || offset > most {
		return bad
	}
	m.Cipher, m.Size, m.Offset, m.SectorSize = fields[3], size*sector, offset*sector, sector
	for _, option := range fields[min(9, len(fields)):] {
		if option == "allow_discards" {
			m.Discards = true
		}
		if text, ok := strings.CutPrefix(option, "sector_size:"); ok {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n <= 0 {
				return bad
			}
			m.SectorSize = n
		}
	}
	return nil
}

// deviceOf is the path of a device by its number, or "" when sysfs has none, and
// that of the file below a loop device.
func (c *Client) deviceOf(major, minor int) (path, file string) {
	folder := filepath.Join(c.sys, "dev/block", fmt.Sprintf("%d:%d", major, minor))
	if name, err := os.ReadFile(filepath.Join(folder, "dm/name")); err == nil {
		return "/dev/mapper/" + strings.TrimSpace(string(name)), ""
	}
	target, err := os.Readlink(folder)
	if err != nil {
		return "", ""
	}
	if below, err := os.ReadFile(filepath.Join(folder, "loop/backing_file")); err == nil {
		file = strings.TrimSuffix(string(below), "\n")
	}
	// sysfs writes a slash in a device's name as an exclamation mark.
	return "/dev/" + strings.ReplaceAll(filepath.Base(target), "!", "/"), file
}

func deviceNumber(path string) (string, bool) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", false
	}
	return fmt.Sprintf("%d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev)), true
}

// DirectIO has the loop device below a mapping pass the page cache by, as
// cryptsetup has it opened for a file, and does nothing where no loop device is
// below. It returns an error where the file system of the file takes no direct
// I/O; the mapping works all the same.
func (c *Client) DirectIO(ctx context.Context, mapper string) error {
	mapping, err := c.Mapping(ctx, mapper)
	if err != nil || !strings.HasPrefix(mapping.Device, "/dev/loop") {
		return err
	}
	_, err = c.run.Run(ctx, command.Cmd{Name: "losetup", Args: []string{"--direct-io=on", mapping.Device}})
	return err
}
