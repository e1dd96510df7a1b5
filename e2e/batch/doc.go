// Package batch holds the scenarios of many VMs on a real host: two hundred
// domains are planned, a storage pool hangs, a plan is saved, rehearsed, carried
// out and carried out again, and recovery keys are handed over.
//
// They bear the build tag e2e, for they take minutes. How long plans take is
// printed with:
//
//	go test -tags e2e -count=1 -v -run TwoHundred ./e2e/batch
package batch
