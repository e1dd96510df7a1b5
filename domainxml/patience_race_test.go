//go:build race

package domainxml

import "time"

// patience allows for the race detector, which slows the tokeniser tenfold.
const patience = 20 * time.Second
