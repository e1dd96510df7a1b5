//go:build linux && amd64

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("no command")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "setup":
		device := flags.String("device", "/dev/ubda", "the physical volume")
		seed := flags.Uint64("seed", 1, "decides what is on the disks")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return setUp(*device, *seed)
	case "rehearse":
		worlds := flags.String("worlds", "/tmp/worlds", "the file to keep in what the end has to be like")
		of := flags.String("kind", string(usual), "the kind of job")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		t, err := rehearse(kind(*of), flags.Args(), func(instant) {})
		if err != nil {
			return err
		}
		return t.keep(*worlds)
	case "end":
		worlds := flags.String("worlds", "/tmp/worlds", "what rehearse kept")
		how := flags.String("how", "resume", "resume or rollback")
		ignore := flags.String("ignore", "", "a regular expression for what may differ in the end")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return end(*worlds, *how, *ignore)
	case "reset":
		t, err := recall("/tmp/worlds")
		if err != nil {
			return err
		}
		return reset(t.Before)
	case "under":
		return under(args[1:])
	case "quicken":
		return quicken()
	case "at":
		key := flags.String("instant", "", "the instant, as torment names it, or only what happens then, for the first time")
		script := flags.String("do", "", "what to do then, while vmmigrate stands still")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if os.Getenv(stayingEnv) == "" {
			return stay(args)
		}
		return at(*key, *script, flags.Args())
	case "torment":
		return takeOrders(os.Stdin, json.NewEncoder(os.Stdout))
	}
	return fmt.Errorf("no such command: %q", args[0])
}

// orders say what to do to a job.
type orders struct {
	// Ending is "resume", "rollback", or "back" for a rollback that is killed
	// itself.
	Ending string `json:"ending"`
	// Job is the kind of job.
	Job kind `json:"job"`
	// Short is true if the job need not come far before it is rolled back.
	Short bool `json:"short"`
	// Faults are named as in the tables.
	Faults []string `json:"faults"`
}

// tables are the faults of a kind of jobs and of their rollback, as a first run of
// both calls for them: all of the usual one, and of the others what they do and it
// does not.
type tables struct {
	Job      kind    `json:"job"`
	Forward  []entry `json:"forward"`
	Backward []entry `json:"backward"`
}

type entry struct {
	Fault string `json:"fault"`
	instant
}

// takeOrders prints the tables, and then a result for each of the orders.
func takeOrders(from io.Reader, to *json.Encoder) error {
	jobs, all, err := rehearseAll()
	if err != nil {
		return err
	}
	if err := jobs[usual].keep("/tmp/worlds"); err != nil {
		return err
	}
	known := map[string]fault{}
	list := func(table []instant) []entry {
		var all []entry
		for _, f := range faultsOf(table) {
			known[f.String()] = f
			all = append(all, entry{f.String(), f.instant})
		}
		return all
	}
	var told []tables
	for _, one := range all {
		told = append(told, tables{one.of, list(one.forward), list(one.backward)})
	}
	if err := to.Encode(told); err != nil {
		return err
	}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o orders
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		var faults []fault
		for _, name := range o.Faults {
			f, ok := known[name]
			if !ok {
				return fmt.Errorf("no such fault: %q", name)
			}
			faults = append(faults, f)
		}
		job := jobs[o.Job]
		r, err := job.try(o.Ending+" after "+strings.Join(o.Faults, ", "), func(r *result) error {
			switch o.Ending {
			case "resume":
				return job.thenResume(r, faults)
			case "rollback":
				return job.thenRollback(r, faults[0])
			default:
				return job.rollbackKilled(r, faults, o.Short)
			}
		})
		if err != nil {
			return fmt.Errorf("%s: %s: %w", r.Name, r.Error, err)
		}
		if err := to.Encode(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

// keep writes what has to hold at the end to a file, and recall reads it.
func (t *torment) keep(path string) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return writeFlushed(path, data)
}

func recall(path string) (*torment, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := new(torment)
	return t, json.Unmarshal(data, t)
}

// end brings a job to one of its two ends, and checks what has to hold then.
func end(worlds, how, ignore string) error {
	t, err := recall(worlds)
	if err != nil {
		return err
	}
	if ignore != "" {
		if t.ignore, err = regexp.Compile(ignore); err != nil {
			return err
		}
	}
	r, err := t.try(how, func(r *result) error {
		if how == "resume" {
			return t.resumed(r)
		}
		return t.rolledBack(r)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", r.Error, err)
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// stayingEnv marks the process that stay starts.
const stayingEnv = "INSIDE_STAYING"

// stay runs this program again, and ends when that one has said all it has to
// say. That one goes on as long as there is a program left to be traced.
func stay(args []string) error {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), stayingEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = os.Stderr
	said, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	n, err := io.Copy(os.Stdout, said)
	if err == nil && n == 0 {
		err = cmd.Wait() // it failed
	}
	return err
}

// at runs vmmigrate and a script at an instant of it, and says how it ended, and
// how long after the script or what that had left to be done later. The script
// finds vmmigrate's process id in $VMMIGRATE_PID.
func at(key, script string, args []string) error {
	var said struct {
		Code    int     `json:"code"`
		Output  string  `json:"output"`
		Script  string  `json:"script"`
		Seconds float64 `json:"seconds"`
	}
	// A script that does something later says by this file when.
	const later = "/tmp/since"
	if err := os.Remove(later); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	came := false
	var since time.Time
	if len(args) > 0 && args[0] == "run" {
		args = (&torment{}).runArgs(args[1:]...)
	}
	o, err := call(args, newPosition(), func(now instant) action {
		if now.key() != key && (now.What != key || now.N > 1) || came {
			return goOn
		}
		came = true
		cmd := exec.Command("sh", "-c", script)
		cmd.Env = append(os.Environ(), "VMMIGRATE_PID="+strconv.Itoa(now.pid))
		out, err := cmd.CombinedOutput()
		said.Script = string(out)
		if err != nil {
			said.Script += err.Error()
		}
		since = time.Now()
		return goOn
	})
	if err != nil {
		return err
	}
	if !came {
		return fmt.Errorf("vmmigrate did not come by %q: %v", key, o)
	}
	said.Code, said.Output, said.Seconds = o.code, o.output, time.Since(since).Seconds()
	if info, err := os.Stat(later); err == nil {
		said.Seconds = time.Since(info.ModTime()).Seconds()
	}
	if err := errors.Join(json.NewEncoder(os.Stdout).Encode(said), os.Stdout.Close()); err != nil {
		return err
	}
	return quiet()
}
