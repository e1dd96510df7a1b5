package main

import (
	"fmt"

	"github.com/xrash/smetrics"
)

// nearest returns the candidate that name was probably meant to be, or "": one
// that takes at most a third of its letters changed.
func nearest(name string, candidates []string) string {
	best, distance := "", len(name)/3+1
	for _, candidate := range candidates {
		// Insertion, deletion and substitution cost one each.
		if d := smetrics.WagnerFischer(name, candidate, 1, 1, 1); d <= distance && (best == "" || d < distance) {
			best, distance = candidate, d
		}
	}
	return best
}

// didYouMean is the end of a sentence that names the nearest candidate.
func didYouMean(name string, candidates []string) string {
	if near := nearest(name, candidates); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}
