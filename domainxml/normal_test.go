package domainxml

import (
	"errors"
	"io"
	"testing"
)

func TestWhatLibvirtWritesDifferentlyIsNoLossAndTheRestIs(t *testing.T) {
	for _, c := range []struct {
		name, a, b       string
		lost, normalised int
	}{
		{"a run's number", "<domain id='3'/>", "<domain/>", 0, 1},
		{"an alias libvirt made", "<d><alias name='net0'/></d>", "<d/>", 0, 1},
		{"an alias of the user's", "<d><alias name='ua-net'/></d>", "<d/>", 1, 0},
		{"a machine's alias", "<type machine='pc'/>", "<type machine='pc-i440fx-7.2'/>", 0, 1},
		{"a machine's alias, q35", "<type machine='q35'/>", "<type machine='pc-q35-7.2'/>", 0, 1},
		{"another machine", "<type machine='pc-i440fx-6.0'/>", "<type machine='pc-q35-7.2'/>", 1, 0},
		{"a UUID in capitals", "<uuid>7AB5DAE4-2A1C-4C38-A1C5-1B2C3D4E5F60</uuid>", "<uuid>7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60</uuid>", 0, 1},
		{"a UUID without dashes", "<entry>7ab5dae42a1c4c38a1c51b2c3d4e5f60</entry>", "<entry>7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60</entry>", 0, 1},
		{"another UUID", "<uuid>7ab5dae4-2a1c-4c38-a1c5-1b2c3d4e5f60</uuid>", "<uuid>" + cloneUUID + "</uuid>", 1, 0},
		{"a spice port to be chosen", "<graphics type='spice' port='-1' tlsPort='-1' autoport='yes'/>", "<graphics type='spice' autoport='yes'/>", 0, 2},
		{"a port that autoport overrules", "<graphics port='5901' autoport='yes'/>", "<graphics port='-1' autoport='yes'/>", 0, 1},
		{"a fixed port", "<graphics port='5901' autoport='no'/>", "<graphics autoport='no'/>", 1, 0},
		{"autoport off", "<graphics port='5901' autoport='no'/>", "<graphics port='5901'/>", 0, 1},
		{"a label of one run", "<seclabel type='dynamic'><label>x</label></seclabel>", "<seclabel type='dynamic'/>", 0, 1},
		{"a label of the user's", "<seclabel type='static'><label>x</label></seclabel>", "<seclabel type='static'/>", 1, 0},
		{"the end of a chain", "<disk><backingStore/></disk>", "<disk/>", 0, 1},
		{"a chain", "<disk><backingStore type='file'><source file='/b'/></backingStore></disk>", "<disk/>", 1, 0},
		{"vnet", "<interface><target dev='vnet0' managed='yes'/></interface>", "<interface><target managed='yes'/></interface>", 0, 1},
		{"a device of the user's", "<interface><target dev='tap0'/></interface>", "<interface/>", 1, 0},
		{"a channel's default socket", "<channel><source mode='bind' path='/run/libvirt/qemu/channel/3-x/y'/></channel>", "<channel><source mode='bind'/></channel>", 0, 1},
		{"a channel's own socket", "<channel><source mode='bind' path='/run/x'/></channel>", "<channel><source mode='bind'/></channel>", 1, 0},
		{"a console's terminal", "<console tty='/dev/pts/1'><source path='/dev/pts/1'/></console>", "<console/>", 0, 2},
		{"a console's number", "<console><target type='virtio' port='3'/></console>", "<console><target type='virtio' port='0'/></console>", 0, 1},
		{"the default protocol", "<serial><protocol type='raw'/></serial>", "<serial/>", 0, 1},
		{"another protocol", "<serial><protocol type='telnet'/></serial>", "<serial/>", 1, 0},
		{"a number in another base", "<address slot='10'/>", "<address slot='0x0a'/>", 0, 1},
		{"another number", "<address slot='10'/>", "<address slot='0x0b'/>", 1, 0},
		{"metadata", "<metadata><x:a xmlns:x='urn:x'>1</x:a></metadata>", "<metadata/>", 1, 0},
		{"metadata with another prefix", "<metadata><x:a xmlns:x='urn:x'>1</x:a></metadata>", "<metadata><y:a xmlns:y='urn:x'>1</y:a></metadata>", 0, 0},
		{"a text", "<title>a</title>", "<title/>", 1, 0},
		{"blanks around a text", "<title> a\n</title>", "<title>a</title>", 0, 0},
		{"devices sorted", "<devices><disk><target dev='vdb'/></disk><disk><target dev='vda'/></disk></devices>", "<devices><disk><target dev='vda'/></disk><disk><target dev='vdb'/></disk></devices>", 0, 0},
		{"one of two disks", "<devices><disk><target dev='vda'/></disk><disk><target dev='vdb'/></disk></devices>", "<devices><disk><target dev='vdb'/></disk></devices>", 1, 0},
		{"one of two equals", "<o><f>x</f><f>x</f></o>", "<o><f>x</f></o>", 1, 0},
	} {
		got, err := Compare([]byte(c.a), []byte(c.b))
		if err != nil || len(got.Lost) != c.lost || len(got.Normalised) != c.normalised {
			t.Errorf("%s: lost %v, normalised %v, %v", c.name, got.Lost, got.Normalised, err)
		}
		for _, n := range got.Normalised {
			if n.Why == "" {
				t.Errorf("%s: no reason is given", c.name)
			}
		}
	}
}

func TestWhatLibvirtPutsInIsListed(t *testing.T) {
	got, err := Compare([]byte("<d><a/><t/></d>"), []byte("<d x='1'><a/><t>y</t><b/></d>"))
	if err != nil || len(got.Lost) != 0 || len(got.Added) != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUnreadableTextsAreNotCompared(t *testing.T) {
	var bad *SyntaxError
	for _, pair := range [][2]string{{"<a", "<a/>"}, {"<a/>", "<a"}} {
		if _, err := Compare([]byte(pair[0]), []byte(pair[1])); !errors.As(err, &bad) {
			t.Errorf("%v", err)
		}
		if _, err := Diff([]byte(pair[0]), []byte(pair[1])); !errors.As(err, &bad) {
			t.Errorf("%v", err)
		}
	}
}

func TestErrorsSayWhatFailedAndWhere(t *testing.T) {
	for want, err := range map[string]error{
		"the domain XML, line 3: holds a NUL byte":                        &SyntaxError{Line: 3, Reason: "holds a NUL byte"},
		"the domain XML: is not well-formed: EOF":                         &SyntaxError{Reason: "is not well-formed", Err: io.EOF},
		"the domain XML has 257 levels or more, and at most 256 are read": &TooLargeError{What: "levels", Limit: 256, Size: 257},
		"the document is a <network>, not a <domain>":                     &NotDomainError{Root: "network"},
		`the domain is of type "xen"; only qemu, kvm, hvf can be moved`:   &HypervisorError{Type: "xen"},
		"/domain/name: the domain has no name":                            &InvalidError{Path: "/domain/name", Reason: "the domain has no name"},
		`UUID "x": it is no UUID`:                                         &EditError{Field: "UUID", Value: "x", Reason: "it is no UUID"},
		`no disk has the target "vdx": the domain has vda, vdb`:           &NoDiskError{Target: "vdx", Have: []string{"vda", "vdb"}},
		`no disk has the target "vdx": the domain has no disks`:           &NoDiskError{Target: "vdx"},
		"disk vda (/domain/devices/disk) can't be moved: it is shareable": &NotMovableError{Target: "vda", Path: "/domain/devices/disk", Kind: Refuse, Reason: "it is shareable"},
		"/domain/os/nvram: it is on the network":                          &FirmwareError{Path: "/domain/os/nvram", Reason: "it is on the network"},
		"/domain/x: would be lost (<x/>)":                                 &LostError{Path: "/domain/x", Old: "<x/>"},
		`/domain/x: would change from "a" to "b", which is not intended`:  &UnintendedChangeError{Change: Change{Path: "/domain/x", Old: "a", New: "b"}},
		`/domain/x: the intended change to "b" did not come about`:        &UnintendedChangeError{Change: Change{Path: "/domain/x", Old: "a", New: "b"}, Missing: true},
		"choosing a hardware address: all 100 that were drawn are taken":  &MACError{},
		"choosing a hardware address: unexpected EOF":                     &MACError{Err: io.ErrUnexpectedEOF},
	} {
		if err.Error() != want {
			t.Errorf("%q, not %q", err, want)
		}
	}
	if !errors.Is(&SyntaxError{Err: io.EOF}, io.EOF) {
		t.Error("a SyntaxError hides its cause")
	}
}
