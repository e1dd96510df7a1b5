// Package life holds the scenarios of the life after the move, on a real host:
// a clone whose job is long gone is unlocked, started, stopped and locked; its
// header is overwritten and restored; its keys are changed; and its volumes are
// renamed, exported and opened by hand behind vmmigrate's back.
//
// They bear the build tag e2e, for they take minutes:
//
//	go test -tags e2e ./e2e/life
package life
