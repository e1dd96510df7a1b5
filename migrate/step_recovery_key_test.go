package migrate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

// envelope keeps the recovery keys that are handed over.
type envelope struct {
	keys []string
	err  error
}

func (e *envelope) Deliver(_ context.Context, _ string, key luks.Key) error {
	if e.err != nil {
		return e.err
	}
	e.keys = append(e.keys, string(key.Bytes()))
	return nil
}

// withRecovery is an engine whose jobs can add recovery keys.
func (w *world) withRecovery(to *envelope) *Engine {
	env := w.env()
	env.KeySlots, env.Recovery = w.luks, to
	return &Engine{Env: env}
}

func recoveryOptions() Options {
	o := options()
	o.RecoveryKey = true
	return o
}

// opens says whether text unlocks a disk of the plan.
func (w *world) opens(disk DiskPlan, text string) bool {
	w.t.Helper()
	key, err := luks.NewKey([]byte(text))
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	err = w.luks.TestKey(context.Background(), disk.Volume.Path, key)
	var wrong *luks.WrongKeyError
	if err != nil && !errors.As(err, &wrong) {
		w.t.Fatalf("%v", err)
	}
	return err == nil
}

func TestARecoveryKeyOpensAllDisksOfTheVMAndIsKeptNowhere(t *testing.T) {
	w := newWorld(t)
	plan, to := w.plan(recoveryOptions()), new(envelope)
	w.disarm()
	if _, err := w.withRecovery(to).Run(w.context(), plan); err != nil {
		t.Fatal(err)
	}
	if len(to.keys) != 1 || !regexp.MustCompile(`^([b-v]{8}-){7}[b-v]{8}$`).MatchString(to.keys[0]) {
		t.Fatalf("handed over: %d", len(to.keys))
	}
	for _, disk := range plan.Disks {
		if !w.opens(disk, to.keys[0]) || !w.opens(disk, w.secret) {
			t.Errorf("%s: not both keys open it", disk.Target)
		}
	}
	group := strings.Split(to.keys[0], "-")[0]
	for path, content := range contents(t, w.state) {
		if strings.Contains(content, group) {
			t.Errorf("%s holds the recovery key", path)
		}
	}
	for _, event := range w.events {
		if strings.Contains(event.Message, group) {
			t.Errorf("an event holds the recovery key: %+v", event.Event)
		}
	}
	if names := StepNames(); len(names) == 0 || strings.Contains(string(names[len(names)-1]), "recovery") {
		t.Errorf("the steps of every job are %v", names)
	}
}

func TestARecoveryKeyThatWasNotHandedOverIsReplacedByTheNext(t *testing.T) {
	for _, what := range []string{"the second disk's slot fails", "handing over fails", "the slot fails after it was filled"} {
		w := newWorld(t)
		plan, to := w.plan(recoveryOptions()), new(envelope)
		w.disarm()
		failed, seen := errors.New("injected"), 0
		fail := func(op string) error {
			if op == "add-key" {
				seen++
				if seen == 2 {
					return failed
				}
			}
			return nil
		}
		switch what {
		case "the second disk's slot fails":
			w.luks.Before = fail
		case "the slot fails after it was filled":
			w.luks.After = fail
		default:
			to.err = failed
		}
		_, err := w.withRecovery(to).Run(w.context(), plan)
		var step *StepError
		if !errors.As(err, &step) || step.Step != RecoveryKey || step.Aftermath != Kept {
			t.Fatalf("%s: %v", what, err)
		}
		w.luks.Before, w.luks.After, to.err = nil, nil, nil
		if _, err := w.withRecovery(to).Resume(w.context(), plan.Job); err != nil {
			t.Fatalf("%s: resumed: %v", what, err)
		}
		if len(to.keys) != 1 {
			t.Fatalf("%s: %d keys were handed over", what, len(to.keys))
		}
		for _, disk := range plan.Disks {
			header, err := w.luks.Header(context.Background(), disk.Volume.Path)
			if err != nil || len(header.Keyslots) != 2 || !w.opens(disk, to.keys[0]) {
				t.Errorf("%s: %s has the slots %v, %v", what, disk.Target, header.Keyslots, err)
			}
		}
		if _, err := os.Stat(filepath.Join(w.state, "jobs", plan.Job, "vda.luks-header")); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestASlotThatSomebodyElseFilledIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	plan, to := w.plan(recoveryOptions()), new(envelope)
	w.disarm()
	engine := w.withRecovery(to)
	engine.StopAfter = Verify
	if _, err := engine.Run(w.context(), plan); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	mine, _ := luks.NewKey([]byte(w.secret))
	theirs, _ := luks.NewKey([]byte("theirs"))
	if err := w.luks.AddKey(context.Background(), plan.Disks[1].Volume.Path, mine, theirs, luks.AddKeyOptions{Slot: 1}); err != nil {
		t.Fatal(err)
	}
	_, err := w.withRecovery(to).Resume(w.context(), plan.Job)
	var conflict *ConflictError
	if !errors.As(err, &conflict) || len(to.keys) != 0 || !w.opens(plan.Disks[1], "theirs") {
		t.Errorf("%v, %d keys handed over", err, len(to.keys))
	}
}
