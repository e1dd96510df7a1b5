package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// fakeLibvirt is the script command "libvirt hung|gone SOCKET": a daemon that
// takes connections and says nothing, or one that left its socket behind.
func fakeLibvirt(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: ts.MkAbs(args[1]), Net: "unix"})
	ts.Check(err)
	if args[0] == "gone" {
		listener.SetUnlinkOnClose(false)
		ts.Check(listener.Close())
		return
	}
	ts.Defer(func() { _ = listener.Close() })
	go func() {
		for {
			// Nothing is ever read or written, and the connection is
			// held until the script ends.
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			ts.Defer(func() { _ = conn.Close() })
		}
	}()
}

// makeJob is the script command "job STATE ID VM": a job in the state
// directory, as a real one leaves it.
func makeJob(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(writeJob(ts.Getenv("VMMIGRATE_STATE_DIR"), args[0], args[1], args[2]))
}

// testTime is when everything happens in the tests.
func testTime() time.Time { return time.Date(2026, 11, 22, 9, 30, 12, 0, time.UTC) }

func writeJob(stateDir, state, id, vm string) error {
	dir := filepath.Join(stateDir, "jobs", id)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	plan := migrate.Plan{
		Job: id, VM: vm, VMUUID: "6c1b5a5e-5a0e-4d2c-8a34-0d3c6d1d1a01",
		Clone: migrate.Clone{Name: vm + "-luks", UUID: "3f9c2d10-0f3e-4a55-9a7e-2b8c51f0aa02"},
		Disks: []migrate.DiskPlan{{Target: "vda", Mapper: "cr_" + vm + "_vda"}},
	}
	j, err := journal.Create(dir, plan, testTime)
	if err != nil {
		return err
	}
	defer j.Close()
	records := []struct {
		kind journal.Kind
		step migrate.StepName
	}{{journal.Intent, migrate.CreateVolume}, {journal.Done, migrate.CreateVolume}, {journal.Intent, migrate.Copy}}
	for _, r := range records {
		if err := j.Append(r.kind, string(r.step), "vda", nil); err != nil {
			return err
		}
	}
	switch state {
	case "interrupted":
		return j.Append(journal.Failed, string(migrate.Copy), "vda", "interrupted: SIGINT")
	case "rolling-back":
		return j.Append(journal.Undoing, string(migrate.Copy), "vda", nil)
	case "done":
		return j.Append(journal.End, "", "", nil)
	case "damaged":
		path := filepath.Join(dir, journal.FileName)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.Replace(string(text), "create-volume", "create-velume", 1)), 0o600)
	}
	return nil
}

// cell is the script command "cell FILE": it writes a control character into
// the place of each ^ of a file, which a script can't hold itself.
func cell(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text := ts.ReadFile(path)
	ts.Check(os.WriteFile(path, []byte(strings.ReplaceAll(text, "^", "\x1b")), 0o600))
}
