package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// The headings under which help shows the flags.
const (
	categoryVM     = "Which VMs"
	categoryAdopt  = "Images that have no VM yet"
	categoryTarget = "Target"
	categoryLUKS   = "Encryption"
	categoryCopy   = "Copy"
	categoryKey    = "Key (asked for on the terminal by default)"
)

func vmFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{KeepSpace: true, Name: "vm", Category: categoryVM, Usage: "the VM called `NAME`; may be given several times"},
		&cli.BoolFlag{Name: "all", Category: categoryVM, Usage: "every VM of this host"},
	}
}

func targetFlags() []cli.Flag {
	luksDefault := migrate.DefaultLUKS()
	return []cli.Flag{
		&cli.StringSliceFlag{KeepSpace: true, Name: "vg", Category: categoryTarget, Usage: "make the volumes in the volume group `VG` (default: the source's own, else the only one with room); given several times, each goes where the most room is"},
		&cli.StringSliceFlag{KeepSpace: true, Name: "pv", Category: categoryTarget, Usage: "let the volumes lie on the group's disk `DEVICE` alone; may be given several times"},
		&cli.StringSliceFlag{KeepSpace: true, Name: "target-device", Category: categoryTarget, Usage: "put a disk onto the blank device `DISK=PATH` that exists already, or PATH if only one disk moves; may be given several times"},
		&cli.StringFlag{Name: "target-dir", Category: categoryTarget, Usage: "put the disks into files in the folder `DIR` instead of volumes, for a host without LVM"},
		&cli.StringSliceFlag{KeepSpace: true, Name: "header", Category: categoryTarget, Usage: "put a disk's LUKS header into the new file `DISK=FILE`, apart from its volume, or FILE if only one disk moves; may be given several times"},
		&cli.StringFlag{Name: "layout", Category: categoryTarget, Value: string(migrate.BlockLayout), Usage: "lay the disks out as `LAYOUT`: block, where the decrypted volume is the disk, or filesystem, where a qcow2 disk stays a qcow2 image on a file system in its volume"},
		&cli.StringFlag{Name: "fs-type", Category: categoryTarget, Usage: "with --layout filesystem, make file systems of `TYPE`: ext4 or xfs (default: ext4)"},
		&cli.StringFlag{Name: "fs-size", Category: categoryTarget, Usage: "with --layout filesystem, make each of `SIZE`, such as 30G (default: room for the image with all of it allocated)"},
		&cli.StringFlag{Name: "fs-dir", Category: categoryTarget, Usage: "with --layout filesystem, make the mount points in the folder `DIR` (default: " + migrate.MountDir + ")"},
		&cli.StringFlag{Name: "name", Category: categoryTarget, Usage: "call the clone `NAME` (default: the VM's name and -luks), or the VM that --disk makes"},
		&cli.StringFlag{Name: "lv-name", Category: categoryTarget, Usage: "call the volume `LV`, with -TARGET behind it if there are several (default: VM-TARGET-luks)"},
		&cli.StringFlag{Name: "lvm-type", Category: categoryTarget, Usage: "make volumes of `TYPE`: linear, striped, raid1, raid10 or thin (default: linear)"},
		&cli.StringFlag{Name: "thin-pool", Category: categoryTarget, Usage: "make thin volumes in `POOL`"},
		&cli.BoolFlag{Name: "keep-mac", Category: categoryTarget, Usage: "keep the MAC addresses; original and clone must then never run at once"},
		&cli.BoolFlag{Name: "autostart", Category: categoryTarget, Usage: "mark the clone to start with the host; its disks have to be unlocked first"},
		&cli.StringSliceFlag{KeepSpace: true, Name: "skip-disk", Category: categoryTarget, Usage: "leave the disk `TARGET` as it is, unencrypted and shared; may be given several times"},
		&cli.StringSliceFlag{KeepSpace: true, Name: "backing-dir", Category: categoryTarget, Usage: "follow an image's backing files into `DIR` too, besides the image's own folder; may be given several times"},
		&cli.BoolFlag{Name: "encrypt-again", Category: categoryTarget, Usage: "move disks too that are encrypted already"},
		&cli.StringFlag{Name: "luks-type", Category: categoryLUKS, Value: string(luksDefault.Type), Usage: "format as `TYPE`: luks2 or luks1"},
		&cli.StringFlag{Name: "cipher", Category: categoryLUKS, Value: luksDefault.Cipher, Usage: "encrypt with `CIPHER`"},
		&cli.IntFlag{Name: "key-size", Category: categoryLUKS, Value: luksDefault.KeySize, Usage: "use a volume key of `BITS`; XTS takes half of them for each of two keys"},
		&cli.StringFlag{Name: "hash", Category: categoryLUKS, Value: luksDefault.Hash, Usage: "derive keys with `HASH`"},
		&cli.StringFlag{Name: "pbkdf", Category: categoryLUKS, Usage: "derive keys with `ALGORITHM`: argon2id, argon2i or pbkdf2 (default: cryptsetup's)"},
		&cli.IntFlag{Name: "pbkdf-memory", Category: categoryLUKS, Usage: "give argon2 `KIB` of memory (default: cryptsetup's)"},
		&cli.IntFlag{Name: "pbkdf-force-iterations", Category: categoryLUKS, Usage: "make `N` rounds instead of measuring how many take --iter-time"},
		&cli.IntFlag{Name: "iter-time", Category: categoryLUKS, Usage: "let an unlock take `MS` milliseconds (default: cryptsetup's)"},
		&cli.IntFlag{Name: "sector-size", Category: categoryLUKS, Value: luksDefault.Sector, Usage: "encrypt in sectors of `BYTES`, 512 or 4096; 4096 changes the disk that the guest sees"},
		&cli.BoolFlag{Name: "allow-discards", Category: categoryLUKS, Usage: "let the guest's TRIM through; it shows which blocks are in use"},
	}
}

func copyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "verify", Category: categoryCopy, Value: string(migrate.VerifyTarget), Usage: "check the copy `HOW`: target reads it back, full also reads the source again, none"},
		&cli.StringFlag{Name: "max-rate", Category: categoryCopy, Usage: "copy at most `SIZE` a second in all, such as 200M"},
		&cli.BoolFlag{Name: "io-idle", Category: categoryCopy, Usage: "copy only when nobody else wants the disks"},
		&cli.IntFlag{Name: "retries", Category: categoryCopy, Usage: "try a failed read `N` times again; writes never are"},
		&cli.BoolFlag{Name: "perf-no_read_workqueue", Category: categoryCopy, Usage: "decrypt without dm-crypt's work queue while copying, as cryptsetup's option of that name"},
		&cli.BoolFlag{Name: "perf-no_write_workqueue", Category: categoryCopy, Usage: "encrypt without dm-crypt's work queue while copying"},
		&cli.BoolFlag{Name: "perf-same_cpu_crypt", Category: categoryCopy, Usage: "encrypt on the CPU that submitted the write"},
		&cli.StringFlag{Name: "perf-probe", Category: categoryCopy, Value: string(migrate.ProbeAuto), Usage: "measure `WHEN` whether doing without the work queues helps: auto (disks from 16 GiB), always, never"},
		&cli.IntFlag{Name: "workers", Category: categoryCopy, Usage: "copy `N` chunks at once (default: measured)"},
		&cli.StringFlag{Name: "block-size", Category: categoryCopy, Usage: "read and write `SIZE` at once, such as 1M (default: measured)"},
	}
}

// options reads the flags of planCommand and runCommand.
func options(c *cli.Context) (migrate.Options, error) {
	o := migrate.Options{
		VG: strings.Join(c.StringSlice("vg"), ","), PVs: c.StringSlice("pv"), Dir: c.String("target-dir"), Clone: c.String("name"), LV: c.String("lv-name"), LVMType: c.String("lvm-type"), ThinPool: c.String("thin-pool"),
		Layout: migrate.Layout(c.String("layout")), FS: migrate.FSOptions{Type: filesystem.Type(c.String("fs-type")), Dir: c.String("fs-dir")},
		Autostart: c.Bool("autostart"),
		Perf: migrate.PerfOptions{
			NoReadWorkqueue: c.Bool("perf-no_read_workqueue"), NoWriteWorkqueue: c.Bool("perf-no_write_workqueue"),
			SameCPUCrypt: c.Bool("perf-same_cpu_crypt"), Probe: migrate.PerfProbe(c.String("perf-probe")),
		},
		KeepMAC: c.Bool("keep-mac"), SkipDisks: c.StringSlice("skip-disk"), AllowDiscards: c.Bool("allow-discards"),
		LUKS: migrate.LUKSOptions{
			Type: luks.Type(c.String("luks-type")), Cipher: c.String("cipher"), KeySize: c.Int("key-size"), Hash: c.String("hash"),
			PBKDF: c.String("pbkdf"), PBKDFMemory: c.Int("pbkdf-memory"), PBKDFIterations: c.Int("pbkdf-force-iterations"),
			IterTime: c.Int("iter-time"), Sector: c.Int("sector-size"),
		},
		BackingDirs: c.StringSlice("backing-dir"), EncryptAgain: c.Bool("encrypt-again"), RecoveryKey: wantsRecovery(c),
		Verify: migrate.VerifyMode(c.String("verify")),
		Start:  c.Bool("start"), Close: c.Bool("close"),
		Pace: migrate.Pace{Idle: c.Bool("io-idle"), Retries: c.Int("retries"), Workers: c.Int("workers")},
	}
	if err := targetDevices(c, &o); err != nil {
		return o, err
	}
	if err := headerFiles(c, &o); err != nil {
		return o, err
	}
	var err error
	if o.FS.Size, err = size(c, "fs-size"); err != nil {
		return o, err
	}
	if o.Pace.MaxRate, err = size(c, "max-rate"); err != nil {
		return o, err
	}
	if o.Pace.BlockSize, err = size(c, "block-size"); err != nil {
		return o, err
	}
	return o, o.Validate()
}

// size reads a flag that holds bytes, with a unit or without.
func size(c *cli.Context, name string) (int64, error) {
	text := c.String(name)
	if text == "" {
		return 0, nil
	}
	// IEC: like lvcreate and dd, a bare M means 2^20.
	n, err := humanize.ParseBytes(iec(text))
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, &usageError{reason: fmt.Sprintf("--%s %q is no size; write it like 200M or 1G", name, text), command: c.Command.Name}
	}
	return int64(n), nil
}

// iec turns 200M into 200MiB, which is what every tool of this field means.
func iec(text string) string {
	if text == "" {
		return text
	}
	switch text[len(text)-1] {
	case 'K', 'M', 'G', 'T', 'k', 'm', 'g', 't':
		return text + "iB"
	}
	return text
}

// checkFlags refuses flags of planCommand and runCommand that make no sense
// whatever the host looks like, before the host is asked anything.
func checkFlags(c *cli.Context) error {
	if _, err := options(c); err != nil {
		return err
	}
	if _, err := stopAfter(c); err != nil {
		return err
	}
	if err := checkAdoptFlags(c); err != nil {
		return err
	}
	if c.IsSet("plan") {
		return checkPlanFlag(c)
	}
	names := c.StringSlice("vm")
	switch {
	case c.Bool("all") && len(names) > 0:
		return &usageError{reason: "--all can't go with --vm", command: c.Command.Name}
	case c.IsSet("disk"):
		return nil
	case !c.Bool("all") && len(names) == 0:
		return &usageError{reason: "name a VM with --vm NAME, all of them with --all, or an image that has none with --disk PATH", command: c.Command.Name}
	case (c.Bool("all") || len(names) > 1) && (c.IsSet("name") || c.IsSet("lv-name") || c.IsSet("target-device") || c.IsSet("header")):
		return &usageError{reason: "--name, --lv-name, --target-device and --header are for a single VM", command: c.Command.Name}
	}
	for i, name := range names {
		if name == "" {
			return &usageError{reason: "--vm was given an empty name", command: c.Command.Name}
		}
		if slices.Contains(names[:i], name) {
			return &usageError{reason: fmt.Sprintf("--vm %s is given twice", name), command: c.Command.Name}
		}
	}
	return nil
}

// chosen returns the names of the VMs that --vm and --all mean.
func chosen(c *cli.Context, facts *migrate.Facts) []string {
	names := c.StringSlice("vm")
	if c.Bool("all") {
		for _, domain := range facts.Domains {
			names = append(names, domain.Name)
		}
	}
	return names
}
