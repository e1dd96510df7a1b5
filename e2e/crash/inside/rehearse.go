//go:build linux && amd64

package main

import "strings"

// instants are what a kind of job is to be killed at, forward and backward.
type instants struct {
	of                kind
	forward, backward []instant
}

// rehearseAll rehearses a job of each kind.
func rehearseAll() (jobs map[kind]*torment, all []instants, err error) {
	jobs = make(map[kind]*torment)
	first := instants{of: usual}
	t, err := rehearse(usual, nil, func(now instant) { first.forward = append(first.forward, now) })
	if err != nil {
		return nil, nil, err
	}
	if first.backward, err = t.rehearseRollback(); err != nil {
		return nil, nil, err
	}
	second := instants{of: recovery}
	also, err := t.withRecovery(func(now instant) { second.forward = append(second.forward, now) })
	if err != nil {
		return nil, nil, err
	}
	third := instants{of: layout}
	image, err := rehearse(layout, nil, func(now instant) { third.forward = append(third.forward, now) })
	if err != nil {
		return nil, nil, err
	}
	if third.backward, err = image.rehearseRollback(); err != nil {
		return nil, nil, err
	}
	third.forward, third.backward = unlike(third.forward, first.forward), unlike(third.backward, first.backward)
	jobs[usual], jobs[recovery], jobs[layout] = t, also, image
	return jobs, []instants{first, second, third}, nil
}

// unlike are the instants of a job before something changes that does not with the
// usual job, and those when it just has. What an image has where is asked for beside
// all else, now sooner and now later.
func unlike(table, usually []instant) (own []instant) {
	kindred := func(i instant) string {
		return i.Step + ": " + strings.ReplaceAll(i.What, wiki.vm, imap.vm)
	}
	known := make(map[string]bool)
	for _, i := range usually {
		known[kindred(i)] = true
	}
	changed := false
	for _, i := range table {
		if i.What == "run qemu-img map" {
			continue
		}
		changes := i.Changes && !known[kindred(i)]
		if changes || changed {
			own = append(own, i)
		}
		changed = changes
	}
	return own
}
