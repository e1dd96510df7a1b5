package hypervisortest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

func redefined(t *testing.T, env Env) {
	d := env.define(t, "con-again", 10)
	env.define(t, "con-beside", 11)
	if err := env.Client.SetAutostart(t.Context(), d.UUID, true); err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(env.Definition("con-again", uuid(10)), []byte("secret"), []byte("other"))
	got, err := env.Client.Redefine(t.Context(), changed)
	if err != nil || got.Name != "con-again" || got.UUID != uuid(10) || !got.Autostart {
		t.Errorf("%+v, %v", got, err)
	}
	if text, err := env.Client.XML(t.Context(), d.UUID); err != nil || !bytes.Contains(text, []byte("passwd='other'")) {
		t.Errorf("%s\n%v", text, err)
	}
	var exists *hypervisor.ExistsError
	if _, err := env.Client.Redefine(t.Context(), env.Definition("con-beside", uuid(10))); !errors.As(err, &exists) {
		t.Errorf("under another's name: %v", err)
	}
	if _, err := env.Client.Redefine(t.Context(), env.Definition("con-none", uuid(12))); !isMissing(err) {
		t.Errorf("what is not there: %v", err)
	}
	if err := env.Client.Start(t.Context(), d.UUID); err != nil {
		t.Fatal(err)
	}
	var active *hypervisor.ActiveError
	if _, err := env.Client.Redefine(t.Context(), changed); !errors.As(err, &active) {
		t.Errorf("while it runs: %v", err)
	}
}

func noted(t *testing.T, env Env) {
	d := env.define(t, "con-noted", 13)
	const space = "urn:con"
	element := func(text string) []byte {
		return []byte("<clone says='" + text + "'><more/></clone>")
	}
	spaced := func(text []byte) bool {
		return bytes.Contains(bytes.ReplaceAll(text, []byte{'"'}, []byte{'\''}), []byte("<con:clone xmlns:con='"+space+"'")) && bytes.Contains(text, []byte("<con:more/>"))
	}
	holds := func(text string, want bool) {
		t.Helper()
		xml, err := env.Client.XML(t.Context(), d.UUID)
		if err != nil || !spaced(xml) || bytes.Contains(bytes.ReplaceAll(xml, []byte{'"'}, []byte{'\''}), []byte("says='"+text+"'")) != want {
			t.Errorf("says %q is not %v: %s\n%v", text, want, xml, err)
		}
	}
	for _, text := range []string{"one", "two"} {
		if err := env.Client.SetMetadata(t.Context(), d.UUID, space, "con", element(text)); err != nil {
			t.Fatal(err)
		}
		holds(text, true)
	}
	holds("one", false)
	if err := env.Client.Start(t.Context(), d.UUID); err != nil {
		t.Fatal(err)
	}
	if err := env.Client.SetMetadata(t.Context(), d.UUID, space, "con", element("while it runs")); err != nil {
		t.Error(err)
	}
	if err := env.Client.Destroy(t.Context(), d.UUID); err != nil {
		t.Error(err)
	}
	holds("while it runs", true)
	if err := env.Client.SetMetadata(t.Context(), uuid(14), space, "con", element("x")); !isMissing(err) {
		t.Error(err)
	}
}

func purged(t *testing.T, env Env) {
	d := env.define(t, "con-purged", 15)
	if err := env.Client.Start(t.Context(), d.UUID); err != nil {
		t.Fatal(err)
	}
	var active *hypervisor.ActiveError
	if err := env.Client.Purge(t.Context(), d.UUID); !errors.As(err, &active) {
		t.Errorf("while it runs: %v", err)
	}
	env.Save(t, d)
	for range 2 {
		if err := env.Client.Purge(t.Context(), d.UUID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := env.Client.DomainByUUID(t.Context(), d.UUID); !isMissing(err) {
		t.Error(err)
	}
}
