package migrate

import (
	"path/filepath"
	"slices"
)

// Result says in a word what a plan comes to.
type Result string

// What a plan comes to.
const (
	// ResultReady: it can be carried out.
	ResultReady Result = "ready"
	// ResultBlocked: something is in the way.
	ResultBlocked Result = "blocked"
	// ResultDone: nothing is left to do. The VM has an encrypted clone, or is
	// one, or all its disks lie on encrypted devices already.
	ResultDone Result = "done"
)

// Result says what the plan comes to.
func (p *Plan) Result() Result {
	is := func(code Code) func(Finding) bool { return func(f Finding) bool { return f.Code == code } }
	if len(p.Blockers) == 0 {
		return ResultReady
	}
	if slices.ContainsFunc(p.Blockers, is(AlreadyDone)) {
		return ResultDone
	}
	// Encrypted to the last disk: a disk that is to move, or that something
	// else keeps from moving, is not.
	plain := func(f Finding) bool { return f.Disk != "" && f.Code != AlreadyLUKS }
	if slices.ContainsFunc(p.Blockers, is(AlreadyLUKS)) && len(p.Disks) == 0 && !slices.ContainsFunc(p.Blockers, plain) {
		return ResultDone
	}
	return ResultBlocked
}

// claims says whether the plan may take room of its own: one that is done will
// not, and an unfinished job's volumes are there already.
func (p *Plan) claims() bool {
	return p.Result() != ResultDone && !slices.ContainsFunc(p.Blockers, func(f Finding) bool { return f.Code == JobUnfinished })
}

// claim takes a name for a plan, and says which VM's plan of the same command
// has taken it before, or "".
func (d *Decider) claim(kind, name string, plan *Plan) (before string) {
	if d.claims == nil {
		d.claims = make(map[string]string)
	}
	key := kind + " " + name
	if vm, taken := d.claims[key]; taken {
		return vm
	}
	d.claims[key] = plan.VM
	return ""
}

// payloadVolume is the volume that a disk of a clone of ours lies on, by what
// the clone's metadata say, whether it is open or locked. It is "" for any
// other disk.
func payloadVolume(vm *DomainFacts, target, path string) string {
	origin, ok := originOf(*vm)
	if !ok {
		return ""
	}
	for _, disk := range origin.Disks {
		image := disk.Filesystem != nil && path != "" && filepath.Dir(path) == disk.Filesystem.Mount
		if disk.Target == target && (path == "/dev/mapper/"+disk.Mapper || image) {
			return disk.Volume()
		}
	}
	return ""
}
