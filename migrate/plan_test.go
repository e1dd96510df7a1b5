package migrate

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

func TestAnUnknownVMIsNamedWithThoseThereAre(t *testing.T) {
	var unknown *UnknownVMError
	_, err := imap(t).decider().Decide("imapp", imap(t).options)
	if !errors.As(err, &unknown) || unknown.Name != "imapp" || !slices.Equal(unknown.Known, []string{"imap"}) {
		t.Errorf("got %v", err)
	}
}

func TestAPlanIsTheSameForTheSameFacts(t *testing.T) {
	if diff := cmp.Diff(imap(t).plan(), imap(t).plan()); diff != "" {
		t.Error(diff)
	}
}

func TestACloneIsANewDomain(t *testing.T) {
	s := imap(t)
	plan := s.plan()
	if plan.Clone.Name != "imap-luks" || plan.Clone.UUID == imapUUID {
		t.Errorf("the clone is %+v", plan.Clone)
	}
	if len(plan.Clone.MACs) != 1 || plan.Clone.MACs[0] == "52:54:00:aa:bb:01" {
		t.Errorf("its addresses are %v", plan.Clone.MACs)
	}
	if plan.Tag() != "vmmigrate.job="+plan.Job || !strings.HasSuffix(plan.Job, plan.Clone.UUID[:4]) {
		t.Errorf("its job is %s with the tag %s", plan.Job, plan.Tag())
	}
	s.options.KeepMAC = true
	if plan := s.plan(); plan.Clone.MACs != nil {
		t.Errorf("with --keep-mac its addresses are %v", plan.Clone.MACs)
	}
}

func TestACdromStaysAndASkippedDiskToo(t *testing.T) {
	s := imap(t)
	s.define(0, "", strings.Join([]string{rawDisk("vda", "/dev/vg0/imap", ""), rawDisk("vdb", "/srv/data.img", ""), cdrom}, "\n"))
	s.options.SkipDisks = []string{"vdb"}
	plan := s.plan()
	var moved, kept []string
	for _, disk := range plan.Disks {
		moved = append(moved, disk.Target)
	}
	for _, disk := range plan.Kept {
		kept = append(kept, disk.Target)
	}
	if diff := cmp.Diff([][]string{{"vda"}, {"vdb", "sda"}}, [][]string{moved, kept}); diff != "" {
		t.Error(diff)
	}
	s.options.SkipDisks = []string{"vdz"}
	var option *OptionError
	if _, err := s.decider().Decide("imap", s.options); !errors.As(err, &option) || option.Option != "--skip-disk" {
		t.Errorf("a disk that is not there: %v", err)
	}
}

func TestSkippingTheOnlyDiskLeavesNothingToDo(t *testing.T) {
	s := imap(t)
	s.options.SkipDisks = []string{"vda"}
	if diff := cmp.Diff(set(NoDisk), codes(s.plan().Blockers)); diff != "" {
		t.Error(diff)
	}
}

// The guest sees a payload's every byte, so the payload is as large as the
// source, or as much larger as LUKS demands, and then a slice hides the rest.
func TestThePayloadIsTheSourceRoundedUpTo4096(t *testing.T) {
	for _, c := range []struct {
		size, payload, guest int64
	}{
		{gib, gib, 0},
		{gib + 4096, gib + 4096, 0},
		{gib + 512, gib + 4096, gib + 512},
		{gib - 512, gib, gib - 512},
		{5_000_000, 5_001_216, 5_000_192}, // QEMU shows whole sectors of 512 bytes
		{5_000_193, 5_001_216, 5_000_704},
		{1, 4096, 512},
		{4095, 4096, 0},
		{4097, 8192, 4608},
	} {
		s := imap(t)
		s.disk("vda", func(d *DiskFacts) { d.Size = c.size })
		plan := s.plan()
		disk := plan.Disks[0]
		if disk.Payload != c.payload || disk.Source.Size != c.size {
			t.Errorf("%d bytes make a payload of %d, not %d", c.size, disk.Payload, c.payload)
		}
		want := domainxml.DiskEdit{Target: "vda", Device: "/dev/mapper/cr_imap_vda", GuestSize: c.guest}
		if diff := cmp.Diff([]domainxml.DiskEdit{want}, plan.edit().Disks); diff != "" {
			t.Errorf("%d bytes: %s", c.size, diff)
		}
	}
}

// Invariant 2: volume = offset + payload, with room for the header.
func TestAnOffsetTakesUpAllTheSlack(t *testing.T) {
	for _, kind := range []luks.Type{luks.LUKS2, luks.LUKS1} {
		for _, extent := range []int64{kib, 4 * kib, 4 * mib, 32 * mib, gib} {
			s := imap(t)
			s.facts.VGs[0] = group("vg0", extent, 100*gib/extent)
			s.options.LUKS.Type = kind
			disk := s.plan().Disks[0]
			header := map[luks.Type]int64{luks.LUKS2: 16 * mib, luks.LUKS1: 2 * mib}[kind]
			if disk.Header != header || disk.Offset < header || disk.Offset%4096 != 0 {
				t.Errorf("%s, extents of %d: header %d at offset %d", kind, extent, disk.Header, disk.Offset)
			}
			if disk.Volume.Size != disk.Offset+disk.Payload || disk.Volume.Size%extent != 0 || disk.Volume.Extents*extent != disk.Volume.Size {
				t.Errorf("%s, extents of %d: %d extents, %d bytes = %d + %d", kind, extent, disk.Volume.Extents, disk.Volume.Size, disk.Offset, disk.Payload)
			}
			if waste := disk.Volume.Size - disk.Payload - header; waste >= max(extent, 4096) {
				t.Errorf("%s, extents of %d: %d bytes are wasted", kind, extent, waste)
			}
		}
	}
}

func TestOneExtentDecidesWhetherItFits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		extent := kib << rapid.IntRange(0, 20).Draw(rt, "extent, as a power of two of KiB")
		size := rapid.Int64Range(1, 64*gib).Draw(rt, "size")
		s := imap(t)
		s.disk("vda", func(d *DiskFacts) { d.Size = size })
		need := lvmSize(rt, size, extent) / extent
		for _, free := range []int64{need, need - 1} {
			s.facts.VGs[0] = group("vg0", extent, free)
			blocked := codes(s.plan().Blockers)
			if fits := len(blocked) == 0; fits != (free == need) || !fits && !blocked[VGFull] {
				rt.Fatalf("%d extents are needed and %d free: %v", need, free, blocked)
			}
		}
	})
}

func lvmSpec(vg, name string, size int64, tag string) lvm.Spec {
	return lvm.Spec{VG: vg, Name: name, Size: size, Tags: []string{tag}}
}

func lvmSize(t *rapid.T, size, extent int64) int64 {
	sizing, err := lvm.Size(lvm.SizeRequest{Payload: size, Header: 16 * mib, VG: group("vg0", extent, 1<<50)})
	if err != nil {
		t.Fatal(err)
	}
	return sizing.Size
}

func TestNamesOfOddVMsAreTakenByLVMAndDeviceMapper(t *testing.T) {
	seen := make(map[string]string)
	for _, name := range []string{"imap", "mail server (alt)", "-rf", "täst", "tüst", strings.Repeat("x", 200), strings.Repeat("x", 199), `a"b'c`, "snapshot", "&<>"} {
		s := imap(t)
		s.vm().Name = name
		s.define(0, "", rawDisk("vda", "/dev/vg0/imap", "")+rawDisk("vdb", "/srv/data.img", ""))
		plan := s.plan()
		if len(plan.Blockers) > 0 {
			t.Errorf("%q: %v", name, plan.Blockers)
		}
		if plan.Clone.Name != name+"-luks" {
			t.Errorf("%q: the clone is called %q", name, plan.Clone.Name)
		}
		for _, disk := range plan.Disks {
			if err := errors.Join(lvm.ValidName(disk.Volume.VG, disk.Volume.Name), luks.ValidMapper(disk.Mapper)); err != nil {
				t.Errorf("%q: %v", name, err)
			}
			if disk.Volume.Path != "/dev/vg0/"+disk.Volume.Name || disk.Device != "/dev/mapper/"+disk.Mapper {
				t.Errorf("%q: the paths are %s and %s", name, disk.Volume.Path, disk.Device)
			}
			for _, made := range []string{"lv " + disk.Volume.Name, "mapper " + disk.Mapper} {
				if other, taken := seen[made]; taken {
					t.Errorf("%q and %q share the %s", name, other, made)
				}
				seen[made] = name
			}
		}
	}
}

func TestACommandOfARemedyNamesAnOddVMSafely(t *testing.T) {
	for name, want := range map[string]string{
		"imap":         "virsh shutdown imap",
		"mail (alt)":   "virsh shutdown 'mail (alt)'",
		"-rf":          "virsh shutdown -- -rf",
		"it's; reboot": `virsh shutdown 'it'\''s; reboot'`,
	} {
		s := imap(t)
		s.vm().Name, s.vm().State = name, "running"
		if got := s.plan().Blockers[0].Remedy; got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
}

func TestOptionsThatContradictEachOtherAreRefused(t *testing.T) {
	for option, change := range map[string]func(*Options){
		"--luks-type":    func(o *Options) { o.LUKS.Type = "luks3" },
		"--verify":       func(o *Options) { o.Verify = "" },
		"--sector-size":  func(o *Options) { o.LUKS.Sector = 1024 },
		"--sector-size ": func(o *Options) { o.LUKS.Type, o.LUKS.Sector = luks.LUKS1, 4096 },
		"--pbkdf":        func(o *Options) { o.LUKS.Type, o.LUKS.PBKDF = luks.LUKS1, "argon2id" },
		"--pbkdf ":       func(o *Options) { o.LUKS.Type, o.LUKS.PBKDFMemory = luks.LUKS1, 1024 },
		"--key-size":     func(o *Options) { o.LUKS.KeySize = 511 },
		"--key-size ":    func(o *Options) { o.LUKS.KeySize = 0 },
		"--lvm-type":     func(o *Options) { o.LVMType = "thin" },
		"--lvm-type ":    func(o *Options) { o.LVMType = "stripped" },
		"--pbkdf  ":      func(o *Options) { o.LUKS.PBKDF = "argon" },
		"--iter-time":    func(o *Options) { o.LUKS.IterTime = -4 },
		"--retries":      func(o *Options) { o.Pace.Retries = -1 },
		"--workers":      func(o *Options) { o.Pace.Workers = -1 },
		"--workers ":     func(o *Options) { o.Pace.Workers = 65 },
		"--block-size":   func(o *Options) { o.Pace.BlockSize = 1000 },
		"--thin-pool":    func(o *Options) { o.LVMType, o.ThinPool = "raid1", "pool" },
		"--start":        func(o *Options) { o.Start, o.Close = true, true },
	} {
		s := imap(t)
		change(&s.options)
		var refused *OptionError
		if _, err := s.decider().Decide("imap", s.options); !errors.As(err, &refused) || refused.Option != strings.TrimSpace(option) {
			t.Errorf("%s: %v", option, err)
		}
	}
}

func TestDiceThatFailMakeNoPlan(t *testing.T) {
	s := imap(t)
	for n := range 40 {
		d := s.decider()
		d.Random = strings.NewReader(strings.Repeat("7", n))
		plan, err := d.Decide("imap", s.options)
		if err == nil && len(plan.Blockers) == 0 && (plan.Clone.UUID == "" || plan.Disks[0].LUKSUUID == "" || len(plan.Clone.MACs) != 1) {
			t.Errorf("%d random bytes make the plan %+v", n, plan)
		}
	}
}

// What tells a source from another of its path is what retire goes by.
func TestASourceIsKnownByItsVolumeOrItsInode(t *testing.T) {
	for want, facts := range map[string]DiskFacts{
		"lv Ab-1": {LV: &lvm.LV{UUID: "Ab-1"}, DeviceFacts: DeviceFacts{ID: "block 254:3", Block: true}},
		"file 42": {DeviceFacts: DeviceFacts{ID: "file 8:1 42"}},
		"":        {DeviceFacts: DeviceFacts{ID: "block 8:17", Block: true}},
	} {
		if got := sourceID(facts); got != want {
			t.Errorf("%+v is %q, not %q", facts, got, want)
		}
	}
}
