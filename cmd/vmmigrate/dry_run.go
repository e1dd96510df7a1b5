package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// rehearsalDocument is what `vmmigrate run --dry-run --output json` prints.
type rehearsalDocument struct {
	// VMs are those that the run would work on, in order.
	VMs []rehearsedVM `json:"vms"`
}

// rehearsedVM is one VM and the calls that would be made for it.
type rehearsedVM struct {
	// VM is the domain to be migrated.
	VM string `json:"vm"`
	// Clone is the domain that would be defined.
	Clone string `json:"clone"`
	// Job is the id of the job that would be resumed; a new one has none yet.
	Job string `json:"job,omitempty"`
	// Calls would be made in this order. A job that is resumed makes those
	// that are left, which only its steps find out.
	Calls []migrate.Call `json:"calls"`
}

// rehearse prints what the tasks would do, and does nothing.
func (s *session) rehearse(ctx context.Context, engine *migrate.Engine, tasks []migrate.Task) error {
	document := rehearsalDocument{VMs: []rehearsedVM{}}
	var refused []error
	for _, task := range tasks {
		if task.Done {
			continue
		}
		vm := rehearsedVM{VM: task.Plan.VM, Clone: task.Plan.Clone.Name, Job: task.Resume, Calls: []migrate.Call{}}
		if task.Resume == "" {
			calls, err := engine.Rehearse(ctx, task.Plan)
			if err != nil {
				refused = append(refused, err)
				continue
			}
			vm.Calls = append(vm.Calls, calls...)
		}
		document.VMs = append(document.VMs, vm)
	}
	var err error
	if s.json {
		err = writeDocument(s.out, document)
	} else {
		_, err = fmt.Fprint(s.out, rehearsal(document))
	}
	if err != nil {
		return fmt.Errorf("print what would be done: %w", err)
	}
	if len(refused) == 1 {
		return refused[0]
	}
	return errors.Join(refused...)
}

// rehearsal is the calls as text: a command a line, as a shell would take it,
// and behind it what it reads.
func rehearsal(document rehearsalDocument) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for i, vm := range document.VMs {
		if i > 0 {
			say("")
		}
		if vm.Job != "" {
			say("# %s: the job %s goes on from where it stopped", printable(vm.VM), vm.Job)
			continue
		}
		say("# %s -> %s", printable(vm.VM), printable(vm.Clone))
		for _, call := range vm.Calls {
			say("%s", printable(callText(call)))
		}
	}
	if len(document.VMs) > 0 {
		say("")
		say("# Nothing has been changed. A run draws its own job id and UUIDs, and looks around")
		say("# with further commands that change nothing.")
	} else {
		say("# Nothing is left to do.")
	}
	return b.String()
}

func callText(call migrate.Call) string {
	switch {
	case call.Argv != nil:
		text := command.Quote(call.Argv)
		for i, secret := range call.Secrets {
			from := "stdin"
			if i > 0 {
				from = fmt.Sprintf("fd %d", 2+i)
			}
			if secret == "the key" {
				secret = "key"
			}
			text += fmt.Sprintf(" <%s on %s>", secret, from)
		}
		return text
	case call.Libvirt != "":
		return "libvirt: " + call.Libvirt
	}
	return "# " + call.Itself
}
