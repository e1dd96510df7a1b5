package main

import (
	"errors"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/planfile"
)

// explainPlanFile tells of a plan file that can't be read or written, and of a
// recovery key's file and a state directory that can't be used.
func explainPlanFile(err error) (advice, bool) {
	var bad *planfile.Error
	var save *saveError
	var exists *planfile.ExistsError
	var recovery *recoveryFileError
	var foreign *migrate.StateDirError
	switch {
	case errors.As(err, &bad):
		return advice{what: err.Error(), exit: exitUsage, state: unchanged}, true
	case errors.As(err, &save) && errors.As(err, &exists):
		return advice{what: err.Error(), exit: exitRefused, state: unchanged, next: []string{save.again + "   # replace it"}}, true
	case errors.As(err, &foreign):
		next := command.Quote([]string{"ls", "-ld", foreign.Dir})
		if foreign.Owner == foreign.User {
			next = command.Quote([]string{"chmod", "700", foreign.Dir}) + "   # if it is vmmigrate's alone; else give another with --state-dir"
		}
		return advice{what: err.Error(), exit: exitRefused, state: unchanged, next: []string{next}}, true
	case errors.As(err, &recovery):
		return advice{what: err.Error(), exit: exitRefused, state: unchanged}, true
	}
	return advice{}, false
}
