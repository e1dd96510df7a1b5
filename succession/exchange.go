package succession

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// Identity is what tells one domain from all others.
type Identity struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
	// MACs are the interfaces' addresses in the order of the definition.
	MACs []string `json:"macs,omitempty"`
}

// Party is one of the two domains of an exchange.
type Party struct {
	Before Identity `json:"before"`
	After  Identity `json:"after"`
	// AutostartBefore and AutostartAfter are libvirt's flag.
	AutostartBefore bool `json:"autostart_before"`
	AutostartAfter  bool `json:"autostart_after"`
	// TPM says that libvirt keeps the state of a TPM for it, in a folder named
	// after the UUID.
	TPM bool `json:"tpm"`
	// SumBefore and SumAfter are the SHA-256 of its definitions, in
	// hexadecimal. The definitions, which may hold passwords of consoles,
	// are files of their own in the job's folder.
	SumBefore string `json:"sum_before"`
	SumAfter  string `json:"sum_after"`
}

// Exchange is what a cutover, or the undo of one, does: the record that its
// journal begins with.
type Exchange struct {
	Job string `json:"job"`
	// Undo is whether it takes a cutover back.
	Undo bool `json:"undo"`
	// Of is the cutover's job that it takes back, if that is known.
	Of string `json:"of,omitempty"`
	// Holder has the place, and steps aside; Comer takes it: Comer.After has
	// the name and UUID of Holder.Before.
	Holder Party `json:"holder"`
	Comer  Party `json:"comer"`

	// The four definitions; not part of the record.
	definitions definitions
}

// definitions are the parties' before and after.
type definitions struct{ holderBefore, holderAfter, comerBefore, comerAfter []byte }

// clone is the party that is the clone.
func (x *Exchange) clone() *Party {
	if x.Undo {
		return &x.Holder
	}
	return &x.Comer
}

// original is the other.
func (x *Exchange) original() *Party {
	if x.Undo {
		return &x.Comer
	}
	return &x.Holder
}

// file names a definition in the job's folder.
const (
	holderBefore = "holder-before.xml"
	holderAfter  = "holder-after.xml"
	comerBefore  = "comer-before.xml"
	comerAfter   = "comer-after.xml"
)

// definition is one of the four: its file, its text once that is read, and its
// digest.
type definition struct {
	file string
	text *[]byte
	sum  *string
}

func (x *Exchange) all() []definition {
	d := &x.definitions
	return []definition{
		{holderBefore, &d.holderBefore, &x.Holder.SumBefore},
		{holderAfter, &d.holderAfter, &x.Holder.SumAfter},
		{comerBefore, &d.comerBefore, &x.Comer.SumBefore},
		{comerAfter, &d.comerAfter, &x.Comer.SumAfter},
	}
}

func sum(text []byte) string {
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:])
}

// uuids are those of all definitions that the exchange knows.
func (x *Exchange) uuids() []string {
	return []string{x.Holder.Before.UUID, x.Holder.After.UUID, x.Comer.Before.UUID}
}

// locks are what no other job may work on meanwhile.
func (x *Exchange) locks() [][2]string {
	var names [][2]string
	for _, party := range []Party{x.Holder, x.Comer} {
		names = append(names, [2]string{"vm " + party.Before.UUID, fmt.Sprintf("the VM %q", party.Before.Name)})
	}
	return append(names, [2]string{"vm " + x.Holder.After.UUID, fmt.Sprintf("the VM %q", x.Holder.After.Name)})
}

// names says whether a name or UUID is one of the exchange's.
func (x *Exchange) names(name string) bool {
	for _, party := range []Party{x.Holder, x.Comer} {
		for _, identity := range []Identity{party.Before, party.After} {
			if name == identity.Name || name == identity.UUID {
				return true
			}
		}
	}
	return false
}

// Job is an exchange as it is found in the state directory.
type Job struct {
	migrate.JobInfo
	// Exchange is nil where the journal is damaged.
	Exchange *Exchange
}

// Named says whether a name means the job: its id, or what one of the two VMs was
// called before or is after.
func (j Job) Named(name string) bool {
	return j.ID == name || j.Exchange != nil && j.Exchange.names(name)
}

// VM is the name that the two exchange, and Other what the clone is called
// without it.
func (x *Exchange) VM() string { return x.Holder.Before.Name }

// Other is what the clone is called when it has not the original's name.
func (x *Exchange) Other() string {
	if x.Undo {
		return x.Holder.After.Name
	}
	return x.Comer.Before.Name
}

// Unfinished says that it is to be resumed or rolled back.
func (j Job) Unfinished() bool { return j.Exchange != nil && j.State != migrate.StateDone }

// shelf is where exchanges are kept.
func shelf(store migrate.Store) migrate.Shelf { return migrate.Shelf{Store: store, Name: "cutovers"} }

// Jobs lists the cutovers in the state directory, oldest first.
func Jobs(store migrate.Store) ([]Job, error) {
	infos, plans, err := shelf(store).Jobs()
	if err != nil {
		return nil, err
	}
	jobs := make([]Job, len(infos))
	for i, info := range infos {
		jobs[i].JobInfo = info
		if plans[i] == nil {
			continue
		}
		exchange := new(Exchange)
		if err := json.Unmarshal(plans[i], exchange); err != nil {
			jobs[i].State, jobs[i].Err = migrate.StateDamaged, fmt.Errorf("the record that the journal of job %s begins with: %w", info.ID, err)
			continue
		}
		jobs[i].Exchange = exchange
	}
	return jobs, nil
}

// Half returns the unfinished exchange that a domain of that name or UUID is
// part of, or nil.
func Half(store migrate.Store, name string) (*Job, error) {
	jobs, err := Jobs(store)
	if err != nil {
		return nil, err
	}
	for _, job := range jobs {
		if job.Unfinished() && job.Exchange.names(name) {
			return &job, nil
		}
	}
	return nil, nil
}
