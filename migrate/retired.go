package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// Retirements is the shelf of retirements, which package succession carries out.
func (s Store) Retirements() Shelf { return Shelf{Store: s, Name: "retirements"} }

// retiree is what the plan of a retirement says of the clone that stays.
type retiree struct {
	// Move is the job that made the clone.
	Move string `json:"move"`
	// CloneUUID is its UUID at that time.
	CloneUUID string `json:"clone_uuid"`
}

// retired says whether the original of a job's clone was retired, or is being so.
// The clone's metadata say it too, but go with its definition. One whose journal
// can't be read may be of this job.
func (s Store) retired(plan *Plan) (bool, error) {
	infos, begins, err := s.Retirements().Jobs()
	if err != nil {
		return false, err
	}
	for i, info := range infos {
		var empty *journal.EmptyError
		if errors.As(info.Err, &empty) {
			continue // it has not begun
		}
		var of retiree
		if err = info.Err; err == nil {
			err = json.Unmarshal(begins[i], &of)
		}
		if err != nil {
			return false, fmt.Errorf("whether the original of %q was retired can't be told, job %s: %w", plan.Clone.Name, info.ID, err)
		}
		if of.Move == plan.Job || of.Move == "" && strings.EqualFold(of.CloneUUID, plan.Clone.UUID) {
			return true, nil
		}
	}
	return false, nil
}
