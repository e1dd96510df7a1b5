package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/planfile"
)

// places are where a batch's keys are, when the command line does not say.
type places struct {
	// flagged says that the command line does say.
	flagged bool
	// keys is the plan file's part about it, nil without one.
	keys *planfile.Keys
	// once asks on the terminal for one passphrase for all VMs, which is
	// kept in asked.
	once  bool
	asked luks.Key
}

// follow takes the keys from where a plan file says, unless a flag says where.
func (p *places) follow(file *planfile.File) {
	if file != nil && !p.flagged {
		p.keys = &file.Keys
	}
}

// allVMs is what a prompt calls the VMs of a batch.
const allVMs = "all the VMs"

// source is where the plan file says that a VM's key is.
func (p *places) source(vm string) (planfile.KeySource, bool) {
	if p.keys == nil {
		return planfile.KeySource{}, false
	}
	if source, named := p.keys.VMs[vm]; named {
		return source, true
	}
	if p.keys.Default != nil {
		return *p.keys.Default, true
	}
	return planfile.KeySource{}, false
}

// fromPlan gets a key from where the plan file says.
func (k *keyring) fromPlan(ctx context.Context, vm string, source planfile.KeySource, prompts int) (luks.Key, error) {
	switch {
	case source.File != "":
		return awaited(ctx, func() (luks.Key, error) {
			return k.session.keyFromFile("the plan's key file "+source.File, source.File)
		})
	case source.Credential != "":
		place := "the plan's credential " + source.Credential
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return luks.Key{}, &keySourceError{place, errors.New("there are no credentials; systemd passes them to its units alone")}
		}
		return awaited(ctx, func() (luks.Key, error) {
			file, err := os.Open(filepath.Join(dir, source.Credential))
			if err != nil {
				return luks.Key{}, &keySourceError{place, reason(err)}
			}
			defer file.Close()
			return readKey(place, file)
		})
	case len(source.Command) > 0:
		return k.fromProgram(ctx, "the plan's command "+source.Command[0], source.Command, vm)
	}
	return k.ask(ctx, vm, source.Prompt == planfile.PromptOnce, prompts)
}

// ask asks on the terminal, for a VM or once for all.
func (k *keyring) ask(ctx context.Context, vm string, once bool, prompts int) (luks.Key, error) {
	if !once {
		return k.session.prompt(ctx, vm, prompts)
	}
	if k.asked.Len() == 0 {
		key, err := k.session.prompt(ctx, allVMs, prompts)
		if err != nil {
			return luks.Key{}, err
		}
		k.asked = key
	}
	return duplicate(k.asked)
}
