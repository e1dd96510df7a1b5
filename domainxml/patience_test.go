//go:build !race

package domainxml

import "time"

// patience is how much processor time a refusal may take. On an idle machine
// the longest took 0.2 s.
const patience = time.Second
