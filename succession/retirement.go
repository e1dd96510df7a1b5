package succession

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// Method is how a plain disk is wiped.
type Method string

// The methods.
const (
	// Discard tells the device that all blocks are free, and overwrites with
	// zeros what still does not read as zeros after that.
	Discard Method = "discard"
	// Zero overwrites every byte with zeros, Random with a stream that nobody
	// can know.
	Zero   Method = "zero"
	Random Method = "random"
)

// Methods are all of them.
func Methods() []Method { return []Method{Discard, Zero, Random} }

// Retirement is what is done to an original: the record that its journal begins
// with.
type Retirement struct {
	Job string `json:"job"`
	// Move is the job that made the clone: from now on it is not rolled back.
	Move string `json:"move"`
	// Clone and CloneUUID name the clone that stays, and Original and
	// OriginalUUID the VM that goes. Defined says whether that is defined.
	Clone        string `json:"clone"`
	CloneUUID    string `json:"clone_uuid"`
	Original     string `json:"original"`
	OriginalUUID string `json:"original_uuid"`
	Defined      bool   `json:"defined"`
	Autostart    bool   `json:"autostart"`
	// Sum is the SHA-256 of its definition, which is a file of its own in the
	// job's folder.
	Sum string `json:"sum,omitempty"`

	Method Method `json:"method"`
	// Keep keeps the wiped disks.
	Keep bool         `json:"keep"`
	Pace migrate.Pace `json:"pace,omitzero"`
	// Evidence says how it is known that the clone has run.
	Evidence string `json:"evidence"`
	// Words are what the user was told that the method can't do.
	Words []string    `json:"words"`
	Disks []Retiree   `json:"disks"`
	Files []StateFile `json:"files,omitempty"`
	Began time.Time   `json:"began"`

	definition []byte
}

// Retiree is one plain disk.
type Retiree struct {
	// Target is its name in the domain.
	Target string `json:"target"`
	// Path is its file or device, ID what tells it from another of the same
	// path (domainxml.OriginDisk), and Size its bytes. Block is false for a
	// file.
	Path  string `json:"path"`
	ID    string `json:"id"`
	Size  int64  `json:"size"`
	Block bool   `json:"block"`
	// Resolved is the path without symbolic links.
	Resolved string `json:"resolved,omitempty"`
	// VG and LV name the volume, where it is one.
	VG string `json:"vg,omitempty"`
	LV string `json:"lv,omitempty"`
	// Kind says in words what it is.
	Kind string `json:"kind"`
}

// StateFile is something that libvirt kept for the original beside its disks.
type StateFile struct {
	// What it is, "UEFI variables" or "TPM state", and Path where.
	What string `json:"what"`
	Path string `json:"path"`
	// Own says that libvirt chose the path and keeps nothing else there.
	// Otherwise a definition names it, and it may hold anything.
	Own bool `json:"own,omitempty"`
}

// RetireJob is a retirement as it is found in the state directory.
type RetireJob struct {
	migrate.JobInfo
	// Retirement is nil where the journal is damaged.
	Retirement *Retirement
}

// Unfinished says that it is to be resumed.
func (j RetireJob) Unfinished() bool { return j.Retirement != nil && j.State != migrate.StateDone }

// Named says whether a name means the job: its id, or one of the two VMs.
func (j RetireJob) Named(name string) bool {
	r := j.Retirement
	return j.ID == name || r != nil && (name == r.Clone || name == r.CloneUUID || name == r.Original || name == r.OriginalUUID)
}

// Same returns an *OtherwiseError unless the retirement wipes by that method, and
// keeps the wiped disks or not as asked; keep is nil where nothing is asked.
func (j RetireJob) Same(method Method, keep *bool) error {
	r := j.Retirement
	if r.Method != method || keep != nil && r.Keep != *keep {
		return &OtherwiseError{Job: j.ID, Original: r.Original, Method: r.Method, Keep: r.Keep}
	}
	return nil
}

func retireShelf(store migrate.Store) migrate.Shelf {
	return store.Retirements()
}

// RetireJobs lists the retirements in the state directory, oldest first.
func RetireJobs(store migrate.Store) ([]RetireJob, error) {
	infos, plans, err := retireShelf(store).Jobs()
	if err != nil {
		return nil, err
	}
	jobs := make([]RetireJob, len(infos))
	for i, info := range infos {
		jobs[i].JobInfo = info
		if plans[i] == nil {
			continue
		}
		plan := new(Retirement)
		if err := json.Unmarshal(plans[i], plan); err != nil {
			jobs[i].State, jobs[i].Err = migrate.StateDamaged, fmt.Errorf("the record that the journal of job %s begins with: %w", info.ID, err)
			continue
		}
		jobs[i].Retirement = plan
	}
	return jobs, nil
}

// halfRetired returns the unfinished retirement that a name means, or nil.
func halfRetired(store migrate.Store, name string) (*RetireJob, error) {
	jobs, err := RetireJobs(store)
	if err != nil {
		return nil, err
	}
	for _, job := range jobs {
		if job.Unfinished() && job.Named(name) {
			return &job, nil
		}
	}
	return nil, nil
}

// locks are what no other job may work on meanwhile.
func (r *Retirement) locks() [][2]string {
	names := [][2]string{
		{"vm " + r.CloneUUID, fmt.Sprintf("the VM %q", r.Clone)},
		{"vm " + r.OriginalUUID, fmt.Sprintf("the VM %q", r.Original)},
	}
	for _, disk := range r.Disks {
		if disk.LV != "" {
			names = append(names, [2]string{"lv " + disk.VG + "/" + disk.LV, fmt.Sprintf("the volume %s/%s", disk.VG, disk.LV)})
		}
	}
	return names
}
