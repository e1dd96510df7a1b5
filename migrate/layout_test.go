package migrate

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/image"
)

// asImages asks for file systems, for a VM whose only disk is a qcow2 image of
// 1 GiB, of which 200 MiB are in use.
func (s *situation) asImages(change func(*FolderFacts)) {
	const top = "/srv/images/imap.qcow2"
	s.define(0, "", strings.Replace(rawDisk("vda", top, ""), "type='raw'", "type='qcow2'", 1))
	s.disk("vda", func(d *DiskFacts) {
		d.LV, d.Path, d.Resolved, d.ID, d.Block, d.Size, d.Needed = nil, top, top, top, false, 300*mib, 200*mib
		d.Chain = image.Chain{{Path: top, Format: image.QCOW2, Size: gib, Cluster: 64 << 10, Features: []string{"version 3"}}}
		d.Files = []DeviceFacts{d.DeviceFacts}
	})
	folder := FolderFacts{Device: "8:1", Inode: "2", Free: gib, Has: map[string]bool{}}
	change(&folder)
	s.options.Layout = FilesystemLayout
	s.facts.Folders = map[string]FolderFacts{MountDir: folder}
}

func plain(*FolderFacts) {}

func layoutClaims() []claim {
	folder := func(change func(*FolderFacts)) func(*situation) { return func(s *situation) { s.asImages(change) } }
	return []claim{
		{code: NoImage, when: "no disk is an image", given: func(s *situation) {
			s.asImages(plain)
			s.define(0, "", rawDisk("vda", "/dev/vg0/imap", ""))
			s.disk("vda", func(d *DiskFacts) { d.Chain, d.Files = nil, nil })
		}},
		{code: TargetMissing, when: "the folder to mount in is not there", given: folder(func(f *FolderFacts) { f.Err = errors.New("no such file or directory") })},
		{code: TargetUnfit, when: "the folder to mount in is read-only", given: folder(func(f *FolderFacts) { f.ReadOnly = true })},
		{code: TargetUnfit, when: "others may write to the folder to mount in", given: folder(func(f *FolderFacts) { f.Loose = true })},
		{code: TargetTaken, when: "the mount point is there", given: folder(func(f *FolderFacts) { f.Has["imap-vda-luks"] = true })},
		{code: TargetSmall, when: "a file system is smaller than what is in the image", given: func(s *situation) { s.asImages(plain); s.options.FS.Size = 200 * mib }},
		{code: SourceImage, when: "what is in the image can't be told", given: func(s *situation) {
			s.asImages(plain)
			s.options.FS.Size = 500 * mib
			s.disk("vda", func(d *DiskFacts) { d.Needed, d.NeededErr = 0, errors.New("it is locked") })
		}},
		{code: TargetUnfit, when: "an image is larger than a file of ext4", given: func(s *situation) {
			s.asImages(plain)
			s.facts.VGs[0].FreeExtents *= 10000
			s.disk("vda", func(d *DiskFacts) { d.Chain[0].Size = 17 << 40 })
		}},
	}
}

func layoutWarnings() []claim {
	return []claim{
		{code: WarnFills, when: "a file system is smaller than the image may become", given: func(s *situation) { s.asImages(plain); s.options.FS.Size = 500 * mib }},
		{code: WarnLayout, when: "another disk is no image", given: func(s *situation) {
			s.asImages(plain)
			s.define(0, "", strings.Replace(rawDisk("vda", "/srv/images/imap.qcow2", ""), "type='raw'", "type='qcow2'", 1)+rawDisk("vdb", "/srv/data.img", ""))
		}},
	}
}

func TestAnImageStaysOneOnAFileSystemOfItsOwn(t *testing.T) {
	s := imap(t)
	s.asImages(plain)
	plan := s.plan()
	if len(plan.Blockers) > 0 {
		t.Fatal(plan.Blockers)
	}
	disk := &plan.Disks[0]
	f := disk.Filesystem
	if f.Type != filesystem.Ext4 || f.UUID == disk.LUKSUUID || f.Mount != MountDir+"/imap-vda-luks" || f.Image != f.Mount+"/vda.qcow2" || f.Cluster != 64<<10 {
		t.Errorf("%+v", f)
	}
	full := image.NewSpec{Size: gib, Cluster: 64 << 10}.Full()
	if disk.Payload != filesystem.Size(filesystem.Ext4, full) || disk.Offset < disk.Header || disk.Bytes() != gib || plan.Bytes() != gib || disk.Where() != f.Image {
		t.Errorf("%+v", disk)
	}
	edit := plan.edit()
	if d := edit.Disks[0]; d.Image != f.Image || d.Device != "" || d.GuestSize != 0 {
		t.Errorf("%+v", d)
	}
	if o := edit.Origin.Disks[0].Filesystem; o == nil || *o != (domainxml.OriginFilesystem{Type: "ext4", UUID: f.UUID, Mount: f.Mount, Image: f.Image}) {
		t.Errorf("%+v", o)
	}
}

func TestAFileSystemIsAsLargeAsAskedFor(t *testing.T) {
	s := imap(t)
	s.asImages(plain)
	s.options.FS = FSOptions{Type: filesystem.XFS, Size: 3*gib + 1}
	plan := s.plan()
	if disk := plan.Disks[0]; len(plan.Blockers) > 0 || disk.Payload != 3*gib+mib || disk.Filesystem.Type != filesystem.XFS {
		t.Errorf("%+v, %v", disk, plan.Blockers)
	}
}

// A volume is made for whatever the guest may still write: the default always
// holds the whole image.
func TestAFileSystemHoldsTheWholeImageUnlessAskedOtherwise(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := imap(t)
		s.asImages(plain)
		s.facts.VGs[0].FreeExtents = 1 << 40
		s.facts.VGs[0].ExtentCount = 1 << 41
		size := 512 * rapid.Int64Range(1, 1<<34).Draw(rt, "sectors")
		cluster := int64(1) << rapid.IntRange(9, 21).Draw(rt, "cluster bits")
		s.options.FS.Type = rapid.SampledFrom(filesystem.Types).Draw(rt, "type")
		s.disk("vda", func(d *DiskFacts) { d.Chain[0].Size, d.Chain[0].Cluster = size, cluster })
		plan := s.plan()
		if len(plan.Blockers) > 0 || len(plan.Warnings) > 0 {
			rt.Fatal(plan.Blockers, plan.Warnings)
		}
		disk := plan.Disks[0]
		if need := disk.imageSpec().Full(); disk.Payload-need < need/50 || disk.Payload%payloadUnit != 0 {
			rt.Fatalf("%d for %d", disk.Payload, need)
		}
	})
}

func TestOptionsOfFileSystemsMakeSense(t *testing.T) {
	for _, c := range []struct {
		flag   string
		change func(*Options)
	}{
		{"--layout", func(o *Options) { o.Layout = "tar" }},
		{"--fs-type", func(o *Options) { o.FS.Type = filesystem.XFS }},
		{"--fs-size", func(o *Options) { o.Layout, o.FS.Size = BlockLayout, gib }},
		{"--fs-dir", func(o *Options) { o.FS.Dir = "/srv" }},
		{"--fs-type", func(o *Options) { o.Layout, o.FS.Type = FilesystemLayout, "vfat" }},
		{"--fs-size", func(o *Options) { o.Layout, o.FS.Size = FilesystemLayout, -1 }},
		{"--fs-dir", func(o *Options) { o.Layout, o.FS.Dir = FilesystemLayout, "srv" }},
		{"--fs-dir", func(o *Options) { o.Layout, o.FS.Dir = FilesystemLayout, "/srv/../etc" }},
	} {
		o := options()
		c.change(&o)
		var bad *OptionError
		if err := o.Validate(); !errors.As(err, &bad) || bad.Option != c.flag {
			t.Errorf("%s: %v", c.flag, err)
		}
	}
	s := imap(t)
	s.asImages(plain)
	s.vm().Adopted = new(Adopted)
	var bad *OptionError
	if _, err := s.decider().Decide("imap", s.options); !errors.As(err, &bad) || bad.Option != "--layout" {
		t.Errorf("%v", err)
	}
}

// The clone's own disk is found encrypted by what its metadata say, open or not.
func TestAnImageOnOurFileSystemIsEncryptedAlready(t *testing.T) {
	s := imap(t)
	s.asImages(plain)
	plan := s.plan()
	rewritten, err := domainxml.Rewrite(s.vm().Raw, plan.edit())
	if err != nil {
		t.Fatal(err)
	}
	clone := s.addVM(plan.Clone.Name, plan.Clone.UUID)
	clone.Raw = rewritten.XML
	if clone.XML, err = domainxml.Parse(clone.Raw); err != nil {
		t.Fatal(err)
	}
	again, err := s.decider().Decide(clone.Name, options())
	if err != nil || again.Result() != ResultDone {
		t.Errorf("%v, %v", again.Blockers, err)
	}
}
