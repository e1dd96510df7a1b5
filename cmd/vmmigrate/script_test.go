package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// update has the golden files written anew, to be reviewed in the diff.
var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vmmigrate": func() { os.Exit(mainCode(testMachine())) },
		"stubborn":  stubborn,
	})
}

// `make test` installs what tests are skipped without, and sets NO_SKIP.
func TestNothingIsSkippedWhereAllIsInstalled(t *testing.T) {
	if os.Getenv("NO_SKIP") == "" {
		return
	}
	for _, program := range []string{"groff", "bash", "zsh", "fish"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Error(err)
		}
	}
}

// testMachine is this machine as a script's variables say: AS=user is not root,
// MISSING names a program that is not installed, and what hangs is waited for
// a moment only.
func testMachine() machine {
	here := thisMachine()
	here.root = os.Getenv("AS") != "user"
	here.libvirtTime, here.keyTime = 300*time.Millisecond, 300*time.Millisecond
	here.installed = func(program string) error {
		switch os.Getenv("MISSING") {
		case program:
			return &command.NotFoundError{Name: program, Package: map[string]string{"lvs": "lvm2", "cryptsetup": "cryptsetup-bin"}[program]}
		}
		return nil
	}
	return here
}

// stubborn is a process that takes note of a signal and does not end by it, as
// a copy does until its checkpoint.
func stubborn() {
	ctx, stop := interruptible(context.Background())
	defer stop()
	fmt.Println("begun")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	select {}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("VMMIGRATE_STATE_DIR", filepath.Join(env.WorkDir, "state"))
			scripts, err := filepath.Abs("../../packaging/completion")
			env.Setenv("SCRIPTS", scripts)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "libvirt": fakeLibvirt, "zeros": zeros, "job": makeJob, "cell": cell,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
	})
}

// exits CODE PROGRAM [ARG]... runs a program that has to end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG]...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

// zeros FILE BYTES makes a file of zeros.
func zeros(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), make([]byte, size), 0o600))
}
