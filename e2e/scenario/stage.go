package scenario

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// Group is the volume group that a stage has.
const Group = "vg0"

// command is the program that the scenarios drive.
const command = "github.com/vmmigrate/vmmigrate/cmd/vmmigrate"

// Options say what stage to set.
type Options struct {
	// DiskSize is the physical volume's, in bytes; 0 is 1 GiB.
	DiskSize int64
	// Dir keeps the disks, so that a stage can come back after a power
	// cut: "" is for one that needs not.
	Dir string
	// Systemd makes systemd the host's process 1, with libvirtd enabled and
	// the unit of guests installed.
	Systemd bool
	// More are further disks, which are left as they come.
	More []testhost.Disk
	// Log is told what is done on the host; nil is nobody.
	Log io.Writer
}

// Stage is a host as an administrator has it before the move: a volume group
// on a disk that was used before, libvirtd, and the guest imap, shut off, on a
// plain volume, a raw file and a cdrom. vmmigrate, as it ships, is in its PATH.
type Stage struct {
	*testhost.Host
	// Guest is the domain imap.
	Guest guest.Spec
	// Images are what the guest's disks were filled from.
	Images guest.Images

	systemd bool
}

// Set sets a stage. Whoever does has to call Stop or PowerCut on it.
func Set(ctx context.Context, options Options) (*Stage, error) {
	s, err := bootStage(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := s.furnish(ctx); err != nil {
		s.PowerCut()
		return nil, fmt.Errorf("set the stage: %w", err)
	}
	return s, nil
}

// Return boots a stage again that was set with the same Dir, such as after a
// power cut.
func Return(ctx context.Context, options Options) (*Stage, error) {
	s, err := bootStage(ctx, options)
	if err != nil {
		return nil, err
	}
	s.Guest = guest.Placed(Group)
	_, err = s.Run(ctx, "vgchange", "-q", "-a", "y", Group)
	if err == nil {
		err = s.WriteFile(ctx, KeyFile, []byte(Key), 0o600)
	}
	if err != nil {
		s.PowerCut()
		return nil, fmt.Errorf("return to the stage: %w", err)
	}
	return s, nil
}

func bootStage(ctx context.Context, options Options) (*Stage, error) {
	cache, err := testhost.DefaultCacheDir()
	if err != nil {
		return nil, err
	}
	images, err := guest.Build(ctx, cache)
	if err != nil {
		return nil, err
	}
	bin, err := os.MkdirTemp("", "vmmigrate-bin-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(bin)
	program := filepath.Join(bin, "vmmigrate")
	if err := testhost.Build(ctx, command, program); err != nil {
		return nil, err
	}

	size := options.DiskSize
	if size == 0 {
		size = 1 << 30
	}
	host := testhost.Options{
		Disks: []testhost.Disk{{Size: size, Noise: true}}, Programs: []string{program},
		Libvirt: true, Systemd: options.Systemd, CacheDir: cache, Log: options.Log,
	}
	host.Disks = append(host.Disks, options.More...)
	if options.Dir != "" {
		host.Disks[0].Path = filepath.Join(options.Dir, "pv")
		host.Persist = filepath.Join(options.Dir, "persist")
	}
	h, err := testhost.Start(ctx, host)
	if err != nil {
		return nil, err
	}
	return &Stage{Host: h, Images: images, systemd: options.Systemd}, nil
}

// installUnit puts the guests' unit where make install does, for the vmmigrate
// that is in the host's PATH.
func (s *Stage) installUnit(ctx context.Context) error {
	root, err := testhost.Repository()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(root, "packaging/systemd/vmmigrate-guest@.service"))
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte("/usr/sbin/vmmigrate"), []byte("/usr/local/bin/vmmigrate"))
	if err := s.WriteFile(ctx, "/etc/systemd/system/vmmigrate-guest@.service", text, 0o644); err != nil {
		return err
	}
	_, err = s.Run(ctx, "systemctl", "daemon-reload")
	return err
}

func (s *Stage) furnish(ctx context.Context) error {
	if s.systemd {
		if err := s.installUnit(ctx); err != nil {
			return err
		}
	}
	if _, err := s.Shell(ctx, `pvcreate -q --yes "$1"; vgcreate -q "$2" "$1"`, s.Device(0), Group); err != nil {
		return err
	}
	if err := s.WriteFile(ctx, KeyFile, []byte(Key), 0o600); err != nil {
		return err
	}
	var err error
	s.Guest, err = guest.Install(ctx, s.Host, s.Images, Group)
	return err
}
