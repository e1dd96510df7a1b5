package hypervisortest_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/hypervisor/hypervisortest"
)

func definition(name, uuid string) []byte {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(name)) // a strings.Builder never fails
	return fmt.Appendf(nil, "<domain type='qemu'><name>%s</name><uuid>%s</uuid><devices><graphics type='vnc' passwd='secret'/></devices></domain>", escaped.String(), uuid)
}

func TestTheFakeDoesWhatLibvirtDoes(t *testing.T) {
	fake := hypervisortest.New()
	fake.AddVolume("con-pool", "con-volume", "/pool/con-volume")
	hypervisortest.Conformance(t, hypervisortest.Env{
		Client:     fake,
		Definition: definition,
		Save: func(_ *testing.T, d hypervisor.Domain) {
			fake.SetState(d.UUID, hypervisor.ShutOff)
			fake.Change(d.UUID, func(d *hypervisor.Domain) { d.ManagedSave = true })
		},
		Drop: func(_ *testing.T, d hypervisor.Domain) {
			fake.Change(d.UUID, func(d *hypervisor.Domain) { d.ManagedSave = false })
		},
		Pool: "con-pool", Volume: "con-volume", Path: "/pool/con-volume",
	})
}

func TestAnErrorBeforeADefineLeavesTheWorldAndOneAfterItDoesNot(t *testing.T) {
	fake := hypervisortest.New()
	crash := errors.New("power cut")
	text := definition("a", "6a1f6c1e-0b7d-4d5c-9a51-000000000001")
	fake.Before = func(call string) error {
		if call == "Define" {
			return crash
		}
		return nil
	}
	if _, err := fake.Define(t.Context(), text); !errors.Is(err, crash) {
		t.Error(err)
	}
	if all, _ := fake.Domains(t.Context()); len(all) != 0 {
		t.Errorf("there is %+v", all)
	}
	fake.Before, fake.After = nil, func(string) error { return crash }
	if _, err := fake.Define(t.Context(), text); !errors.Is(err, crash) {
		t.Error(err)
	}
	if all, _ := fake.Domains(t.Context()); len(all) != 1 {
		t.Errorf("there is %+v", all)
	}
}

func TestARestartOfTheDaemonEndsTheEvents(t *testing.T) {
	fake := hypervisortest.New()
	events, err := fake.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fake.Break()
	if event, ok := <-events; ok {
		t.Errorf("got %+v", event)
	}
}
