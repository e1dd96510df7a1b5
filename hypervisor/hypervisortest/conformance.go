package hypervisortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// Env is what Conformance runs against.
type Env struct {
	Client Client
	// Definition is a small domain of that name and UUID, which can be
	// started. It has a VNC console with the password "secret". The name may
	// hold anything, and Definition escapes it.
	Definition func(name, uuid string) []byte
	// Save makes a managed save image of a running domain.
	Save func(t *testing.T, d hypervisor.Domain)
	// Drop removes it again.
	Drop func(t *testing.T, d hypervisor.Domain)
	// Pool has the volume Volume at Path.
	Pool, Volume, Path string
}

// Conformance checks what every Client has to do.
func Conformance(t *testing.T, env Env) {
	t.Helper()
	for _, test := range []struct {
		claim string
		run   func(*testing.T, Env)
	}{
		{"a domain that was defined is off, lasting and listed", defined},
		{"a domain of any name is found by exactly that", names},
		{"a domain whose name or UUID is taken is not defined, and the other kept", taken},
		{"a definition that makes no sense is refused and nothing defined", nonsense},
		{"checking a definition defines nothing", validated},
		{"a definition is shown with its passwords", secrets},
		{"a domain is started, stopped and told of", lifecycle},
		{"a domain with a saved state is not undefined", saved},
		{"a definition is replaced by one of its name and UUID, while the domain is off, and never by another's", redefined},
		{"metadata are noted, kept and replaced", noted},
		{"a domain is purged with its saved state", purged},
		{"what is not there is a *NotFoundError, and undefined already", missing},
		{"a volume is found by pool and name", volumes},
		{"a subscription ends with its context", unsubscribed},
	} {
		t.Run(test.claim, func(t *testing.T) { test.run(t, env) })
	}
}

func uuid(n int) string { return fmt.Sprintf("6a1f6c1e-0b7d-4d5c-9a51-%012d", n) }

// define defines a domain until the test ends.
func (e Env) define(t *testing.T, name string, n int) hypervisor.Domain {
	t.Helper()
	d, err := e.Client.Define(t.Context(), e.Definition(name, uuid(n)))
	if err != nil {
		t.Fatalf("define %q: %v", name, err)
	}
	t.Cleanup(func() {
		// The test's own context ends before its cleanups run.
		ctx := context.WithoutCancel(t.Context())
		if err := e.Client.Destroy(ctx, d.UUID); err != nil && !isMissing(err) {
			t.Error(err)
		}
		if err := e.Client.Undefine(ctx, d.UUID); err != nil {
			t.Error(err)
		}
	})
	return d
}

func isMissing(err error) bool {
	var missing *hypervisor.NotFoundError
	return errors.As(err, &missing)
}

func defined(t *testing.T, env Env) {
	d := env.define(t, "con-defined", 1)
	want := hypervisor.Domain{Name: "con-defined", UUID: uuid(1), State: hypervisor.ShutOff, Persistent: true}
	if d != want {
		t.Errorf("defined %+v", d)
	}
	if err := env.Client.SetAutostart(t.Context(), d.UUID, true); err != nil {
		t.Error(err)
	}
	want.Autostart = true
	all, err := env.Client.Domains(t.Context())
	if err != nil || !slices.Contains(all, want) || !slices.IsSortedFunc(all, func(a, b hypervisor.Domain) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("listed %+v, %v", all, err)
	}
	if job, err := env.Client.BlockJob(t.Context(), d.UUID, "vda"); err != nil || job {
		t.Errorf("block job: %v, %v", job, err)
	}
	if version, err := env.Client.Version(t.Context()); err != nil || version < 1_000_000 {
		t.Errorf("version %s, %v", version, err)
	}
}

func names(t *testing.T, env Env) {
	all := []string{"mail server (alt)", "-rf", "täst", `quo"te'd`, "1", "a.b", "$(reboot)", uuid(99), strings.Repeat("n", 200)}
	for i, name := range all {
		env.define(t, name, 100+i)
	}
	for i, name := range all {
		d, err := env.Client.Domain(t.Context(), name)
		if err != nil || d.Name != name || d.UUID != uuid(100+i) {
			t.Errorf("%q: %+v, %v", name, d, err)
		}
	}
	for _, other := range []string{uuid(100), "mail server", "mail server (alt) ", "TÄST", "", "2"} {
		if d, err := env.Client.Domain(t.Context(), other); !isMissing(err) {
			t.Errorf("%q is %+v, %v", other, d, err)
		}
	}
	if d, err := env.Client.DomainByUUID(t.Context(), uuid(99)); !isMissing(err) {
		t.Errorf("the name that looks like a UUID is %+v, %v", d, err)
	}
}

func taken(t *testing.T, env Env) {
	d := env.define(t, "con-taken", 2)
	before, err := env.Client.XML(t.Context(), d.UUID)
	if err != nil {
		t.Fatal(err)
	}
	for by, definition := range map[string][]byte{
		"name": env.Definition("con-taken", uuid(3)),
		"UUID": env.Definition("con-other", uuid(2)),
	} {
		var exists *hypervisor.ExistsError
		if _, err := env.Client.Define(t.Context(), definition); !errors.As(err, &exists) || exists.By != by || exists.Name != "con-taken" || exists.UUID != uuid(2) {
			t.Errorf("same %s: %v", by, err)
		}
	}
	// libvirt itself would replace it now, without a word.
	var exists *hypervisor.ExistsError
	if _, err := env.Client.Define(t.Context(), bytes.ReplaceAll(env.Definition("con-taken", uuid(2)), []byte("secret"), []byte("other"))); !errors.As(err, &exists) {
		t.Errorf("same name and UUID: %v", err)
	}
	if after, err := env.Client.XML(t.Context(), d.UUID); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the definition became %s, %v", after, err)
	}
}

func nonsense(t *testing.T, env Env) {
	before, err := env.Client.Domains(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, definition := range []string{"", "<domain/>", "no XML", "<network><name>x</name></network>", "<domain type='qemu'><name>con-x</name></domain>", "<domain type='qemu'><uuid>" + uuid(4) + "</uuid></domain>"} {
		if d, err := env.Client.Define(t.Context(), []byte(definition)); err == nil {
			t.Errorf("%q is %+v", definition, d)
		}
	}
	if after, err := env.Client.Domains(t.Context()); err != nil || !slices.Equal(before, after) {
		t.Errorf("there is %+v, %v", after, err)
	}
}

func validated(t *testing.T, env Env) {
	if err := env.Client.Validate(t.Context(), env.Definition("con-valid", uuid(5))); err != nil {
		t.Error(err)
	}
	if d, err := env.Client.Domain(t.Context(), "con-valid"); !isMissing(err) {
		t.Errorf("there is %+v, %v", d, err)
	}
	var refused *hypervisor.RefusedError
	if err := env.Client.Validate(t.Context(), []byte("<domain type='qemu'>")); !errors.As(err, &refused) || refused.Message == "" || refused.Code == 0 {
		t.Error(err)
	}
}

func secrets(t *testing.T, env Env) {
	d := env.define(t, "con-secrets", 6)
	text, err := env.Client.XML(t.Context(), d.UUID)
	if err != nil || !bytes.Contains(text, []byte("passwd='secret'")) {
		t.Errorf("%s\n%v", text, err)
	}
}

func lifecycle(t *testing.T, env Env) {
	events, err := env.Client.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := env.define(t, "con-life", 7)
	expect(t, events, d, hypervisor.EventDefined)
	if err := env.Client.Start(t.Context(), d.UUID); err != nil {
		t.Fatal(err)
	}
	expect(t, events, d, hypervisor.EventStarted)
	if now, err := env.Client.DomainByUUID(t.Context(), d.UUID); err != nil || now.State != hypervisor.Running || !now.State.Active() {
		t.Errorf("started: %+v, %v", now, err)
	}
	if _, err := env.Client.LiveXML(t.Context(), d.UUID); err != nil {
		t.Error(err)
	}
	var refused *hypervisor.RefusedError
	if err := env.Client.Start(t.Context(), d.UUID); !errors.As(err, &refused) {
		t.Errorf("started twice: %v", err)
	}
	var active *hypervisor.ActiveError
	if err := env.Client.Undefine(t.Context(), d.UUID); !errors.As(err, &active) || active.State != hypervisor.Running || active.Name != "con-life" {
		t.Errorf("undefined while it runs: %v", err)
	}
	for range 2 {
		if err := env.Client.Destroy(t.Context(), d.UUID); err != nil {
			t.Error(err)
		}
	}
	expect(t, events, d, hypervisor.EventStopped)
	if err := env.Client.Shutdown(t.Context(), d.UUID); !errors.As(err, &refused) {
		t.Errorf("shut down while it is off: %v", err)
	}
	if err := env.Client.Undefine(t.Context(), d.UUID); err != nil {
		t.Error(err)
	}
	expect(t, events, d, hypervisor.EventUndefined)
}

// expect waits for an event, passing over others.
func expect(t *testing.T, events <-chan hypervisor.Event, d hypervisor.Domain, kind hypervisor.EventKind) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case event, ok := <-events:
			if !ok {
				t.Fatalf("the events ended before %s", kind)
			}
			if event.UUID == d.UUID && event.Name == d.Name && event.Kind == kind {
				return
			}
		case <-limit:
			t.Fatalf("no event %s", kind)
		}
	}
}

func saved(t *testing.T, env Env) {
	d := env.define(t, "con-saved", 8)
	if err := env.Client.Start(t.Context(), d.UUID); err != nil {
		t.Fatal(err)
	}
	env.Save(t, d)
	if now, err := env.Client.DomainByUUID(t.Context(), d.UUID); err != nil || !now.ManagedSave || now.State != hypervisor.ShutOff {
		t.Errorf("saved: %+v, %v", now, err)
	}
	var refused *hypervisor.RefusedError
	if err := env.Client.Undefine(t.Context(), d.UUID); !errors.As(err, &refused) {
		t.Errorf("undefined: %v", err)
	}
	env.Drop(t, d)
}

func missing(t *testing.T, env Env) {
	_, byUUID := env.Client.DomainByUUID(t.Context(), uuid(9))
	_, nonsense := env.Client.DomainByUUID(t.Context(), "nonsense")
	_, text := env.Client.XML(t.Context(), uuid(9))
	_, job := env.Client.BlockJob(t.Context(), uuid(9), "vda")
	for what, err := range map[string]error{
		"by UUID": byUUID, "by nonsense": nonsense, "XML": text, "block job": job,
		"start": env.Client.Start(t.Context(), uuid(9)), "shut down": env.Client.Shutdown(t.Context(), uuid(9)),
		"destroy": env.Client.Destroy(t.Context(), uuid(9)), "autostart": env.Client.SetAutostart(t.Context(), uuid(9), true),
	} {
		if !isMissing(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := env.Client.Undefine(t.Context(), uuid(9)); err != nil {
		t.Errorf("undefine: %v", err)
	}
}

func volumes(t *testing.T, env Env) {
	if path, err := env.Client.VolumePath(t.Context(), env.Pool, env.Volume); err != nil || path != env.Path {
		t.Errorf("%q, %v", path, err)
	}
	var not *hypervisor.NotFoundError
	if _, err := env.Client.VolumePath(t.Context(), env.Pool, "con-none"); !errors.As(err, &not) || not.Kind != "storage volume" {
		t.Error(err)
	}
	if _, err := env.Client.VolumePath(t.Context(), "con-none", env.Volume); !errors.As(err, &not) || not.Kind != "storage pool" {
		t.Error(err)
	}
}

func unsubscribed(t *testing.T, env Env) {
	ctx, cancel := context.WithCancel(t.Context())
	events, err := env.Client.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	limit := time.After(10 * time.Second)
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-limit:
			t.Fatal("the events did not end")
		}
	}
}
