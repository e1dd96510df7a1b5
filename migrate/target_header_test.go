package migrate

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// headerName is where a world's first disk has its header apart.
const headerName = luksDir + "/imap-vda.header"

// withHeaders has the VM imap, off, with two disks, of which one has its header
// in a file.
func withHeaders(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.withFiles()
	w.chosen = map[string]DiskOptions{"vda": {Header: headerName}}
	return w
}

// withDeviceAndHeader has one disk, a device that is exactly as large, and a file
// for the header.
func withDeviceAndHeader(t *testing.T) *world {
	t.Helper()
	w := withDevice(t)
	w.blanks = map[string]int64{blankLink: 4096 * 3, blankName: 4096 * 3}
	w.withFiles()
	w.chosen = map[string]DiskOptions{"vda": {Device: blankLink, Header: headerName}}
	return w
}

// withImageAndHeader has one disk that stays an image, and a file for the header.
func withImageAndHeader(t *testing.T) *world {
	t.Helper()
	w := withImage(t)
	w.withFiles()
	w.chosen = map[string]DiskOptions{"vda": {Header: headerName}}
	return w
}

// withFolderAndHeader has one disk that goes to a file, and its header to another.
func withFolderAndHeader(t *testing.T) *world {
	t.Helper()
	w := withFolder(t)
	w.chosen = map[string]DiskOptions{"vda": {Header: headerName}}
	return w
}

// headerIn asks for the header in a file of a folder, which change makes another.
func (s *situation) headerIn(change func(*FolderFacts)) {
	folder := FolderFacts{Device: "8:1", Inode: "2", Free: 100 * mib}
	change(&folder)
	s.options.Header = headerName
	s.facts.Folders = map[string]FolderFacts{luksDir: folder}
}

func TestAPayloadBeginsAtTheFirstByteWhereItsHeaderIsApart(t *testing.T) {
	for _, c := range []struct {
		when   string
		given  func(*situation)
		size   int64
		offset int64
	}{
		{"on whole extents", func(*situation) {}, gib, 0},
		{"on whole extents, LUKS1", func(s *situation) { s.options.LUKS.Type = luks.LUKS1 }, gib, 0},
		{"on a device as large", func(s *situation) { s.onDevice(func(n *NamedFacts) { n.Size = gib }) }, gib, 0},
		{"on a larger device", func(s *situation) { s.onDevice(func(n *NamedFacts) { n.Size = gib + 20*mib }) }, gib + 20*mib, 20 * mib},
		{"in a file", func(s *situation) { s.options.Dir = luksDir; s.facts.Folders[luksDir] = FolderFacts{Free: 2 * gib} }, gib, 0},
	} {
		s := imap(t)
		s.headerIn(func(*FolderFacts) {})
		c.given(s)
		plan := s.plan()
		if len(plan.Blockers) > 0 {
			t.Errorf("%s: %v", c.when, plan.Blockers)
			continue
		}
		disk := plan.Disks[0]
		if disk.Payload != gib || disk.Volume.Size != c.size || disk.Offset != c.offset || disk.HeaderFile != headerName {
			t.Errorf("%s: %+v", c.when, disk)
		}
		if origin := plan.edit().Origin.Disks[0]; origin.HeaderFile != headerName {
			t.Errorf("%s: the metadata say %+v", c.when, origin)
		}
		if !codes(plan.Warnings)[WarnHeader] || codes(plan.Warnings)[WarnHeaderPlace] {
			t.Errorf("%s: %v", c.when, plan.Warnings)
		}
	}
}

// An extent that is begun has to be filled, and cryptsetup takes an offset of a
// header's size or none.
func TestAVolumeThatIsRoundedUpHasRoomForAHeaderBeforeThePayload(t *testing.T) {
	s := imap(t)
	s.headerIn(func(*FolderFacts) {})
	facts := s.facts.Domains[0].Disks["vda"]
	facts.Size = gib + 4096
	s.facts.Domains[0].Disks["vda"] = facts
	plan := s.plan()
	if disk := plan.Disks[0]; len(plan.Blockers) > 0 || disk.Payload != gib+4096 || disk.Volume.Size-disk.Offset != disk.Payload || disk.Offset < 16*mib {
		t.Errorf("%+v, %v", disk, plan.Blockers)
	}
}

// Once it is locked nothing on such a volume tells it from a blank one.
func TestTheVolumeOfAHeaderApartIsNotTakenForABlankDevice(t *testing.T) {
	clone := func(where string) func(*situation) {
		return func(s *situation) {
			s.addVM("web-luks", "44444444-2222-4333-8444-555555555555", rawDisk("vda", "/dev/mapper/cr_web_vda", ""))
			domain := &s.facts.Domains[len(s.facts.Domains)-1]
			raw := strings.Replace(string(domain.Raw), "</uuid>", `</uuid><metadata><vmmigrate:clone xmlns:vmmigrate="https://vmmigrate.github.io/xmlns/clone/1" job="20260301-120000-aaaa">
<vmmigrate:origin name="web" uuid="x"/><vmmigrate:disk target="vda" source="/srv/web.raw" `+where+` header="/media/stick/web.header" luks="u" mapper="cr_web_vda"/></vmmigrate:clone></metadata>`, 1)
			var err error
			if domain.XML, err = domainxml.Parse([]byte(raw)); err != nil {
				t.Fatal(err)
			}
		}
	}
	lv := lvm.LV{VG: "vg0", Name: "web", Path: "/dev/vg0/web", DMPath: "/dev/mapper/vg0-web", Active: true, Major: 254, Minor: 7}
	for when, change := range map[string]func(*situation){
		"a device":            clone(`path="` + blankName + `"`),
		"a volume":            clone(`vg="vg0" lv="web"`),
		"a volume with no VM": func(*situation) { lv.Tags = []string{"vmmigrate.luks=u"} },
	} {
		s := imap(t)
		lv.Tags = nil
		change(s)
		s.onDevice(func(n *NamedFacts) {
			if when != "a device" {
				n.ID = blockID(254, 7)
				s.facts.LVs = []lvm.LV{lv}
			}
		})
		if plan := s.plan(); !codes(plan.Blockers)[TargetInUse] || !strings.Contains(plan.Blockers[0].String(), "looks blank") {
			t.Errorf("%s: %v", when, plan.Blockers)
		}
	}
}

func TestAHeaderOnTheRootFileSystemIsWarnedOf(t *testing.T) {
	s := imap(t)
	s.headerIn(func(f *FolderFacts) { f.Root = true })
	if found := codes(s.plan().Warnings); !found[WarnHeader] || !found[WarnHeaderPlace] {
		t.Error(found)
	}
}

// headerCase is a header file that is refused.
type headerCase struct {
	when   string
	code   Code
	says   string
	change func(*situation, *FolderFacts)
}

func headerCases() []headerCase {
	return []headerCase{
		{"its folder is not there", TargetMissing, "mkdir -m 0700 " + luksDir, func(_ *situation, f *FolderFacts) { f.Err = fs.ErrNotExist }},
		{"its folder is no folder", TargetUnfit, "can't be used", func(_ *situation, f *FolderFacts) { f.Err = errors.New("it is no folder") }},
		{"its folder is in memory", TargetUnfit, "gone with the next boot", func(_ *situation, f *FolderFacts) { f.Volatile, f.System = true, "tmpfs" }},
		{"its folder is read-only", TargetUnfit, "read-only", func(_ *situation, f *FolderFacts) { f.ReadOnly = true }},
		{"others may read whatever is there", TargetUnfit, "umask=077", func(_ *situation, f *FolderFacts) { f.Shown = true }},
		{"others may write there", TargetUnfit, "chmod go-w", func(_ *situation, f *FolderFacts) { f.Loose = true }},
		{"it is there already", TargetTaken, "has a file imap-vda.header already", func(_ *situation, f *FolderFacts) { f.Has = map[string]bool{"imap-vda.header": true} }},
		{"there is no room", TargetSmall, "16,777,216 bytes are needed and 1,024 are free", func(_ *situation, f *FolderFacts) { f.Free = 1024 }},
		{"an unfinished job has it", TargetTaken, "vmmigrate rollback", func(s *situation, _ *FolderFacts) {
			s.facts.Jobs = []JobInfo{{ID: "20260301-120000-aaaa", State: StateInterrupted, Plan: &Plan{VM: "web", VMUUID: "x", Disks: []DiskPlan{{HeaderFile: headerName}}}}}
		}},
		{"the device is a little too large", TargetUnfit, "exactly as large as the disk", func(s *situation, _ *FolderFacts) {
			s.onDevice(func(n *NamedFacts) { n.Size = gib + 4096 })
		}},
		{"the device is too small for the disk alone", TargetSmall, "are needed for the disk", func(s *situation, _ *FolderFacts) {
			s.onDevice(func(n *NamedFacts) { n.Size = gib - 4096 })
		}},
	}
}

// headerClaims are the cases as claims.
func headerClaims() []claim {
	var all []claim
	for _, c := range headerCases() {
		all = append(all, claim{code: c.code, when: "the header file asked for: " + c.when, given: func(s *situation) {
			s.headerIn(func(f *FolderFacts) { c.change(s, f) })
		}})
	}
	return all
}

func TestAHeaderFileThatCannotBeMadeIsRefused(t *testing.T) {
	for _, c := range headerCases() {
		s := imap(t)
		s.headerIn(func(f *FolderFacts) { c.change(s, f) })
		plan := s.plan()
		if found := codes(plan.Blockers); len(found) != 1 || !found[c.code] || !strings.Contains(plan.Blockers[0].String(), c.says) {
			t.Errorf("%s: %v", c.when, plan.Blockers)
		}
	}
}

func TestAHeaderFileThatNoDiskCanMeanIsRefused(t *testing.T) {
	for when, change := range map[string]func(*Options){
		"one file for two disks":   func(o *Options) { o.Header = headerName },
		"a disk that is not there": func(o *Options) { o.Disks = map[string]DiskOptions{"vdz": {Header: headerName}} },
		"a disk that stays":        func(o *Options) { o.Disks = map[string]DiskOptions{"sda": {Header: headerName}} },
		"one file for each of two": func(o *Options) {
			o.Disks = map[string]DiskOptions{"vda": {Header: headerName}, "vdb": {Header: headerName}}
		},
		"a relative path":   func(o *Options) { o.Disks = map[string]DiskOptions{"vda": {Header: "imap.header"}} },
		"a folder":          func(o *Options) { o.Disks = map[string]DiskOptions{"vda": {Header: luksDir + "/"}} },
		"a path that turns": func(o *Options) { o.Disks = map[string]DiskOptions{"vda": {Header: luksDir + "/../luks/x"}} },
		"the root":          func(o *Options) { o.Disks = map[string]DiskOptions{"vda": {Header: "/"}} },
	} {
		s := twoDisks(t)
		change(&s.options)
		var bad *OptionError
		if _, err := s.decider().Decide("imap", s.options); !errors.As(err, &bad) || bad.Option != targetHeader {
			t.Errorf("%s: %v", when, err)
		}
	}
}

func TestOfTwoPlansOneGetsAHeaderFile(t *testing.T) {
	s := imap(t)
	s.headerIn(func(*FolderFacts) {})
	s.addVM("web", "44444444-2222-4333-8444-555555555555", rawDisk("vda", "/dev/vg0/web", ""))
	decider := s.decider()
	for i, name := range []string{"imap", "web"} {
		plan, err := decider.Decide(name, s.options)
		if err != nil || codes(plan.Blockers)[TargetTaken] != (i > 0) {
			t.Errorf("%s: %v, %v", name, plan.Blockers, err)
		}
	}
}

func TestAVolumeWhoseHeaderIsApartBearsItsUUIDAsATag(t *testing.T) {
	w := withHeaders(t)
	plan := w.planned()
	if _, err := w.run(plan, CreateVolume); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	for i, disk := range plan.Disks {
		lv, err := w.lvm.LV(t.Context(), disk.Volume.VG, disk.Volume.Name)
		if want := "vmmigrate.luks=" + disk.LUKSUUID; err != nil || slices.Contains(lv.Tags, want) != (i == 0) || !slices.Contains(lv.Tags, plan.Tag()) {
			t.Errorf("%v, %v", lv.Tags, err)
		}
	}
}

func TestARollbackSaysWhatIsLeftOnADeviceWhoseHeaderWasApart(t *testing.T) {
	w := withDeviceAndHeader(t)
	before := w.look()
	plan := w.planned()
	if _, err := w.run(plan, Copy); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	if found, err := w.luks.Signatures(t.Context(), blankName); err != nil || len(found) != 0 {
		t.Errorf("the device bears %v, %v", found, err)
	}
	w.events = nil
	w.mustRollback(plan.Job, "")
	w.wantSame(before, "rolled back")
	if !slices.ContainsFunc(w.events, func(e Event) bool {
		return e.Step == Format && strings.Contains(e.Message, "ciphertext without a header")
	}) {
		t.Errorf("%v", w.events)
	}
}

func TestAFileThatHasItsHeaderInAnotherIsMovedAndTakenBack(t *testing.T) {
	w := withFolderAndHeader(t)
	before := w.look()
	plan := w.planned()
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "moved")
	w.mustRollback(plan.Job, "")
	w.wantSame(before, "rolled back")
}

// The header outlives a volume that somebody removed. On the new one nothing has
// been copied yet, whatever the record of the copy says.
func TestANewVolumeUnderAnOldHeaderIsCopiedFromTheStart(t *testing.T) {
	w, before, plan := stopped(t, Copy)
	volume := plan.Disks[0].Volume
	if err := w.luks.Close(t.Context(), plan.Disks[0].Mapper); err != nil {
		t.Fatal(err)
	}
	if err := w.lvm.Remove(t.Context(), volume.VG, volume.Name, plan.Tag()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "resumed")
}

func TestTheHeaderFileOfARehearsalIsNamedLast(t *testing.T) {
	w := withHeaders(t)
	plan := w.planned()
	calls, err := (&Engine{Env: w.env()}).Rehearse(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	part := plan.headerPart(&plan.Disks[0])
	var said []string
	for _, call := range calls {
		if call.Disk == "vda" && (call.Step == Format || call.Step == Open) {
			said = append(said, call.Itself+strings.Join(call.Argv, " "))
		}
	}
	if len(said) != 4 || !strings.Contains(said[0], "make the file "+part) || !strings.Contains(said[1], "--header="+part) || !strings.Contains(said[2], headerName) || !strings.Contains(said[3], "--header="+headerName) {
		t.Errorf("%q", said)
	}
	if filepath.Dir(part) != luksDir {
		t.Error(part)
	}
}
